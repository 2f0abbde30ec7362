"""What is measured where nothing is given: made-up photographs and texts that cost what real ones cost, random models.

A user's own inputs come again and again, until there are as many as asked for.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lexlip_infer.bundle import Bundle, Modality
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.errors import InputError, MissingExtra
from lexlip_infer.inputs.items import BadItem
from lexlip_infer.inputs.readers import open_images, open_texts

#: Of a photograph as collections have them; a JPEG of it in quality 90 takes about 100 KB.
_WIDTH, _HEIGHT = 640, 480

#: Entry points of packages that make models of random weights: modules that `python -m` runs. The names are what they
#: do, the values the packages that they need and the extra that brings those.
_MAKERS = "lexlip_infer.model_makers"
_NEEDED = {
    "random_bundle": (("torch", "timm", "transformers", "onnx"), "export"),
    "openvino_int8": (("openvino", "nncf"), "openvino-export"),
}


class Repeated:
    """The first `count` items of a reader, from its start again where it has fewer."""

    passed_over = ""

    def __init__(self, reader: Iterable[Any], count: int) -> None:
        self.count = count
        self._reader = reader

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(itertools.chain.from_iterable(itertools.repeat(self._reader)), self.count)


def open_inputs(modality: Modality, place: Path, count: int) -> Repeated:
    """A reader of `count` items.

    Raises:
        InputError: the place holds none, or one that cannot be read.
    """
    reader: Iterable[Any] = open_images([str(place)]) if modality == "image" else open_texts([str(place)])
    first = next(iter(reader), None)
    if first is None:
        raise InputError(f"{place}: holds no {modality} to encode; name a folder of images, or use --synthetic N")
    if isinstance(first, BadItem):
        raise InputError(f"{first.origin}: {first.error}")
    return Repeated(reader, count)


def write_images(folder: Path, count: int) -> None:
    """JPEG files with the statistics that matter to a decoder: smooth shapes under a little noise."""
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC)
        noisy = np.asarray(smooth, np.int16) + random.normal(0, 6, (_HEIGHT, _WIDTH, 1)).astype(np.int16)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:06d}.jpg", quality=90)


def write_texts(path: Path, terms: Sequence[str], count: int, words: int) -> None:
    """Lines of `words` words of the vocabulary each, which a tokenizer leaves whole."""
    random = np.random.default_rng(0)
    whole = [term for term in terms if term.isascii() and term.isalpha()]
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            text = " ".join(whole[term] for term in random.integers(0, len(whole), words))
            file.write(json.dumps({"id": str(number), "text": text}) + "\n")


def write_inputs(bundle: Bundle, folder: Path, images: int, texts: int, words: int) -> None:
    """Make `images/` and `texts.jsonl` in a new folder, the texts of the bundle's own words."""
    (folder / "images").mkdir(parents=True)
    write_images(folder / "images", images)
    write_texts(folder / "texts.jsonl", LexLIPEncoder(bundle).vocabulary.terms, texts, words)


def make_random_bundle(
    preset: str, folder: Path, paths: Iterable[tuple[str, str]], tell: Callable[[str], None]
) -> Bundle:
    """Export a model of a preset's shapes with random weights, for measuring where no trained one is at hand.

    It is made by whatever package offers that, in a process of its own: none of them is imported here.

    Args:
        preset: "lexlip-base" or "lexlip-tiny".
        folder: for the bundle, and for what an int8 model is calibrated on.
        paths: backends and precisions that it will run in; what they need is stored beside float32.
        tell: hears of every step.

    Raises:
        MissingExtra: the export needs packages that are not installed.
        InputError: there is no such preset, or the export fails.
    """
    chosen = set(paths)
    stored = sorted({precision for backend, precision in chosen if backend != "openvino"} & {"fp16", "int8"})
    tell(f"making a bundle of {preset} with random weights: {', '.join(['f32', *stored])}")
    precisions = [word for name in stored for word in ("--precision", name)]
    _make("random_bundle", preset, str(folder / "model"), *precisions)
    if ("openvino", "int8") in chosen:
        tell("calibrating int8 models for OpenVINO")
        samples = folder / "calibration"
        write_inputs(Bundle.open(folder / "model"), samples, 16, 256, 12)
        inputs = ("--images", str(samples / "images"), "--texts", str(samples / "texts.jsonl"))
        _make("openvino_int8", str(folder / "model"), *inputs, "--bf16")
    return Bundle.open(folder / "model")


def _make(what: str, *arguments: str) -> None:
    packages, extra = _NEEDED[what]
    makers = entry_points(group=_MAKERS, name=what)
    missing = [package for package in packages if importlib.util.find_spec(package) is None]  # torch takes seconds
    if missing or not makers:
        raise MissingExtra(
            f"{missing[0] if missing else what} is not installed; a bundle of random weights is made by the extra "
            f"{extra!r}: pip install 'lexlip-infer[{extra}]', or give a bundle with --model"
        )
    command = [sys.executable, "-m", next(iter(makers)).module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (a maker that is installed)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise InputError(f"no bundle of random weights could be made: {lines[-1]}")
