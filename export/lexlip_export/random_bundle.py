"""`python -m lexlip_export.random_bundle PRESET DIR`: a whole bundle of a preset's shapes with random weights.

For benchmarks and tests, where shapes and sparsity matter and meaning does not. Freshly initialised weights give
vectors without a single zero, so decoders are widened and biases lowered until a realistic share of terms is positive.
"""

from __future__ import annotations

import itertools
import string
from pathlib import Path
from typing import Annotated

import torch
import typer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn

from lexlip_export.bundle_writer import write_bundle
from lexlip_export.cli import say_size
from lexlip_export.settings import ExportSettings, FurtherGraph, GateSettings, Thresholds, named_precisions
from lexlip_infer.cli.shell import application, run_application
from lexlip_infer.errors import InputError
from lexlip_training import ImageTowerConfig, LexLIP, ModelConfig, preset
from lexlip_training.wordpiece import suppressed_terms

#: Share of positive terms that the biases are set for, on smooth random images and random words.
SHARE = 0.03
#: Standard deviation of a logit; the heaviest terms then weigh about 2.
LOGIT_SPREAD = 3.0
#: Random colours a side in those images, from almost plain to almost noise.
_PROBE_GRIDS = (2, 4, 8, 16)

_NO_LIMITS = Thresholds(hidden_mean=1e9, weight_max=1e9, weight_mean=1e9, overlap=0.0, recall_loss=100.0, agreement=0.0)
#: Figures are recorded all the same; that random weights keep the limits of trained ones cannot be asked.
_GATE = GateSettings(calibration="synthetic", fp16=_NO_LIMITS, int8=_NO_LIMITS)

#: Where BERT has them; the ids below 104 that are left go to [unused...] terms, as in BERT.
_SPECIAL = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
_CHARACTERS = string.punctuation + string.digits + string.ascii_lowercase


def sized_config(config: ModelConfig, image_size: int) -> ModelConfig:
    """The same model for images of another size, in pixels."""
    assert config.image is not None
    options = dict(config.image.backbone_options)
    if "_patch" in config.image.backbone:  # timm builds a transformer's positions for one size, and must be told it
        options["img_size"] = image_size
    image = config.image.model_copy(update={"image_size": image_size, "backbone_options": options})
    return config.model_copy(update={"image": image})


@torch.no_grad()
def random_model(config: ModelConfig, seed: int) -> LexLIP:
    """A model whose vectors are about as sparse as a trained one's; the same for the same seed.

    Args:
        config: of the model.
        seed: of all its weights. The caller's random state is left alone.

    Returns:
        In evaluation mode.
    """
    assert config.image is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LexLIP(config).eval()
        for decoder in {model.image_head.weight, model.text_head.weight}:
            decoder.mul_(LOGIT_SPREAD / (decoder.std() * config.hidden_size**0.5))
        ids = torch.randint(config.vocab_size, (len(_PROBE_GRIDS), 12))
        _lower(model.image_head.bias, model.image_weights(_probe_pixels(config.image)))
        _lower(model.text_head.bias, model.text_weights(ids, torch.ones_like(ids)))
    return model


def _probe_pixels(config: ImageTowerConfig) -> Tensor:
    """Smooth random images (B, 3, S, S), normalised: what a photograph is like to an untrained model."""
    size = (config.image_size, config.image_size)
    grids = [torch.rand(1, 3, grid, grid) for grid in _PROBE_GRIDS]
    images = torch.cat([nn.functional.interpolate(grid, size, mode="bilinear") for grid in grids])
    mean, std = (torch.tensor(values)[:, None, None] for values in (config.mean, config.std))
    return (images - mean) / std


def _lower(bias: nn.Parameter, weights: Tensor) -> None:
    """Leave `SHARE` of the weights (B, V) positive, which were made with biases of zero."""
    logits = weights.expm1()  # what the saturation cut off is far below any threshold
    threshold = logits.flatten().kthvalue(round((1 - SHARE) * logits.numel())).values
    bias.sub_(threshold)


