"""What this machine can run: a list of facts, gathered once, so that the choice of a path is a pure function of it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from lexlip_infer.runtime.nvidia import compute_capabilities
from lexlip_kernels import available_backends

__all__ = ["CUDA_PROVIDER", "Machine", "look_around"]

CUDA_PROVIDER = "CUDAExecutionProvider"


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts that decide which paths run.

    Attributes:
        native: the compiled lexicon head loads.
        cuda_provider: ONNX Runtime was built for NVIDIA GPUs.
        gpus: compute capability of each NVIDIA GPU, by device number.
        openvino: OpenVINO is installed.
        triton: Triton is installed.
        torch_cuda: torch is installed and works with the GPU; Triton's kernels take its tensors.
    """

    native: bool = True
    cuda_provider: bool = False
    gpus: tuple[tuple[int, int], ...] = ()
    openvino: bool = False
    triton: bool = False
    torch_cuda: bool = False

    @property
    def cuda_refusal(self) -> str | None:
        """Why no GPU can be used, with the cure; None where one can."""
        if not self.gpus:
            return "the driver reports no NVIDIA GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES, or use device='cpu'"
        if not self.cuda_provider:
            return (
                "the installed ONNX Runtime runs on the CPU alone: pip uninstall -y onnxruntime && "
                "pip install 'lexlip-infer[gpu]'"
            )
        return None

    @property
    def triton_refusal(self) -> str | None:
        """Why the Triton head cannot run beside a GPU backbone, with the cure; None where it can."""
        if not self.triton:
            return "Triton is not installed: pip install 'lexlip-infer[triton]'"
        if not self.torch_cuda:
            return "the installed torch does not work with the GPU: install a torch built for CUDA (pytorch.org)"
        return None


def look_around() -> Machine:
    """This machine. Imports torch only where there is a GPU that torch could use."""
    import onnxruntime

    gpus = compute_capabilities()
    return Machine(
        native="native" in available_backends(),
        cuda_provider=CUDA_PROVIDER in onnxruntime.get_available_providers(),
        gpus=gpus,
        openvino=_installed("openvino"),
        triton=_installed("triton"),
        torch_cuda=bool(gpus) and _torch_sees_a_gpu(),
    )


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _torch_sees_a_gpu() -> bool:
    if not _installed("torch"):
        return False
    import torch

    return torch.cuda.is_available()
