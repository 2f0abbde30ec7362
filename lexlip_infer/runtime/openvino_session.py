"""A backbone in OpenVINO, on the CPU: bf16, or the int8 model that the export calibrated for it.

OpenVINO takes bf16 wherever the CPU has it unless it is told not to, so the precision is always said. What an int8
model leaves unquantised is float32, or bf16 where the export wrote so into it and the CPU has it.

`import openvino` sends a usage event to its maker and keeps an id below the user's home, through a package of its own
that it can do without. Who wants that imports openvino first.

Rows of one batch run in several streams at a time: each takes its part of the rows, with its own threads. Threads that
share the operators of one row wait for each other after every operator; streams wait once, at the end of the batch.
That pays where every stream has as many rows; a single row is faster in a model compiled for latency.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache, cached_property
from types import ModuleType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lexlip_infer.bundle import Bundle
from lexlip_infer.errors import BackendUnavailable, BundleError, require
from lexlip_infer.runtime.graphs import read_graph

#: Where an int8 model says in its `rt_info` how its other layers compute: "f32", or "bf16" on a CPU that has it.
UNQUANTISED = ("lexlip", "unquantised_precision")

#: Of every stream, at least: with one row each they are no faster than all threads on one row after the other.
_ROWS_EACH = 2

#: Each holds the activations of its part; more cores than these work within a stream.
MOST_STREAMS = 16


def import_openvino() -> ModuleType:
    """The module `openvino`.

    Raises:
        MissingExtra: it is not installed.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)  # what an import takes for a package that is not installed
    return require("openvino", extra="openvino")


@cache
def openvino_core() -> Any:
    """The `openvino.Core` of this process.

    A core whose CPU plugin is loaded gives its thread an alternate signal stack, and puts the earlier one back at its
    end. Two cores that do not go in the reverse order leave the thread with a stack that is freed, and its next signal
    (Ctrl-C, the end of a child) kills the process (seen with 2026.4.1). So there is one, and it stays.

    Raises:
        MissingExtra: OpenVINO is not installed.
    """
    return import_openvino().Core()


def runs_bf16() -> bool:
    """Whether OpenVINO computes in bf16 on this CPU, rather than pretend to.

    Raises:
        MissingExtra: OpenVINO is not installed.
    """
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class Streams:
    """Requests to a compiled model that has as many streams.

    Args:
        compiled: `openvino.CompiledModel`, of one output.
        count: requests that run at the same time.
    """

    def __init__(self, compiled: Any, count: int) -> None:
        self._requests = [compiled.create_infer_request() for _ in range(count)]

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """The output of all rows, in their order.

        Args:
            inputs: by name, of a multiple of as many rows as there are streams.

        Raises:
            RuntimeError: what OpenVINO says where a part fails; the others have ended by then.
        """
        split = {name: np.split(rows, len(self._requests)) for name, rows in inputs.items()}
        parts = [dict(zip(split, part, strict=True)) for part in zip(*split.values(), strict=True)]
        with ExitStack() as running:  # whatever fails: no request goes on reading inputs that may be gone
            for request, part in zip(self._requests, parts, strict=True):
                request.start_async(part, share_inputs=True)
                running.callback(request.wait)
        return np.concatenate([request.get_output_tensor().data for request in self._requests])


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
        return core.read_model(io.BytesIO(read_graph(bundle, name)))
    weights = bundle.read(name.removesuffix(".xml") + ".bin")
    return core.read_model(bundle.read(name), weights)


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
