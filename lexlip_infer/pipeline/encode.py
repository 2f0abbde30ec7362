"""Encoding as one call: a folder of images, or a file of texts, becomes a collection of impact vectors on disk.

`encode_folder` and `encode_texts_file` are what `lexlip-encode` does, for programs; the command itself, the functions
and the benchmarks go through `encode`, so that all of them resolve settings in the same way and write the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypedDict, Unpack

from lexlip_infer.bundle import Modality
from lexlip_infer.collection.collection import Collection
from lexlip_infer.collection.manifest import RunManifest
from lexlip_infer.errors import InputError
from lexlip_infer.inputs.items import Reader
from lexlip_infer.inputs.readers import open_images, open_texts
from lexlip_infer.pipeline.progress import Observer
from lexlip_infer.pipeline.ray_engine import encode_on_ray
from lexlip_infer.pipeline.ray_workers import WorkerPlan
from lexlip_infer.pipeline.run import encode_collection, encode_stream
from lexlip_infer.pipeline.settings import EncodeRequest, open_devices, pipeline_options, run_settings
from lexlip_infer.vocabulary import Vocabulary

Paths: TypeAlias = str | Path | Sequence[str | Path]

#: Told after each batch how many inputs are done, and how many there are in all, if that is known.
Progress: TypeAlias = Callable[[int, int | None], None]


class EncodeOptions(TypedDict, total=False):
    """Further choices, by name; `EncodeRequest` says what each means and what holds without it."""

    backend: str
    head: str
    threads: int | None
    memory_arena: bool
    cuda_graph: bool
    batch_size: int
    lanes: int | None
    items_per_shard: int
    compress: str
    shard_id: int
    shard_num: int
    id_column: str | None
    engine: str
    address: str | None
    ray_actors: int | None


class ImageEncodeOptions(EncodeOptions, total=False):
    """Further choices for images."""

    image_column: str | None
    decode_workers: int | None
    decode_timeout: float
    background: str
    frames: str
    truncated: str
    max_megapixels: float


class TextEncodeOptions(EncodeOptions, total=False):
    """Further choices for texts."""

    text_column: str | None
    prompt: str | None
    query_mode: str | None


def encode_folder(
    images: Paths,
    output: str | Path,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    top_k: int | None = None,
    scale: float | None = None,
    progress: Progress | None = None,
    **options: Unpack[ImageEncodeOptions],
) -> Collection:
    """Encode images into `output/vectors/part-*.jsonl`, ready for Anserini and for `lexlip search`.

        from lexlip_infer import encode_folder

        collection = encode_folder("photographs/", "out/", top_k=128, progress=print)
        collection.documents, collection.manifest.failed      # (998, 2): two are no images

    A call that was killed continues where it stopped when it is made again, and ends with the same bytes; one that is
    complete returns at once. Inputs that cannot be decoded do not stop it: they are listed in `output/failures.jsonl`.

    Args:
        images: a folder (searched to any depth; an image's id is its path below it), a pattern, `.tar`, `.parquet`, a
            list of paths in a file, a URL, or several of these; see docs/inputs.md.
        output: folder, new or of the same call.
        model: bundle folder or Hugging Face hub id; the model that ships with the package when absent.
        device: "auto", "cpu", "cuda", or GPUs such as "cuda:0,cuda:1".
        precision: of the backbone: "auto" (f32 on a CPU, fp16 on a GPU), "f32", "fp16", "bf16" or "int8".
        top_k: terms to keep of each image, at most V; the model's default when absent.
        scale: impact = round(scale * weight), at least 1; the model's default when absent.
        progress: called after each batch with the numbers of inputs done, and of all or None.
        options: see `ImageEncodeOptions`; as the options of `lexlip-encode`, with underscores.

    Returns:
        The collection that lies in `output`; its `manifest` has settings, counts and timings.

    Raises:
        BackendUnavailable: what was asked for cannot run here, or decode workers cannot be started.
        BundleError: there is no such model, it is damaged, or it encodes no images.
        InputError: there is nothing to encode, or a choice that is not to be had.
        MissingExtra: an input or a choice needs a package that is not installed.
        OutputError: the folder holds something else or another run's output, is being written, or cannot be.
    """
    chosen = {"device": device, "precision": precision, "top_k": top_k, "scale": scale, **options}
    return _into_folder("image", images, Path(output), model, progress, chosen)


def encode_texts_file(
    texts: Paths,
    output: str | Path,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    top_k: int | None = None,
    scale: float | None = None,
    progress: Progress | None = None,
    **options: Unpack[TextEncodeOptions],
) -> Collection:
    """Encode texts into `output/vectors/part-*.jsonl`: queries to be searched with, or a collection of texts.

        from lexlip_infer import encode_texts_file

        queries = encode_texts_file("queries.tsv", "queries/")   # a line: id, tab, text
        queries.manifest.texts_cut                               # 3 were longer than the model takes

    Args:
        texts: `.jsonl` (`id` and `text`), `.tsv`, `.csv`, `.txt` (ids are line numbers), `.parquet`, a `.tar` or folder
            of captioned images, or several of these; see docs/inputs.md.
        output: as of `encode_folder`, like all other arguments; `top_k` counts terms of each text.
        model: see there.
        device: see there.
        precision: see there.
        top_k: see there.
        scale: see there.
        progress: see there.
        options: see `TextEncodeOptions`.

    Returns:
        As `encode_folder`. A text of more tokens than the model takes is cut; `manifest.texts_cut` counts them.

    Raises:
        BackendUnavailable, BundleError, InputError, MissingExtra, OutputError: as `encode_folder`.
    """
    chosen = {"device": device, "precision": precision, "top_k": top_k, "scale": scale, **options}
    return _into_folder("text", texts, Path(output), model, progress, chosen)


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a run has done; counts include what earlier runs into the same folder did.

    Attributes:
        vocabulary: that the lines are in.
        failed: inputs that gave no line.
        texts_cut: lines of texts that were longer than the model takes.
        lifted_share: of the impacts, those whose weight would round to 0 at the scale of the run.
        passed_over: what the reader saw and did not take for an input, in words; may be empty.
        manifest: of the output folder; a stream has none.
    """

    vocabulary: Vocabulary
    failed: int
    texts_cut: int
    lifted_share: float
    passed_over: str
    manifest: RunManifest | None = None


def encode(request: EncodeRequest, output: Path | BinaryIO, observer: Observer) -> Encoded:
    """Do what was asked for.

    Args:
        request: of what, and how.
        output: folder, new or of the same request; or a stream for JSON lines, of which nothing is kept.
        observer: told how it goes.

    Raises:
        LexLIPError: as `encode_folder`.
    """
    if request.engine == "ray" and not isinstance(output, Path):
        raise InputError("--engine ray writes into a folder, not to stdout; name one")
    reader, runtime = _reader(request), request.runtime
    where = request.device if request.query_mode in (None, "tower") else "cpu"
    devices = open_devices(request.model, where, runtime, request.modality, request.lanes)
    settings, options = run_settings(devices, request), pipeline_options(devices, request)
    vocabulary = devices.encoders[0].vocabulary
    if not isinstance(output, Path):
        done = encode_stream(devices.encoders, reader, output, settings, options, observer)
        return Encoded(vocabulary, done.failed, done.texts_cut, done.lifted / max(1, done.impacts), reader.passed_over)
    if request.engine == "ray":
        plan = WorkerPlan.of(devices, runtime, settings, options)
        manifest, passed_over = encode_on_ray(reader, output, plan, request.address, request.ray_actors, observer)
    else:
        manifest = encode_collection(devices.encoders, reader, output, settings, options, observer)
        passed_over = reader.passed_over
    return Encoded(vocabulary, manifest.failed, manifest.texts_cut, manifest.lifted_share, passed_over, manifest)


def _reader(request: EncodeRequest) -> Reader[Any]:
    columns, source = {"id_column": request.id_column}, list(request.source)
    if request.modality == "image":
        return open_images(source, **columns, image_column=request.image_column, options=request.decoding)
    return open_texts(source, **columns, text_column=request.text_column)


def _specs(paths: Paths) -> list[str]:
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if not given:
        raise InputError("an empty list was given; expected a folder, a file or a list of these")
    return [str(path) for path in given]


def _into_folder(
    modality: Modality,
    source: Paths,
    output: Path,
    model: str | Path | None,
    progress: Progress | None,
    chosen: Mapping[str, Any],
) -> Collection:
    name = None if model is None else str(model)
    request = EncodeRequest(modality=modality, source=_specs(source), model=name, **chosen)
    encoded = encode(request, output, Observer() if progress is None else _Telling(progress))
    return Collection.open_output(output, vocabulary=encoded.vocabulary)


class _Telling(Observer):
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._total: int | None = None

    def started(self, done: int, failed: int, total: int | None) -> None:  # noqa: ARG002  (as an `Observer`)
        self._total = total
        self._progress(done, total)

    def advanced(self, done: int, failed: int) -> None:  # noqa: ARG002
        self._progress(done, self._total)
