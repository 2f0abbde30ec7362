"""What a figure depends on besides the code, for the scripts of this folder: see `lexlip_infer.bench.machine`."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from lexlip_infer.bench.machine import machine_info

__all__ = ["machine"]


def machine(*packages: str) -> dict[str, object]:
    """All that `machine_info` records, and the versions of `packages`, None where one is not installed."""
    return machine_info() | {name: _version(name) for name in packages}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
