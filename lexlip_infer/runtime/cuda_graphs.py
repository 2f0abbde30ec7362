"""CUDA graphs: a batch of a shape that has been seen is one launch instead of several hundred.

A recorded graph reads and writes fixed addresses, so every shape keeps buffers of its own; the outputs of a run are
overwritten by the next run of that shape. Worth it where batches are small and of few shapes; further shapes run
unrecorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime

from lexlip_infer.runtime.cuda_session import CudaSession
from lexlip_infer.runtime.onnxruntime_session import translate

__all__ = ["MAX_SHAPES", "CudaGraphs"]

#: ONNX Runtime's run option that names a recorded graph; -1 records none.
_GRAPH_ID = "gpu_graph_id"

#: Shapes that are recorded; ONNX Runtime cannot forget one, and texts come in many lengths.
MAX_SHAPES = 32


class CudaGraphs:
    """Replays a session.

    Args:
        session: opened with `enable_cuda_graph`.
    """

    def __init__(self, session: CudaSession) -> None:
        self._session = session
        self._recorded: dict[tuple[Any, ...], _Recorded] = {}

    def __call__(self, inputs: Mapping[str, Any]) -> list[Any]:
        """As `CudaSession` does, from arrays; outputs are valid until the next call with these shapes."""
        key = tuple((name, value.shape, value.dtype.str) for name, value in inputs.items())
        try:
            if key not in self._recorded:
                if len(self._recorded) == MAX_SHAPES:
                    return self._session.run(inputs, _run_options(-1))
                self._recorded[key] = _Recorded(self._session, inputs, len(self._recorded))
            return self._recorded[key].run(inputs)
        except Exception as error:  # noqa: BLE001  (onnxruntime's exceptions share no base but Exception)
            raise translate(error, self._session.path, inputs) from None


class _Recorded:
    """One shape: its buffers on the device, and the graph that ONNX Runtime records over them on the first run."""

    def __init__(self, session: CudaSession, inputs: Mapping[str, Any], number: int) -> None:
        # Which shapes the outputs have is learnt from a run that records nothing.
        outputs = session.run(inputs, _run_options(-1))
        self._session, self._options = session.session, _run_options(number)
        self._inputs = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(value, *session.device)
            for name, value in session.typed(inputs).items()
        }
        self._outputs = [_like(output, session.device) for output in outputs]
        self._binding = session.session.io_binding()
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in zip(session.outputs, self._outputs, strict=True):
            self._binding.bind_ortvalue_output(name, value)
        self._typed = session.typed

    def run(self, inputs: Mapping[str, Any]) -> list[Any]:
        for name, value in self._typed(inputs).items():
            self._inputs[name].update_inplace(value)
        self._session.run_with_iobinding(self._binding, self._options)
        return self._outputs


def _run_options(graph: int) -> Any:
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(_GRAPH_ID, str(graph))
    return options


def _like(value: Any, device: tuple[str, int]) -> Any:
    """Another buffer of this shape and type."""
    dtype = {"tensor(float16)": np.float16, "tensor(float)": np.float32}[value.data_type()]
    return onnxruntime.OrtValue.ortvalue_from_shape_and_type(value.shape(), dtype, *device)
