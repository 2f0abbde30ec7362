"""One ONNX graph of a bundle in an ONNX Runtime session on the CPU.

Graph names are part of the bundle format, so they are checked when the graph is loaded, not when the first batch is
half encoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from lexlip_infer.bundle import Bundle
from lexlip_infer.errors import BundleError

__all__ = ["Graph"]


class Graph:
    """A loaded graph.

    Args:
        bundle: where the file is.
        name: its path in the bundle, for example ``"onnx/image_backbone.onnx"``.
        inputs: names the graph must take.
        outputs: names it must give, in the order wanted.
        threads: for the operators.

    Raises:
        BundleError: the file is damaged, is no ONNX model, needs a newer ONNX Runtime, or has other names.
    """

    def __init__(
        self, bundle: Bundle, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], threads: int
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        data = bundle.read(name)
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001  (onnxruntime's exceptions share no base but Exception)
            reason = str(error).splitlines()[0]
            raise BundleError(
                f"{bundle.folder / name}: ONNX Runtime {onnxruntime.__version__} cannot load it: {reason}"
            ) from None
        self._path = bundle.folder / name
        self._outputs = list(outputs)
        self._check_names(inputs, outputs)

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Outputs in the order of the constructor's names.

        Raises:
            BundleError: the graph does not take these inputs' shapes and types, or fails on them.
        """
        try:
            results: list[npt.NDArray[Any]] = self._session.run(self._outputs, dict(inputs))
        except Exception as error:  # noqa: BLE001  (onnxruntime's exceptions share no base but Exception)
            shapes = ", ".join(f"{key} {array.shape} {array.dtype}" for key, array in inputs.items())
            raise BundleError(f"{self._path}: failed on {shapes}: {str(error).splitlines()[0]}") from None
        return [np.asarray(result) for result in results]

    def _check_names(self, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        session = self._session
        has_inputs = {node.name for node in [*session.get_inputs(), *session.get_overridable_initializers()]}
        has_outputs = {node.name for node in session.get_outputs()}
        if has_inputs != set(inputs) or not set(outputs) <= has_outputs:
            raise BundleError(
                f"{self._path}: takes {sorted(has_inputs)} and gives {sorted(has_outputs)}; "
                f"expected {sorted(inputs)} and {sorted(outputs)}"
            )