def random_parts(preset_name: str, image_size: int | None = None, seed: int = 0) -> tuple[LexLIP, Tokenizer]:
    """What `random_bundle` exports: the model in evaluation mode, and its tokenizer.

    Raises:
        InputError: there is no such preset.
    """
    config = preset(preset_name)
    tokenizer: Tokenizer = synthetic_tokenizer(config.vocab_size)
    names = {"name": f"{preset_name}-random-weights", "suppressed_ids": suppressed_terms(tokenizer)}
    config = config.model_copy(update=names)
    if image_size is not None:
        config = sized_config(config, image_size)
    return random_model(config, seed), tokenizer


def random_bundle(
    preset_name: str,
    output: Path,
    image_size: int | None = None,
    seed: int = 0,
    settings: ExportSettings | None = None,
) -> None:
    """Write a bundle of a preset's shapes with random weights and an invented vocabulary.

    Args:
        preset_name: "lexlip-base" or "lexlip-tiny".
        output: must not exist, or be a bundle, which is replaced.
        image_size: in pixels; the preset's when absent.
        seed: of the weights.
        settings: as for `export_bundle`.

    Raises:
        InputError: there is no such preset.
        OutputError: `output` exists and is no bundle.
    """
    model, tokenizer = random_parts(preset_name, image_size, seed)
    notice = (
        "Random weights and an invented vocabulary: for benchmarks and tests of the machinery, useless for retrieval."
    )
    write_bundle(model, tokenizer, {"notice": notice, "seed": seed}, output, settings or ExportSettings(), gate=_GATE)


def synthetic_tokenizer(vocab_size: int) -> Tokenizer:
    """Lower-casing WordPiece whose pieces cover any ASCII text: characters, then words of one syllable and more.

    Args:
        vocab_size: V, at least 256.

    Raises:
        InputError: fewer terms than the special tokens and characters need.
    """
    terms = _terms()
    if vocab_size < 256:
        raise InputError(f"a vocabulary of {vocab_size} terms was asked for; expected at least 256")
    vocabulary = {term: i for i, term in enumerate(itertools.islice(terms, vocab_size))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106  (a token of text)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", _SPECIAL["[SEP]"]), ("[CLS]", _SPECIAL["[CLS]"]))
    tokenizer.add_special_tokens(list(_SPECIAL))
    return tokenizer


def _terms() -> itertools.chain[str]:
    """Terms without end and without repetition, in the order of their ids."""
    by_id = {i: token for token, i in _SPECIAL.items()}
    head = (by_id.get(i, f"[unused{i}]") for i in range(max(by_id) + 1))
    characters = itertools.chain(_CHARACTERS, (f"##{c}" for c in _CHARACTERS if c.isalnum()))
    continuations = (f"##{syllable}" for syllable in _SYLLABLES)
    words = ("".join(word) for length in itertools.count(1) for word in itertools.product(_SYLLABLES, repeat=length))
    return itertools.chain(head, characters, continuations, words)


app = application("Write a bundle of a preset's shapes with random weights.")


@app.command()
def _command(
    preset_name: Annotated[str, typer.Argument(metavar="PRESET", help="lexlip-base or lexlip-tiny")],
    output: Annotated[Path, typer.Argument(metavar="DIR", help="bundle to write; an older bundle there is replaced")],
    image_size: Annotated[int | None, typer.Option(min=32, help="in pixels  [default: the preset's]")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the weights")] = 0,
    graph: Annotated[list[FurtherGraph] | None, typer.Option(help="a further graph to write; repeatable")] = None,
    precision: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="fp16, int8 or all, beside f32; repeatable")
    ] = None,
) -> None:
    """Write a bundle of PRESET's shapes with random weights to DIR, for benchmarks and tests."""
    settings = ExportSettings(graphs=tuple(graph or ()), precisions=named_precisions(precision or []))
    random_bundle(preset_name, output, image_size, seed, settings)
    say_size(output)


if __name__ == "__main__":
    run_application(app, "lexlip_export.random_bundle")
