"""What the frozen lower stages of a convolutional backbone make of each crop, computed once and remembered.

On a CPU those stages cost several times what the rest of a training step costs. While they are frozen, their output
depends on the crop alone, so a run that walks through a few crops of each image (`data.views`) needs them once for
each. In a file, the memory serves all runs on the same crops, at once if need be. Development images always go
through the whole backbone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lexlip_kernels.errors import OutputError
from lexlip_training.towers import ImageTower

__all__ = ["StemMemory"]


class StemMemory:
    """Called with a crop's place and a way to make it, gives the stem's output (C, h, w), of two bytes a number.

    Every crop goes through alone, so that no batch, order or restart changes a bit. The file is sparse; a crop is
    marked as known after its numbers are written, which survives a kill of the process.

    Args:
        tower: its stem is copied, as it is now; the caller keeps it frozen.
        views: crops of each sample.
        samples: of the training set.
        folder: for a shared file; None keeps the memory to this process.
        crops: what the crops depend on; with the stem's weights, names the file.
        dtype: what is kept; in bfloat16 the stem is computed in it, too.
    """

    def __init__(
        self,
        tower: ImageTower,
        views: int,
        samples: int,
        folder: Path | None,
        crops: str,
        dtype: torch.dtype = torch.float16,
    ) -> None:
        self._stem = deepcopy(tower.stem()).eval()
        self._dtype = dtype
        size = tower.config.image_size
        shape = tuple(self._features(torch.zeros(3, size, size)).shape)
        record = np.dtype([("known", "?"), ("features", "<f2", shape)])
        self._rows: npt.NDArray[np.void] = (
            np.zeros((views, samples), record)
            if folder is None
            else _shared(folder / f"stem-{_digest(self._stem, crops)}.npy", record, (views, samples))
        )

    def __call__(self, view: int, sample: int, pixels: Callable[[], Tensor]) -> Tensor:
        """The output for one crop; `pixels` makes (3, S, S) where it is not known yet."""
        row = self._rows[view, sample]
        if not row["known"]:
            row["features"] = self._features(pixels()).contiguous().view(torch.float16).numpy()
            row["known"] = True
        return torch.from_numpy(row["features"]).view(self._dtype).float()

    def knows(self, view: int) -> bool:
        """Whether the output for every sample's crop is known."""
        return bool(self._rows[view]["known"].all())

    @torch.no_grad()
    def _features(self, pixels: Tensor) -> Tensor:
        own = next(self._stem.parameters()).dtype
        batch = pixels.to(own).unsqueeze(0).contiguous(memory_format=torch.channels_last)
        with torch.autocast(batch.device.type, self._dtype, enabled=self._dtype == torch.bfloat16):
            features: Tensor = self._stem(batch)[0]
        return features.to(self._dtype)


def _digest(stem: nn.Module, crops: str) -> str:
    digest = hashlib.sha256(crops.encode())
    for name, value in stem.state_dict().items():
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _shared(file: Path, record: np.dtype[np.void], shape: tuple[int, int]) -> npt.NDArray[np.void]:
    """Map the file, made first if it is missing; two runs that make it at once end up with the same one."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            partial = file.with_name(f".{file.name}.{os.getpid()}.tmp")
            np.lib.format.open_memmap(partial, "w+", record, shape).flush()
            with suppress(FileExistsError):
                os.link(partial, file)
            partial.unlink()
        rows: npt.NDArray[np.void] = np.lib.format.open_memmap(file, "r+")
    except (OSError, ValueError) as error:
        raise OutputError(f"{file}: cannot hold the stem's output ({error}); remove it and repeat") from None
    return rows
