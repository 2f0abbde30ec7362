"""`lexlip eval large-scale`: a test collection among distractors, every search engine on one machine in one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexlip_infer.cli.options import Captions, Model, QueryMode, Split, Threads
from lexlip_infer.errors import InputError, require

if TYPE_CHECKING:
    from lexlip_infer.bench.large_scale.settings import DenseSources, Family

_TOP_KS = (32, 64, 85, 128, 256)
_SYSTEMS = ("exact", "anserini", "faiss-flat", "faiss-hnsw", "faiss-ivfpq", "bm25", "bag-of-words")


# Options that take more than a line.
_Distractors = Annotated[
    list[Path] | None, typer.Option(metavar="DIR", help="output of lexlip-encode; may be repeated")
]
_Synthetic = Annotated[
    int,
    typer.Option(
        metavar="N", min=0, max=10**9, help="documents drawn from real distributions, for speed and size only"
    ),
]
_ImageTopK = Annotated[
    list[int] | None, typer.Option(metavar="N", min=1, help=f"to compare; may be repeated  [default: {_TOP_KS}]")
]
_TextTopK = Annotated[int | None, typer.Option(metavar="N", min=1, help="terms of a query  [default: the model's]")]
_Systems = Annotated[
    list[str] | None, typer.Option("--system", metavar="NAME", help=f"one of {', '.join(_SYSTEMS)}; repeated")
]
_DenseImages = Annotated[Path | None, typer.Option(metavar="DIR", help="vectors.npy and ids.txt of the test images")]
_DenseDistractors = Annotated[
    list[Path] | None, typer.Option(metavar="DIR", help="the same of further images; may be repeated")
]


def large_scale(
    captions: Captions,
    output: Annotated[Path, typer.Argument(metavar="OUT", help="folder for report, figures and indexes")],
    split: Split = "dev",
    model: Model = None,
    distractors: _Distractors = None,
    synthetic: _Synthetic = 0,
    image_top_k: _ImageTopK = None,
    text_top_k: _TextTopK = None,
    query_mode: QueryMode = None,
    systems: _Systems = None,
    dense_images: _DenseImages = None,
    dense_texts: Annotated[Path | None, typer.Option(metavar="DIR", help="the same of all captions, in order")] = None,
    dense_distractors: _DenseDistractors = None,
    dense_size: Annotated[int, typer.Option(metavar="D", min=1, help="of synthetic dense vectors")] = 768,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="times each system is opened and timed")] = 3,
    timed_queries: Annotated[int, typer.Option(metavar="N", min=1, help="of a pass, at most")] = 1000,
    seconds: Annotated[float, typer.Option(metavar="S", min=0.001, help="of a pass, at most")] = 10.0,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="of everything drawn")] = 0,
    threads: Threads = None,
) -> None:
    """Compare search engines over FILE's photographs and distractors; OUT gets report.md, results.json and pictures.

    Needs the extras anserini, faiss and viz, or fewer --system. A run that was interrupted is continued by the same
    command. Disk: 3.1 to 3.4 kB a document for each of Flat and HNSW, 3 bytes a posting for the exact one.
    """
    from lexlip_infer.bench.large_scale.running import run_experiment
    from lexlip_infer.bench.large_scale.settings import Settings
    from lexlip_infer.bench.machine import machine_info
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.runtime.lookup import checked_mode

    require("matplotlib", extra="viz")  # now, not when everything is measured
    families = _families(systems)
    encoder = LexLIPEncoder.from_pretrained(model, "cpu", threads=threads)
    manifest = encoder.manifest
    settings = Settings(
        captions=str(captions.absolute()),
        split=split,
        model_name=manifest.name,
        model_fingerprint=encoder.bundle.fingerprint,
        top_ks=tuple(sorted({min(k, manifest.vocab_size) for k in image_top_k or _TOP_KS})),
        text_top_k=text_top_k or manifest.top_k.text,
        query_mode=checked_mode(encoder.bundle, query_mode, query=True),
        scale=manifest.quantisation.scale,
        cap=manifest.quantisation.cap,
        normalise=manifest.similarity == "cosine",
        distractors=tuple(str(folder.absolute()) for folder in distractors or ()),
        synthetic=synthetic,
        dense=_dense(dense_images, dense_texts, dense_distractors),
        dense_size=dense_size,
        families=families,
        rounds=rounds,
        threads=encoder.threads,
        timed_queries=timed_queries,
        seconds=seconds,
        seed=seed,
    )
    run_experiment(encoder, settings, output, machine_info(), lambda step: typer.echo(step, err=True))
    typer.echo(output / "report.md")


def _families(systems: list[str] | None) -> tuple[Family, ...]:
    """In the order of the report; all where none is named."""
    from lexlip_infer.bench.large_scale.settings import FAMILIES

    chosen = tuple(systems or FAMILIES)
    if unknown := [name for name in chosen if name not in FAMILIES]:
        raise InputError(f"--system {unknown[0]}: expected one of {', '.join(FAMILIES)}")
    return tuple(name for name in FAMILIES if name in chosen)


def _dense(images: Path | None, texts: Path | None, distractors: list[Path] | None) -> DenseSources | None:
    from lexlip_infer.bench.large_scale.settings import DenseSources

    if images is None and texts is None and not distractors:
        return None
    if images is None or texts is None:
        raise InputError("real dense vectors need both --dense-images and --dense-texts")
    further = tuple(str(folder.absolute()) for folder in distractors or ())
    return DenseSources(images=str(images.absolute()), texts=str(texts.absolute()), distractors=further)
