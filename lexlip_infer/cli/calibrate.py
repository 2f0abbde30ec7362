"""`lexlip calibrate`: how few terms and bits are enough, measured on captioned photographs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexlip_infer.cli.options import AsJson, Captions, Model, QueryMode, Split, TextTopK, Threads
from lexlip_infer.cli.shell import print_table, progress_bar
from lexlip_infer.errors import InputError, require

if TYPE_CHECKING:
    from lexlip_infer.evaluation.calibration import Calibration, Outcome

_TOP_KS = (32, 64, 128, 256)
_BITS = (2, 3, 4, 6, 8)


def calibrate(
    captions: Captions,
    split: Split = "dev",
    model: Model = None,
    image_top_k: Annotated[
        list[int] | None, typer.Option(metavar="N", min=1, help=f"to try; may be repeated  [default: {_TOP_KS}]")
    ] = None,
    bits: Annotated[
        list[int] | None, typer.Option(metavar="B", min=1, max=16, help=f"to try; repeated  [default: {_BITS}]")
    ] = None,
    text_top_k: TextTopK = None,
    query_mode: QueryMode = None,
    tolerance: Annotated[float, typer.Option(metavar="X", min=0, help="points of mean recall that may be lost")] = 0.5,
    plot: Annotated[Path | None, typer.Option(metavar="PNG", help="draw loss against index size")] = None,
    write: Annotated[bool, typer.Option("--write", help="make the recommendation the bundle's default")] = False,
    as_json: AsJson = False,
    threads: Threads = None,
) -> None:
    """Try kept terms and bits of impacts, and recommend the cheapest setting that loses little.

    Loss is the mean of R@1, R@5 and R@10 in both directions, against full vectors under the model's similarity.
    """
    if plot is not None:
        require("matplotlib", extra="viz")
    from lexlip_infer.bundle import Bundle, KeptTerms, Quantisation
    from lexlip_infer.datasets import read_captioned_images
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.evaluation.calibration import calibrate as measure

    if write and (model is None or not Path(model).is_dir()):
        raise InputError("--write changes a bundle: name the folder of your own copy with --model")
    encoder = LexLIPEncoder.from_pretrained(model, threads=threads)
    manifest = encoder.manifest
    data = read_captioned_images(captions, split)
    texts = encoder.encode_texts(data.captions, top_k=manifest.vocab_size, mode=query_mode)
    images = encoder.encode_images(data.images, batch_size=16, top_k=manifest.vocab_size)
    top_ks = sorted({min(k, manifest.vocab_size) for k in image_top_k or _TOP_KS})
    tried_bits = sorted(set(bits or _BITS))
    with progress_bar(len(top_ks) * len(tried_bits), "settings") as progress:
        calibration = measure(
            encoder, images, texts, data, top_ks, text_top_k or manifest.top_k.text, tried_bits, progress
        )
    _print(calibration, as_json)
    if plot is not None:
        from lexlip_infer.evaluation.plots import draw_calibration

        draw_calibration(calibration, plot, manifest.name)
    best = calibration.recommend(tolerance)
    if not as_json:
        typer.echo(f"recommended: {_describe(best)}, which loses {best.loss:.2f} points")
    _warn(best)
    if write:
        assert model is not None
        kept = KeptTerms(image=best.image_top_k, text=best.text_top_k)
        Bundle.open(model).set_defaults(kept, Quantisation(scale=best.scale, cap=best.cap))
        typer.echo(f"written to {model}; collections encoded before keep their own settings", err=True)


def _warn(best: Outcome) -> None:
    from lexlip_infer.impacts import MOST_LIFTED

    if best.lifted > MOST_LIFTED:
        typer.echo(
            f"warning: {best.lifted:.0%} of the kept terms have weights that this scale makes less than 1, and count "
            "as 1: try more --bits, or fewer terms",
            err=True,
        )


def _describe(outcome: Outcome) -> str:
    return f"image top-{outcome.image_top_k}, {outcome.bits} bits (scale {outcome.scale:g}, cap {outcome.cap})"


def _print(calibration: Calibration, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(calibration), indent=2))
        return
    cost = ("loss", "postings", "sum of impacts", "lifted to 1")
    names = ("image terms", "bits", "scale", "text to image", "image to text", *cost)
    unpruned = (str(calibration.text_to_image), str(calibration.image_to_text))
    rows: list[tuple[str, ...]] = [("all", "float", "", *unpruned, "", "", "", "")]
    for outcome in calibration.outcomes:
        figures = (
            f"{outcome.loss:+.2f}",
            f"{outcome.postings:.0f}",
            f"{outcome.impact_sum:,.0f}",
            f"{outcome.lifted:.1%}",
        )
        recalls = (str(outcome.text_to_image), str(outcome.image_to_text))
        rows.append((f"{outcome.image_top_k}", f"{outcome.bits}", f"{outcome.scale:g}", *recalls, *figures))
    print_table(names, rows)
