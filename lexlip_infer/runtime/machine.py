"""What this machine can run: a list of facts, gathered once, so that the choice of a path is a pure function of it."""

from __future__ import annotations

import ctypes
import importlib.util
import os
from dataclasses import dataclass, replace
from functools import cache

from lexlip_infer.errors import InputError
from lexlip_kernels import available_backends

CUDA_PROVIDER = "CUDAExecutionProvider"

#: onnxruntime-gpu owns the import folder of the base wheel, so it has to be installed last.
GPU_CURE = (
    "pip install 'lexlip-infer[gpu]' && pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
)

#: CUdevice_attribute: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR (cuda.h).
_MAJOR, _MINOR = 75, 76


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts that decide which paths run.

    Attributes:
        native: the compiled lexicon head loads.
        cuda_provider: ONNX Runtime was built for NVIDIA GPUs.
        gpus: compute capability of each NVIDIA GPU, by device number.
        oldest_gpu: compute capability that the installed ONNX Runtime has code for, at the least.
        openvino: OpenVINO is installed.
        triton: Triton is installed.
        torch_cuda: torch is installed and works with the GPU; Triton's kernels take its tensors.
    """

    native: bool = True
    cuda_provider: bool = False
    gpus: tuple[tuple[int, int], ...] = ()
    oldest_gpu: tuple[int, int] = (7, 0)
    openvino: bool = False
    triton: bool = False
    torch_cuda: bool = False

    def cuda_refusal(self, number: int = 0) -> str | None:
        """Why this GPU cannot be used, with the cure; None where it can."""
        if not self.gpus:
            return "the driver reports no NVIDIA GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES, or use device='cpu'"
        if number >= len(self.gpus):
            return f"the driver reports {len(self.gpus)} NVIDIA GPU{'s' * (len(self.gpus) > 1)}, numbered from 0"
        if not self.cuda_provider:
            return f"the installed ONNX Runtime runs on the CPU alone: {GPU_CURE}"
        if self.gpus[number] < self.oldest_gpu:
            capability = ".".join(map(str, self.gpus[number]))
            return (
                f"the installed ONNX Runtime has no code for a GPU of compute capability {capability}: install the "
                "extra 'gpu-v100', or use device='cpu'"
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


def look_around(gpu: bool = True) -> Machine:
    """This machine. ONNX Runtime and torch are imported only where there is a GPU that they could use.

    Args:
        gpu: look for GPUs; starting their driver takes a while, so not where the CPU is asked for.
    """
    on_cpu = Machine(native="native" in available_backends(), openvino=_installed("openvino"))
    gpus = compute_capabilities() if gpu else ()
    if not gpus:
        return on_cpu
    import onnxruntime

    return replace(
        on_cpu,
        cuda_provider=CUDA_PROVIDER in onnxruntime.get_available_providers(),
        gpus=gpus,
        oldest_gpu=_oldest_gpu(onnxruntime.__version__),
        triton=_installed("triton"),
        torch_cuda=_torch_sees_a_gpu(),
    )


def _oldest_gpu(onnxruntime_version: str) -> tuple[int, int]:
    """From 1.27 on the wheels are built for CUDA 13, which has dropped Volta."""
    major, minor = (int(part) for part in onnxruntime_version.split(".")[:2])
    return (7, 5) if (major, minor) >= (1, 27) else (7, 0)


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _torch_sees_a_gpu() -> bool:
    if not _installed("torch"):
        return False
    import torch

    return torch.cuda.is_available()


@cache
def compute_capabilities() -> tuple[tuple[int, int], ...]:
    """Compute capability of every visible GPU, by device number; empty where there is no driver or no GPU.

    Asked of the driver itself: torch takes seconds to import and need not be installed.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    return tuple((_attribute(driver, _MAJOR, i), _attribute(driver, _MINOR, i)) for i in range(count.value))


def _attribute(driver: ctypes.CDLL, attribute: int, device: int) -> int:
    handle, value = ctypes.c_int(), ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(handle), device)
    driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, handle)
    return value.value


def thread_count(threads: int | None) -> int:
    """The number asked for, or the number of CPUs available to this process.

    Raises:
        InputError: fewer than one thread was asked for.
    """
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads < 1:
        raise InputError(f"threads is {threads}; expected at least 1, or nothing for all available")
    return threads
