"""A backbone in OpenVINO, on the CPU: bf16, or the int8 model that the export calibrated for it.

OpenVINO takes bf16 wherever the CPU has it unless it is told not to, so the precision is always said. What an int8
model leaves unquantised is float32, or bf16 where the export wrote so into it and the CPU has it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lexlip_infer.bundle import Bundle
from lexlip_infer.errors import BackendUnavailable, BundleError
from lexlip_infer.runtime.openvino_package import openvino_core
from lexlip_infer.runtime.openvino_streams import MOST_STREAMS, Streams

__all__ = ["UNQUANTISED", "OpenVINOSession", "runs_bf16"]

#: Where an int8 model says in its `rt_info` how its other layers compute: "f32", or "bf16" on a CPU that has it.
UNQUANTISED = ("lexlip", "unquantised_precision")

#: Of every stream, at least: with one row each they are no faster than all threads on one row after the other.
_ROWS_EACH = 2


def runs_bf16() -> bool:
    """Whether OpenVINO computes in bf16 on this CPU, rather than pretend to.

    Raises:
        MissingExtra: OpenVINO is not installed.
    """
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVINOSession:
    """A backbone's graph, compiled for few rows now, and for several streams when enough rows first come.

    Args:
        bundle: where the file is.
        name: an ONNX graph, or an `.xml` of OpenVINO with its weights beside it in `.bin`.
        inputs: names the graph must take.
        precision: `"f32"`, `"bf16"`, or `"int8"` for a graph that is quantised already.
        threads: for the operators, all streams together.
        share_rows: run the rows of a batch in as many streams as there are threads; worth it where a row is much work.

    Raises:
        MissingExtra: OpenVINO is not installed.
        BackendUnavailable: this CPU has no bf16.
        BundleError: the file is damaged, cannot be compiled, or has other names.
    """

    def __init__(
        self,
        bundle: Bundle,
        name: str,
        inputs: tuple[str, ...],
        precision: Literal["f32", "bf16", "int8"],
        threads: int,
        share_rows: bool = False,
    ) -> None:
        if precision == "bf16" and not runs_bf16():
            raise BackendUnavailable("precision 'bf16' was asked for, but this CPU does not have it: use f32 or int8")
        self._bundle = bundle
        self._name = name
        self._path = bundle.folder / name
        self._precision = precision
        self._threads = threads
        self._stream_count = min(threads, MOST_STREAMS) if share_rows else 1
        self._compiled = self._compile({"PERFORMANCE_HINT": "LATENCY"})
        has = {port.any_name for port in self._compiled.inputs}
        if has != set(inputs):
            raise BundleError(f"{self._path}: takes {sorted(has)}; expected {sorted(inputs)}")

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Hidden states (B, L, H), valid until the next call.

        Raises:
            BundleError: the graph fails on these inputs.
        """
        rows = len(next(iter(inputs.values())))
        shared = self._shared(rows)
        try:
            if shared in (0, rows):
                return [self._streams(inputs) if shared else self._all_threads(inputs)]
            # What streams cannot share evenly: some of them would wait for the others' last row.
            parts = self._streams(_rows(inputs, slice(shared))), self._all_threads(_rows(inputs, slice(shared, None)))
            return [np.concatenate(parts)]
        except RuntimeError as error:
            raise BundleError(f"{self._path}: failed: {_first_line(error)}") from None

    def _shared(self, rows: int) -> int:
        if self._stream_count == 1 or rows < self._stream_count * _ROWS_EACH:
            return 0
        return rows - rows % self._stream_count

    def _all_threads(self, inputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.asarray(self._compiled(dict(inputs), share_inputs=True, share_outputs=True)[0])

    @cached_property
    def _streams(self) -> Streams:
        """Compiled only where several rows come, as its weights are in memory a second time."""
        return Streams(self._compile({"NUM_STREAMS": self._stream_count}), self._stream_count)

    def _compile(self, settings: Mapping[str, object]) -> Any:
        core = openvino_core()
        try:
            model = _read(core, self._bundle, self._name)
            precision = self._unquantised(model) if self._precision == "int8" else self._precision
            common = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": self._threads}
            return core.compile_model(model, "CPU", {**common, **settings})
        except RuntimeError as error:  # what every failure of OpenVINO is
            raise BundleError(f"{self._path}: OpenVINO cannot load it: {_first_line(error)}") from None

    def _unquantised(self, model: Any) -> str:
        asked = model.get_rt_info([*UNQUANTISED]).astype(str) if model.has_rt_info([*UNQUANTISED]) else "f32"
        if asked not in ("f32", "bf16"):
            raise BundleError(f"{self._path}: unquantised layers in {asked!r}; expected f32 or bf16: quantise it again")
        return "bf16" if asked == "bf16" and runs_bf16() else "f32"


def _rows(inputs: Mapping[str, npt.NDArray[Any]], taken: slice) -> dict[str, npt.NDArray[Any]]:
    return {name: rows[taken] for name, rows in inputs.items()}


def _read(core: Any, bundle: Bundle, name: str) -> Any:
    if not name.endswith(".xml"):
        return core.read_model(io.BytesIO(bundle.read(name)))
    weights = bundle.read(name.removesuffix(".xml") + ".bin")
    return core.read_model(bundle.read(name), weights)


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
