"""What a figure depends on besides the code, for the scripts of this folder: see `lexlip_infer.bench.machine`."""

from __future__ import annotations

from lexlip_infer.bench.machine import machine_info

__all__ = ["machine"]


def machine(*_packages: str) -> dict[str, object]:
    """All that `machine_info` records; versions of more packages than the caller names are among it."""
    return machine_info()
