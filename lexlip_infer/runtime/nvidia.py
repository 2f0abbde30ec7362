"""Which NVIDIA GPUs there are, asked of the driver itself: torch takes seconds to import and need not be installed."""

from __future__ import annotations

import ctypes
from functools import cache

__all__ = ["compute_capabilities"]

#: CUdevice_attribute: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR (cuda.h).
_MAJOR, _MINOR = 75, 76


@cache
def compute_capabilities() -> tuple[tuple[int, int], ...]:
    """Compute capability of every visible GPU, by device number; empty where there is no driver or no GPU."""
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
