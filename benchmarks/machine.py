"""What a figure depends on besides the code: processor, other load, versions. Every report carries it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["machine"]


def machine(*packages: str) -> dict[str, object]:
    """Processor, cores, load at the start, and the versions of Python, numpy and `packages`."""
    report: dict[str, object] = {
        "cpu": _processor(),
        "cpus": os.cpu_count(),
        "load_average_1min_at_start": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }
    return report | {name: _version(name) for name in ("numpy", *packages)}


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
