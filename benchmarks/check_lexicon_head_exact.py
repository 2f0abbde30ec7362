"""Does the int8 scan of `lexicon_head` ever lose a term? `exact` against `f32`, bit for bit, on many inputs.

Run `python benchmarks/check_lexicon_head_exact.py`. On every CPU path that scans here, `exact` has to give the ids and
weights that `f32` gives: for 1,000 random inputs of the shape of a ViT-B/16 with BERT's vocabulary, hard in different
ways, and, with `LEXLIP_DATA` set, for 200 photographs through the shipped model and through an untrained `lexlip-base`.
The last column says how many terms the fastest path's scan could not rule out: how hard the inputs are. Inputs come in
batches, so that a thousand need no more memory than twenty.

A table comes first, one line of JSON last; the same JSON goes to `--output`. Exit status 1 if a single row differs.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from harness import Report, finish, machine, options

from lexlip_kernels.lexicon_head import CpuPath, PackedDecoder, RankedTerms, cpu_paths, lexicon_head, native

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

    from lexlip_infer import LexLIPEncoder
    from lexlip_infer.runtime.head_weights import read_decoder

    encoder = LexLIPEncoder.from_pretrained(threads=2)
    decoder = PackedDecoder.pack(*read_decoder(encoder.bundle, "image"))
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


TOP_K = 128
THREADS = 2


def differing_rows(found: RankedTerms, expected: RankedTerms) -> int:
    """Rows whose ids, counts or weights are not the same, bit for bit."""
    ids = (found.ids != expected.ids).any(axis=1)
    weights = (found.weights.view(np.int32) != expected.weights.view(np.int32)).any(axis=1)
    return int((ids | weights | (found.counts != expected.counts)).sum())


def scanning_paths() -> tuple[Any, ...]:
    """CPU paths that scan in int8 here, fastest first: all but the portable one."""
    return tuple(path for path in cpu_paths() if path != "portable")


def candidates(decoder: PackedDecoder, hidden: npt.NDArray[np.float32], path: str, least: npt.NDArray[Any]) -> int:
    """Terms of all rows whose bound reaches the logit of the last kept weight, `least` (B, 1)."""
    assert decoder.panels is not None
    mask = np.ones(hidden.shape[:2], np.uint8)
    bounds = native.upper_bounds(
        hidden, decoder.weight, decoder.bias, mask, panels=decoder.panels, threads=THREADS, cpu_path=path
    )
    return int((bounds >= np.expm1(least.astype(np.float64))).sum())


def compare(inputs: Inputs) -> Report:
    """`exact` on every scanning path against `f32`, which is the same on all of them (tests see to that)."""
    paths: tuple[CpuPath, ...] = scanning_paths()
    rows, left = 0, 0
    differing = dict.fromkeys(paths, 0)
    for hidden in inputs.batches:
        run = partial(lexicon_head, hidden, inputs.decoder, k=TOP_K, threads=THREADS)
        expected = run(mode="f32", cpu_path=paths[0])
        for path in paths:
            differing[path] += differing_rows(run(mode="exact", cpu_path=path), expected)
        rows += len(hidden)
        left += candidates(inputs.decoder, hidden, paths[0], expected.weights[:, -1:])
    tokens, width = hidden.shape[1:]
    shape = {"tokens": tokens, "hidden": width, "vocab": inputs.decoder.vocab_size}
    return {"inputs": inputs.name, "rows": rows, **shape, "differing": differing, "candidates": round(left / rows)}


def sources(rows: int, photographs: list[Path]) -> list[Callable[[], Inputs]]:
    """What to compare on, made one after the other."""
    made: list[Callable[[], Inputs]] = [partial(random_inputs, name, rows // len(RANDOM)) for name in RANDOM]
    if photographs:
        made += [partial(lexlip_tiny, photographs), partial(random_lexlip_base, photographs)]
    return made


def real_photographs(count: int) -> list[Path]:
    """The first of Flickr8k, or none where there is no real data."""
    if "LEXLIP_DATA" not in os.environ:
        print("LEXLIP_DATA is not set: no photographs")
        return []
    return sorted(Path(os.environ["LEXLIP_DATA"], "flickr8k", "images").iterdir())[:count]


def print_row(part: Report) -> None:
    """One line for a person."""
    shape = f"L={part['tokens']} H={part['hidden']} V={part['vocab']}"
    paths, differ = len(part["differing"]), sum(part["differing"].values())
    print(f"{part['inputs']:32} {shape:22} {part['rows']:6} {paths:6} {differ:9} {part['candidates']:11}", flush=True)


def main() -> None:
    """Compare, print, write."""
    parser = options("Compare the exact head with the float32 one, bit for bit.", "lexicon_head_exact.json")
    parser.add_argument("--rows", type=int, default=1000, help="random inputs, over all distributions")
    parser.add_argument("--photographs", type=int, default=200, help="of $LEXLIP_DATA/flickr8k/images")
    arguments = parser.parse_args()
    if not scanning_paths():
        sys.exit("check_lexicon_head_exact: no CPU path scans here, so exact and f32 are one; nothing was compared")
    photographs = real_photographs(arguments.photographs)
    print(f"{'inputs':32} {'shape':22} {'rows':>6} {'paths':>6} {'differing':>9} candidates")
    report: Report = {
        "benchmark": "lexicon_head_exact",
        "k": TOP_K,
        "machine": {**machine("onnxruntime", "torch"), "cpu_paths": cpu_paths()},
        "parts": [],
    }
    for make in sources(arguments.rows, photographs):
        report["parts"].append(compare(make()))
        print_row(report["parts"][-1])
    finish(report, arguments.output)
    sys.exit(1 if any(sum(part["differing"].values()) for part in report["parts"]) else 0)


if __name__ == "__main__":
    main()
