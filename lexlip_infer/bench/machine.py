"""What a figure depends on besides the code: processor, memory, other load, versions. Every report carries it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lexlip_infer.runtime.threads import thread_count

__all__ = ["machine_info", "processor"]

#: Recorded where they are installed.
_PACKAGES = (
    "lexlip-infer",
    "numpy",
    "numba",
    "pillow",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "torch",
    "transformers",
    "sentence-transformers",
    "triton",
)


def machine_info() -> dict[str, object]:
    """The machine, its load, and the versions of what runs on it; holds no name of the host or of a user.

    Returns:
        `cpu` (name), `cpus` (cores of the machine), `cpus_usable` (by this process), `memory_gb`, `gpus`,
        `load_average_1min`, `kernel`, `python`, `packages` (versions by name, installed ones only) and `revision` (of
        the checkout that this package lies in, with a "+" where it was changed; None outside of one). All of it can be
        written as JSON.
    """
    return {
        "cpu": processor(),
        "cpus": os.cpu_count(),
        "cpus_usable": thread_count(None),
        "memory_gb": _memory_gb(),
        "gpus": _gpus(),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name)) is not None},
        "revision": _revision(),
    }


def processor() -> str:
    """The CPU's name, as the system gives it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _memory_gb() -> float:
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)


def _gpus() -> list[str]:
    """Names, as the driver's own tool gives them; none where there is no driver."""
    return _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]).splitlines()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _revision() -> str | None:
    """Only of our own checkout: an installed package may lie inside somebody else's."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    revision = _output(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]).strip()
    changed = _output(["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"]).strip()
    return f"{revision}{'+' * bool(changed)}" if revision else None


def _output(command: list[str]) -> str:
    """What a tool prints; nothing where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603  (our own two)
    except (OSError, subprocess.CalledProcessError):
        return ""
