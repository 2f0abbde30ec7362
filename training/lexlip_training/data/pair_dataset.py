"""A map-style dataset of pairs: decode, augment, tokenise, mask; and how pairs become a batch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from lexlip_infer.inputs.images import load_image
from lexlip_infer.inputs.preprocessing import ImagePreprocessor
from lexlip_kernels.errors import ImageError, InputError, OutputError
from lexlip_training.config import ImageTowerConfig
from lexlip_training.data.augmentation import Augment, Purpose, draws
from lexlip_training.data.batch import IGNORED, MaskedText, PairBatch
from lexlip_training.data.config import DataConfig, Split
from lexlip_training.data.masking import Masked, WholeWordMasker
from lexlip_training.data.reading import PairTable, read_pairs

#: Substitutes that may be unreadable too before training gives up.
_ATTEMPTS = 20


#: Gives what stands for the pixels of (view, sample), which the last argument makes.
Memory = Callable[[int, int, Callable[[], Tensor]], Tensor]


@dataclass(frozen=True, slots=True)
class Pair:
    """One sample: pixels (3, S, S), token ids (L,), the ids of its image and of itself, and its maskings.

    In place of pixels stands what a memory made of them, where `PairDataset.remember` was given one.
    """

    pixels: Tensor
    input_ids: Tensor
    image_id: int
    sample_id: int
    masked: tuple[Masked, Masked] | None


def open_pairs(
    config: DataConfig,
    split: Split,
    tokenizer: Tokenizer,
    image: ImageTowerConfig,
    seed: int,
    masks: tuple[float, float] | None,
    failures: Path | None = None,
) -> PairDataset:
    """Pairs of a split, augmented where they are for training.

    Args:
        config: sources and what is done to them.
        split: "train" or "dev".
        tokenizer: of the text tower; the caller's own is left as it is.
        image: of the model: preprocessing.
        seed: of everything random.
        masks: rates of the encoder's and the decoder's masking; None: no maskings.
        failures: file that names training images which could not be decoded and were replaced; None: they are errors.

    Raises:
        InputError: a source cannot be read, or the configuration does not fit the model.
    """
    if config.image_size not in {None, image.image_size}:
        raise InputError(
            f"image_size is {config.image_size} in the data settings and {image.image_size} in the model; "
            "leave it out of the data settings"
        )
    table = read_pairs(config.train if split == "train" else config.dev, split)
    return PairDataset(config, table, split, tokenizer, image, seed, masks, failures)


class PairDataset(Dataset[Pair]):
    """Samples by number; see `open_pairs`.

    Attributes:
        table: images and captions.
    """

    def __init__(
        self,
        config: DataConfig,
        table: PairTable,
        split: Split,
        tokenizer: Tokenizer,
        image: ImageTowerConfig,
        seed: int,
        masks: tuple[float, float] | None,
        failures: Path | None,
    ) -> None:
        training = split == "train"
        self.table = table
        self._seed = seed
        self._by_image = training and config.rows == "images"
        self._failures = failures if training else None
        self._kept: dict[int, Image.Image] | None = {} if training and config.keep_decoded else None
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(config.max_length)
        self._preprocess = ImagePreprocessor(image.image_size, image.resize, image.mean, image.std)
        self._augment = Augment(config.augmentation if training else "none", self._preprocess, config.crop_scale)
        options = (config.inclusive_decoder_mask, config.at_least_one_mask)
        self._views = config.views if training else None
        self._memory: Memory | None = None
        self._masker = None if masks is None else WholeWordMasker(self._tokenizer, config.max_length, masks, *options)
        # Shared, so that workers that live longer than an epoch see the next one.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        """Captions, or images where a sample is an image."""
        return self.table.images if self._by_image else len(self.table.captions)

    def set_epoch(self, epoch: int) -> None:
        """Draw everything anew; before the epoch's iteration over a loader begins."""
        self._epoch.fill_(epoch)

    def remember(self, memory: Memory) -> None:
        """Let samples hold what `memory` gives for a view, a sample and a way to make its pixels."""
        self._memory = memory

    def __getitem__(self, index: int) -> Pair:
        """One sample of the current epoch.

        Raises:
            ImageError: its image cannot be decoded and nothing may take its place.
            InputError: nothing could take its place.
        """
        epoch = int(self._epoch)
        if not 0 <= index < len(self):
            raise IndexError(index)
        sample, tried = index, 0
        others = draws(self._seed, epoch, index, Purpose.SUBSTITUTE)
        while True:
            try:
                return self._pair(sample, epoch)
            except ImageError as error:
                if self._failures is None:
                    raise
                if (tried := tried + 1) > _ATTEMPTS:
                    raise InputError(
                        f"{_ATTEMPTS} samples in a row have no readable image; the last: {error}"
                    ) from None
                failed, sample = sample, int(others.integers(len(self)))
                origin = self.table.origin(self._image_of(failed))
                log_substitution(self._failures, epoch, failed, sample, origin, str(error))

    def image_pixels(self, image: int) -> Tensor:
        """Pixels (3, S, S) of an image as evaluation sees it, never augmented, never another.

        Raises:
            ImageError: it cannot be decoded.
        """
        return torch.from_numpy(self._preprocess(self._load(image)))

    def token_ids(self, caption: int) -> list[int]:
        """Token ids of a caption, by its row in the table."""
        return self._ids(self.table.captions[caption])

    def _image_of(self, sample: int) -> int:
        return sample if self._by_image else int(self.table.owner[sample])

    def _ids(self, caption: str) -> list[int]:
        # The tokenizer takes valid Unicode only.
        ids: list[int] = self._tokenizer.encode(caption.encode("utf-8", "replace").decode()).ids
        return ids

    def _pair(self, sample: int, epoch: int) -> Pair:
        image = self._image_of(sample)
        view = epoch if self._views is None else epoch % self._views

        def crop() -> Tensor:
            return self._augment(self._load(image), draws(self._seed, view, sample, Purpose.AUGMENTATION))

        pixels = crop() if self._memory is None else self._memory(view, sample, crop)
        ids = np.array(self.token_ids(self._caption(sample, epoch)), np.int64)
        masked = None
        if self._masker is not None:
            masked = self._masker(ids, draws(self._seed, epoch, sample, Purpose.MASKS))
        return Pair(pixels, torch.from_numpy(ids), image, sample, masked)

    def _caption(self, sample: int, epoch: int) -> int:
        if not self._by_image:
            return sample
        first, end = self.table.first_caption[sample : sample + 2].tolist()
        return int(draws(self._seed, epoch, sample, Purpose.CAPTION).integers(first, end))

    def _load(self, image: int) -> Image.Image:
        if self._kept is None:
            return load_image(self.table.image_source(image))
        if image not in self._kept:
            self._kept[image] = load_image(self.table.image_source(image))
        return self._kept[image]

    @staticmethod
    def collate(pairs: list[Pair]) -> PairBatch:
        """A batch, captions padded to the longest."""
        lengths = torch.tensor([len(pair.input_ids) for pair in pairs])
        input_ids = pad_sequence([pair.input_ids for pair in pairs], batch_first=True)
        maskings: list[MaskedText | None] = [None, None]
        if all(pair.masked is not None for pair in pairs):
            maskings = [_masked_text([pair.masked[which] for pair in pairs if pair.masked]) for which in (0, 1)]
        return PairBatch(
            pixels=torch.stack([pair.pixels for pair in pairs]),
            input_ids=input_ids,
            attention_mask=(torch.arange(input_ids.shape[1]) < lengths[:, None]).long(),
            image_ids=torch.tensor([pair.image_id for pair in pairs]),
            sample_ids=torch.tensor([pair.sample_id for pair in pairs]),
            encoder_masked=maskings[0],
            decoder_masked=maskings[1],
        )


def _masked_text(texts: list[Masked]) -> MaskedText:
    return MaskedText(
        pad_sequence([torch.from_numpy(text.input_ids) for text in texts], batch_first=True),
        pad_sequence([torch.from_numpy(text.labels) for text in texts], batch_first=True, padding_value=IGNORED),
    )


def log_substitution(file: Path, epoch: int, sample: int, substitute: int, path: str, error: str) -> None:
    """Append one line, in one write: workers of all ranks share the file.

    Raises:
        OutputError: it cannot be written.
    """
    row = {"epoch": epoch, "sample": sample, "substitute": substitute, "path": path, "error": error}
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            os.write(descriptor, f"{json.dumps(row)}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error_:
        raise OutputError(f"{file}: cannot be written ({error_.strerror})") from None
