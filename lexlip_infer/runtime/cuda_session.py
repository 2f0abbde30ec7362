"""One ONNX graph on an NVIDIA GPU, whose outputs stay there; and CUDA graphs, which replay it.

Inputs are bound, outputs are bound to the device, so that ONNX Runtime copies nothing back: what follows takes the
outputs by DLPack, without a copy. `run_with_iobinding` returns when the GPU is done, so other streams may read at once.

With CUDA graphs a batch of a shape that has been seen is one launch instead of several hundred. A recorded graph reads
and writes fixed addresses, so every shape keeps buffers of its own; the outputs of a run are overwritten by the next
run of that shape. Worth it where batches are small and of few shapes; further shapes run unrecorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime

from lexlip_infer.bundle import Bundle
from lexlip_infer.errors import BundleError
from lexlip_infer.runtime.machine import CUDA_PROVIDER
from lexlip_infer.runtime.onnxruntime_session import check_names, open_session, translate

_NUMPY_TYPES = {"tensor(float16)": np.float16, "tensor(float)": np.float32, "tensor(int64)": np.int64}

#: ONNX Runtime's run option that names a recorded graph; -1 records none.
_GRAPH_ID = "gpu_graph_id"

#: Shapes that are recorded; ONNX Runtime cannot forget one, and texts come in many lengths.
MAX_SHAPES = 32


def cuda_provider(device: int, cuda_graph: bool) -> tuple[str, dict[str, str]]:
    """The CUDA provider as ONNX Runtime takes it: f32 stays f32, and the arena grows by what is needed."""
    options = {
        "device_id": str(device),
        "use_tf32": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "enable_cuda_graph": "1" if cuda_graph else "0",
    }
    return CUDA_PROVIDER, options


class CudaSession:
    """A loaded graph.

    Args:
        bundle: where the file is.
        name: its path in the bundle.
        inputs: names the graph must take.
        outputs: names it must give, in the order wanted.
        provider: of ONNX Runtime with its options, see `cuda_provider`.
        device: where outputs stay, a name of ONNX Runtime's and a number.

    Raises:
        BundleError: the file is damaged, is no ONNX model, needs a newer ONNX Runtime, or has other names.
        BackendUnavailable: ONNX Runtime cannot start on the GPU.
    """

    def __init__(
        self,
        bundle: Bundle,
        name: str,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        provider: Any,
        device: tuple[str, int],
    ) -> None:
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # CUDA and cuDNN out of the packages that pip has installed
        self.session = open_session(bundle, name, onnxruntime.SessionOptions(), [provider])
        self.path = bundle.folder / name
        self.device = device
        self.outputs = outputs
        check_names(self.session, self.path, inputs, outputs)
        nodes = [*self.session.get_inputs(), *self.session.get_overridable_initializers()]
        self._types = {node.name: _NUMPY_TYPES[node.type] for node in nodes}

    def __call__(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Outputs as `OrtValue`s on the device, in the order of the constructor's names.

        Args:
            inputs: arrays, which are copied to the device, or `OrtValue`s that are there.

        Raises:
            BundleError: the graph does not take these inputs' shapes and types, or fails on them.
            DeviceOutOfMemory: there is no memory for them.
        """
        try:
            return self.run(inputs)
        except Exception as error:  # noqa: BLE001  (onnxruntime's exceptions share no base but Exception)
            raise translate(error, self.path, inputs) from None

    def run(self, inputs: Mapping[str, Any], options: Any = None) -> list[Any]:
        """The same with run options, and with ONNX Runtime's own errors."""
        binding = self.session.io_binding()
        # Held until the run is over: not every version of ONNX Runtime keeps alive what is bound. Not bind_cpu_input,
        # which does not find an input that has a default, as k has.
        values = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(value) if isinstance(value, np.ndarray) else value
            for name, value in self.typed(inputs).items()
        }
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        for name in self.outputs:
            binding.bind_output(name, *self.device)
        binding.synchronize_inputs()
        self.session.run_with_iobinding(binding, options)
        outputs: list[Any] = binding.get_outputs()
        return outputs

    def to_device(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Arrays copied to the device, as `OrtValue`s that a call takes; it does so itself with arrays."""
        return {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(value, *self.device)
            for name, value in self.typed(inputs).items()
        }

    def fixed_length(self, output: str, axis: int) -> int:
        """Length of an axis that is the same for every batch.

        Raises:
            BundleError: the graph leaves it open.
        """
        (shape,) = (node.shape for node in self.session.get_outputs() if node.name == output)
        if not isinstance(shape[axis], int):
            raise BundleError(f"{self.path}: {output} is {shape}; expected a fixed length at axis {axis}")
        return int(shape[axis])

    def typed(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Arrays in the graph's types: an fp16 graph may take its pixels in half precision."""
        return {
            name: np.ascontiguousarray(value, self._types[name]) if isinstance(value, np.ndarray) else value
            for name, value in inputs.items()
        }


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
