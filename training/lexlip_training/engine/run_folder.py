"""A run's folder: its settings, its log, and checkpoints that are whole or absent.

config.json             resolved settings
run.json                command, revision, versions, parameter groups
log.jsonl               a line every few steps; evaluations and warnings among them
checkpoints/step-N/     a checkpoint as export reads it, and state.pt to resume from
last, best              links to two of them
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lexlip_infer.files import Folder, new_folder, open_regular, sync_folder, write_whole
from lexlip_kernels.errors import InputError, OutputError

STATE = "state.pt"

#: Links that a run makes: to its own checkpoints, and nowhere else.
_LINKS = ("last", "best", ".last.tmp", ".best.tmp")
_CHECKPOINT = re.compile(r"checkpoints/step-\d+")


class RunFolder:
    """Files of one run; only the main process writes.

    Args:
        path: created if missing.

    Raises:
        InputError: it holds a run that an earlier version of the recipe began.
        OutputError: it cannot be made, or has a link in it that no run makes, and that may lead out of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if (path / "last.pt").exists():
            raise InputError(
                f"{path} holds a run of an earlier version of the recipe, which cannot be resumed; name a new folder "
                f"and go on from its best weights, --start {path / 'best'}"
            )
        try:
            with Folder.open(path, create=True) as folder:
                folder.folder("checkpoints", create=True).close()
                _refuse_links(folder, _LINKS)
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(f"{path}: no folder can be made there ({error.strerror})") from None

    def write_json(self, name: str, value: object) -> None:
        """Write a file as a whole or not at all."""
        write_whole(self.path / name, json.dumps(value, indent=2).encode() + b"\n")

    def save(self, step: int, state: dict[str, Any], save_model: Callable[[Path], None]) -> Path:
        """Add a checkpoint and let `last` point at it.

        Args:
            step: optimiser steps taken.
            state: tensors and plain values, for `load`.
            save_model: writes the model's own files into the folder that it is given.
        """
        folder = self.path / "checkpoints" / f"step-{step:08d}"
        # It exists where a run was killed between the rename and the link, and came here again.
        with new_folder(folder, replace=True) as partial:
            save_model(partial)
            torch.save(state, partial / STATE)
        self._link("last", folder)
        return folder

    def mark_best(self, folder: Path) -> None:
        """Let `best` point at a checkpoint."""
        self._link("best", folder)

    def prune(self, keep: int) -> None:
        """Remove all checkpoints but the newest `keep` and the linked ones."""
        linked = {(self.path / name).resolve() for name in ("last", "best")}
        folders = sorted((self.path / "checkpoints").glob("step-*"))
        for folder in folders[:-keep]:
            if folder.resolve() not in linked:
                shutil.rmtree(folder)

    def load(self) -> dict[str, Any] | None:
        """The state behind `last`; None where nothing was saved yet.

        Raises:
            InputError: the file is damaged.
        """
        file = self.path / "last" / STATE
        if not file.exists():
            return None
        try:
            open_regular(file, refuse=InputError).close()
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # noqa: BLE001  (torch raises RuntimeError, UnpicklingError, EOFError)
            raise InputError(f"{file}: damaged ({str(error).splitlines()[0]}); remove the link `last`") from None
        return state

    def _link(self, name: str, target: Path) -> None:
        partial = self.path / f".{name}.tmp"
        partial.unlink(missing_ok=True)
        partial.symlink_to(target.relative_to(self.path))
        partial.replace(self.path / name)
        sync_folder(self.path)


def _refuse_links(folder: Folder, own: tuple[str, ...] = ()) -> None:
    """Raise an OutputError for a link in a folder or one below it; those that are `own` may lead to a checkpoint."""
    for name in folder.names():
        if name in own and (folder.path / name).is_symlink():
            target = os.readlink(name, dir_fd=folder.descriptor)
            if _CHECKPOINT.fullmatch(target):
                continue
            raise OutputError(f"{folder.path / name}: leads to {target}; expected a checkpoint of the run: remove it")
        found = folder.status(name)
        if own and found is not None and stat.S_ISDIR(found.st_mode):
            with folder.folder(name) as inner:
                _refuse_links(inner)
