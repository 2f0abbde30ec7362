"""One ONNX graph of a bundle in an ONNX Runtime session.

Graph names are part of the bundle format, so they are checked when the graph is loaded, not when the first batch is
half encoded. ONNX Runtime's own fallback to another device is switched off: it prints, and goes on slowly.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from lexlip_infer.bundle import Bundle
from lexlip_infer.errors import BackendUnavailable, BundleError, LexLIPError
from lexlip_infer.runtime.graphs import read_graph_and_weights
from lexlip_infer.runtime.machine import GPU_CURE
from lexlip_infer.runtime.tower import DeviceOutOfMemory, is_out_of_memory

_CPU_PROVIDER = "CPUExecutionProvider"


class CpuSession:
    """A graph on the CPU.

    Args:
        bundle: where the file is.
        name: its path in the bundle, for example ``"onnx/image_backbone.onnx"``.
        inputs: names the graph must take.
        outputs: names it must give, in the order wanted.
        threads: for the operators.
        memory_arena: keep freed memory for the next run.

    Raises:
        BundleError: the file is damaged, is no ONNX model, needs a newer ONNX Runtime, or has other names.
    """

    def __init__(
        self,
        bundle: Bundle,
        name: str,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        threads: int,
        memory_arena: bool = True,
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_cpu_mem_arena = memory_arena
        options.enable_mem_pattern = False  # plans a second arena for every shape, and batches come in many
        # Threads that wait for the next run by spinning take the cores from the head, and from decoding.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session = open_session(bundle, name, options, [_CPU_PROVIDER])
        self._path = bundle.folder / name
        self._outputs = list(outputs)
        check_names(self._session, self._path, inputs, outputs)

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Outputs in the order of the constructor's names.

        Raises:
            BundleError: the graph does not take these inputs' shapes and types, or fails on them.
            DeviceOutOfMemory: there is no memory for them.
        """
        try:
            results: list[npt.NDArray[Any]] = self._session.run(self._outputs, dict(inputs))
        except Exception as error:  # noqa: BLE001  (onnxruntime's exceptions share no base but Exception)
            raise translate(error, self._path, inputs) from None
        return [np.asarray(result) for result in results]


def open_session(bundle: Bundle, name: str, options: Any, providers: list[Any]) -> Any:
    """A session of a bundle's file on the first of the providers, and on no other in its stead.

    Raises:
        BundleError: the file is damaged, is no ONNX model or not all of one, or needs a newer ONNX Runtime.
        BackendUnavailable: the provider does not start.
    """
    options.log_severity_level = 3
    # Told apart by the look of its bytes otherwise: the runtime's own format has files beside it, too.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    data, shared = read_graph_and_weights(bundle, name)
    try:
        if shared:
            files = list(shared.values())
            options.add_external_initializers_from_files_in_memory(list(shared), files, list(map(len, files)))
        session = onnxruntime.InferenceSession(data, options, providers=providers, enable_fallback=0)
    except Exception as error:  # noqa: BLE001  (onnxruntime's exceptions share no base but Exception)
        reason = str(error).splitlines()[0]
        raise BundleError(
            f"{bundle.folder / name}: ONNX Runtime {onnxruntime.__version__} cannot load it: {reason}"
        ) from None
    # Kept by the session for the fallback that is switched off: as many bytes as the weights.
    vars(session)["_model_bytes"] = None
    wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
    if wanted not in session.get_providers():
        raise BackendUnavailable(
            f"ONNX Runtime {onnxruntime.__version__} cannot start its {wanted}, most often because CUDA or cuDNN is "
            f"not found or of another version: {GPU_CURE}, or use device='cpu'"
        )
    return session


def check_names(session: Any, path: Path, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    """Refuse a graph that takes other inputs, or does not give these outputs.

    Raises:
        BundleError: it does.
    """
    has_inputs = {node.name for node in [*session.get_inputs(), *session.get_overridable_initializers()]}
    has_outputs = {node.name for node in session.get_outputs()}
    if has_inputs != set(inputs) or not set(outputs) <= has_outputs:
        raise BundleError(
            f"{path}: takes {sorted(has_inputs)} and gives {sorted(has_outputs)}; "
            f"expected {sorted(inputs)} and {sorted(outputs)}"
        )


def translate(error: Exception, path: Path, inputs: Mapping[str, Any]) -> LexLIPError:
    """What to raise for an error of a run: memory is the device's fault, the rest the graph's."""
    shapes = ", ".join(f"{key} {_described(value)}" for key, value in inputs.items())
    line = str(error).splitlines()[0]
    if is_out_of_memory(error):
        return DeviceOutOfMemory(f"{path}: out of memory on {shapes}: {line}; free some, or use another device")
    return BundleError(f"{path}: failed on {shapes}: {line}")


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.shape} {value.dtype}"
    return f"{tuple(value.shape())} {value.data_type()}"
