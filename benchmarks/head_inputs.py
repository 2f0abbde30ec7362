"""Heads to hold `exact` against `f32` on: random ones that are hard in different ways, and photographs.

Shapes of the random ones are those of a ViT-B/16 with BERT's vocabulary. Each function gives a decoder and hidden
states in batches, so that a thousand inputs need no more memory than twenty.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lexlip_kernels.lexicon_head import PackedDecoder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["RANDOM", "Inputs", "lexlip_tiny", "random_inputs", "random_lexlip_base"]

TOKENS, HIDDEN, VOCABULARY = 197, 768, 30522
BATCH = 10

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Inputs:
    """A decoder and what it is to decode: arrays (B, L, H)."""

    name: str
    decoder: PackedDecoder
    batches: Iterator[Array]


def gaussian(random: np.random.Generator, batch: int) -> Array:
    """Independent channels: no term stands out, so the scan leaves many candidates."""
    return random.standard_normal((batch, TOKENS, HIDDEN), dtype=np.float32)


def layer_norm(random: np.random.Generator, batch: int) -> Array:
    """As a transform's LayerNorm gives them: tokens of one image resemble each other, channels have gain and offset."""
    values = gaussian(random, batch) + 2 * random.standard_normal((batch, 1, HIDDEN), dtype=np.float32)
    values -= values.mean(axis=2, keepdims=True)
    values /= values.std(axis=2, keepdims=True)
    channels = np.random.default_rng(1)
    gain, offset = channels.lognormal(0, 0.5, HIDDEN), channels.normal(0, 0.5, HIDDEN)
    return values * gain.astype(np.float32) + offset.astype(np.float32)


def heavy_tailed(random: np.random.Generator, batch: int) -> Array:
    """Student's t with three degrees of freedom: a few values use up the levels of a token."""
    return random.standard_t(3, (batch, TOKENS, HIDDEN)).astype(np.float32)


def outlier_channels(random: np.random.Generator, batch: int) -> Array:
    """Three channels a hundred times the others, as large transformers have them."""
    values = gaussian(random, batch)
    values[:, :, [3, 100, 500]] *= 100
    return values


def near_ties(random: np.random.Generator, batch: int) -> Array:
    """Tokens in pairs that differ by a rounding; `_decoder` does the same to terms."""
    values = gaussian(random, batch)
    values[:, 1::2] = values[:, :-1:2] * np.float32(1 + 2**-22)
    return values


RANDOM: dict[str, Callable[[np.random.Generator, int], Array]] = {
    function.__name__: function for function in (gaussian, layer_norm, heavy_tailed, outlier_channels, near_ties)
}
"""How hidden states are drawn, by name."""


def _decoder(random: np.random.Generator, tied: bool) -> PackedDecoder:
    """Gaussian columns; where tied, of four columns two are equal and two differ by roundings of some channels."""
    weight = random.standard_normal((VOCABULARY, HIDDEN), dtype=np.float32) / np.float32(HIDDEN**0.5)
    bias = random.standard_normal(VOCABULARY, dtype=np.float32) * np.float32(0.1)
    if tied:
        group = np.arange(VOCABULARY) // 4 * 4
        weight, bias = weight[group], bias[group]
        weight[2::4, ::50] = np.nextafter(weight[2::4, ::50], np.float32(1))
        weight[3::4, ::70] = np.nextafter(weight[3::4, ::70], np.float32(-1))
    return PackedDecoder.pack(weight, bias, 2)


def random_inputs(name: str, rows: int) -> Inputs:
    """`rows` inputs drawn as `RANDOM[name]` does, with a decoder of their own; always the same ones."""
    random = np.random.default_rng(0)
    decoder = _decoder(random, tied=name == "near_ties")
    sizes = [min(BATCH, rows - first) for first in range(0, rows, BATCH)]
    return Inputs(name, decoder, (RANDOM[name](random, size) for size in sizes))


def _pixels(photographs: list[Path], preprocess: Any) -> Iterator[Array]:
    """Pixels (B, 3, S, S) of files."""
    from lexlip_infer.inputs.images import load_image

    files = iter(photographs)
    while chunk := list(itertools.islice(files, BATCH)):
        yield np.stack([preprocess(load_image(file)) for file in chunk])


def lexlip_tiny(photographs: list[Path]) -> Inputs:
    """Photographs through the image backbone of the shipped, trained model, and its own decoder."""
    import onnxruntime
    from safetensors.numpy import load

    from lexlip_infer import LexLIPEncoder

    encoder = LexLIPEncoder.from_pretrained(threads=2)
    heads = load(encoder.bundle.read("heads.safetensors"))
    decoder = PackedDecoder.pack(heads["image.weight"].astype(np.float32), heads["image.bias"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    backbone = onnxruntime.InferenceSession(encoder.bundle.read("onnx/image_backbone.onnx"), options)
    batches = (backbone.run(["hidden"], {"pixel_values": p})[0] for p in _pixels(photographs, encoder.preprocess))
    return Inputs("photographs, lexlip-tiny", decoder, batches)


def random_lexlip_base(photographs: list[Path]) -> Inputs:
    """Photographs through an untrained BEiT-B/16 and transform, with an untrained decoder; needs the extra `train`."""
    import torch

    from lexlip_infer.inputs.preprocessing import ImagePreprocessor
    from lexlip_training import LexLIP
    from lexlip_training.config import preset

    torch.manual_seed(0)
    torch.set_num_threads(2)
    config = preset("lexlip-base")
    model = LexLIP(config).eval()
    head, image = model.image_head, config.image
    decoder = PackedDecoder.pack(head.weight.detach().numpy(), head.decoder_bias().detach().numpy(), 2)
    preprocess = ImagePreprocessor(image.image_size, image.resize, image.mean, image.std)

    def hidden() -> Iterator[Array]:
        with torch.inference_mode():
            for pixels in _pixels(photographs, preprocess):
                yield model.image_hidden(torch.from_numpy(pixels)).numpy()

    return Inputs("photographs, random lexlip-base", decoder, hidden())
