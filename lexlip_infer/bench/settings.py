"""What is measured: one line of the table is one `Setting`, and one process is given one `Job`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from lexlip_infer.bundle import Modality
from lexlip_infer.errors import InputError
from lexlip_infer.runtime.choice import BACKENDS, RuntimeOptions

#: "sequential": one stage after the other, each timed. "pipelined": as `lexlip-encode` does it, from files to a file.
Mode = Literal["sequential", "pipelined"]


class Setting(BaseModel):
    """How a model is run.

    Attributes:
        modality: of what is encoded.
        device: see `RuntimeOptions`, like the next two.
        backend: of the backbone.
        precision: of the backbone.
        threads: of the CPU.
        batch_size: images or texts at a time.
    """

    model_config = ConfigDict(frozen=True)

    modality: Modality
    device: str
    backend: str
    precision: str
    threads: int
    batch_size: int

    @property
    def options(self) -> RuntimeOptions:
        """As the runtime takes it."""
        return RuntimeOptions(self.device, self.precision, self.backend, threads=self.threads)


class Job(BaseModel):
    """What a process is asked to measure.

    Attributes:
        setting: how.
        mode: see `Mode`.
        model: folder of the bundle.
        inputs: folder of images, or file of texts.
        items: how many are encoded; they come again and again where there are fewer.
    """

    model_config = ConfigDict(frozen=True)

    setting: Setting
    mode: Mode
    model: Path
    inputs: Path
    items: int


def settings_grid(
    modalities: Sequence[Modality],
    devices: str,
    precisions: str,
    threads: Sequence[int],
    batch_sizes: Sequence[int],
) -> list[Setting]:
    """Every combination.

    Args:
        modalities: to measure.
        devices: names, commas between them.
        precisions: commas between them, each with its backend before it if that matters: "f32,openvino:int8".
        threads: of the CPU.
        batch_sizes: images or texts at a time.

    Raises:
        InputError: there is no such device, precision or backend, or one stands there twice.
    """
    axes = (modalities, _words(devices), _words(precisions), threads, batch_sizes)
    settings = []
    for modality, device, path, count, size in itertools.product(*axes):
        backend, _, precision = path.rpartition(":")
        setting = Setting(
            modality=modality,
            device=device,
            backend=backend or BACKENDS[0],
            precision=precision,
            threads=count,
            batch_size=size,
        )
        _ = setting.options  # refuses what there is not
        settings.append(setting)
    return settings


def parse_numbers(text: str, name: str) -> list[int]:
    """Whole numbers of at least 1 with commas between them, each once.

    Raises:
        InputError: that is not what the text holds.
    """
    words = _words(text)
    if not all(word.isascii() and word.isdigit() and 1 <= int(word) <= 65536 for word in words):
        raise InputError(f"{name} is {text!r}; expected whole numbers from 1 to 65536 with commas between: 1,8,32")
    return [int(word) for word in words]


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words) or len(set(words)) < len(words):
        raise InputError(f"{text!r} names nothing, or something twice; expected values with commas between them")
    return words
