"""Importing OpenVINO without its maker hearing of it.

`import openvino` sends a usage event and keeps an id below the user's home, through a package of its own that it can do
without. Who wants that imports openvino first.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from lexlip_infer.errors import require

__all__ = ["import_openvino"]


def import_openvino() -> ModuleType:
    """The module `openvino`.

    Raises:
        MissingExtra: it is not installed.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)  # what an import takes for a package that is not installed
    return require("openvino", extra="openvino")
