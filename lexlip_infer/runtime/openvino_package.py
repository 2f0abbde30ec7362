"""Importing OpenVINO without its maker hearing of it, and the one core of the process.

`import openvino` sends a usage event and keeps an id below the user's home, through a package of its own that it can do
without. Who wants that imports openvino first.

A core whose CPU plugin is loaded gives its thread an alternate signal stack, and puts the earlier one back at its end.
Two cores that do not go in the reverse order leave the thread with a stack that is freed, and its next signal (Ctrl-C,
the end of a child) kills the process (seen with 2026.4.1). So there is one, and it stays.
"""

from __future__ import annotations

import sys
from functools import cache
from types import ModuleType
from typing import Any

from lexlip_infer.errors import require

__all__ = ["import_openvino", "openvino_core"]


def import_openvino() -> ModuleType:
    """The module `openvino`.

    Raises:
        MissingExtra: it is not installed.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)  # what an import takes for a package that is not installed
    return require("openvino", extra="openvino")


@cache
def openvino_core() -> Any:
    """The `openvino.Core` of this process.

    Raises:
        MissingExtra: OpenVINO is not installed.
    """
    return import_openvino().Core()
