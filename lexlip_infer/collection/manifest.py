"""`manifest.json` of an output folder: which model, which settings, which input, and what is finished.

It is the journal of the run, rewritten as a whole after every part. What it does not list has not happened. Whether two
things were encoded alike, with the same model and settings, is compared here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

import pydantic
from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from lexlip_infer.bundle import Bundle
from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.files import Folder, first_fault, read_regular, read_version
from lexlip_infer.impacts.quantise import QuantisationSettings
from lexlip_infer.inputs.image_options import MAX_MEGAPIXELS

#: What lies in an output folder.
MANIFEST, FAILURES, TRUNCATED, VECTORS = "manifest.json", "failures.jsonl", "truncated.jsonl", "vectors"

RUN_FORMAT_VERSION = 2


#: Part files of one output. The manifest is written after each, as a whole.
MOST_PARTS = 50_000
#: Bytes of a manifest; a record of a part takes about 600.
_LARGEST = 2**26

#: Of a run's settings: where and how its tower ran.
_OF_TOWERS = {"device", "backend", "precision", "head"}

#: A number of things that were written; what is no such number is no count.
Count: TypeAlias = Annotated[int, Field(ge=0, le=2**53)]
#: A choice, in the range of the arrays that are made of it.
Choice: TypeAlias = Annotated[int, Field(gt=0, lt=2**31)]


class _Section(BaseModel):
    # Built on first use: a search needs few of these.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, allow_inf_nan=False)


class EncodedWith(_Section):
    """How documents became impacts, and queries have to; the names are those of `RunSettings`."""

    model: str | None
    model_name: str
    model_fingerprint: str
    scale: float = Field(gt=0)
    cap: Choice
    normalise: bool

    @property
    def quantisation(self) -> QuantisationSettings:
        """Of queries."""
        return QuantisationSettings(self.scale, self.cap, self.normalise)

    def open_bundle(self, place: Path, model: str | None = None) -> Bundle:
        """The model that encoded the documents of `place`, its words and settings; nothing of it is loaded.

        Args:
            place: as messages name it.
            model: where it is now, if it has moved.

        Raises:
            BundleError: it is not there.
            InputError: it is another one.
        """
        bundle = Bundle.open(self.model if model is None else model)
        self.check_model(str(place), bundle.manifest.name, bundle.fingerprint)
        return bundle

    def check_model(self, place: str, name: str, fingerprint: str) -> None:
        """Refuse another model than the one that encoded the documents of `place`.

        Raises:
            InputError: it is another one.
        """
        if fingerprint != self.model_fingerprint:
            raise InputError(
                f"{place} was encoded with {self.model_name} ({self.model_fingerprint[:12]}), this is "
                f"{name} ({fingerprint[:12]}); pass the same bundle with --model, or encode again"
            )


class RunSettings(_Section):
    """Everything that decides the bytes of the output.

    Two runs into one folder must agree on all of it but `source` and `model`, which may have moved: whether they are
    the same is told by the digests of finished parts, and by the model's fingerprint.

    Attributes:
        modality: what is encoded.
        source: what was given, paths absolute.
        model: path or hub id that was given, or nothing for the shipped model.
        model_name: from the bundle.
        model_fingerprint: sha256 of the bundle's manifest.
        top_k: kept terms.
        scale: of the quantiser.
        cap: of the quantiser.
        normalise: L2 over the kept terms before scaling.
        items_per_shard: inputs that make one part file.
        device: "cpu" or "cuda"; like the next three, what ran, never "auto": each path rounds in its own way.
        backend: what ran the backbone.
        precision: of the backbone.
        head: what ran the lexicon head.
        compress: of part files.
        shard_id: which of the runs that share the collection this is, from 0.
        shard_num: how many runs share it.
        background: of transparent images; like the next three, see `ImageOptions`.
        frames: of animations.
        truncated: what becomes of images that break off.
        max_megapixels: of an image.
        prompt: what stands before each text, a prompt of the model; not in the file where nothing does.
        query_mode: whether a text went through the model's tower, or its terms were looked up. Only "lookup" is in the
            file, and then nothing of what runs a tower.
    """

    modality: Literal["image", "text"]
    source: str
    model: str | None
    model_name: str
    model_fingerprint: str
    top_k: Choice
    scale: float = Field(gt=0)
    cap: Choice
    normalise: bool
    items_per_shard: Choice
    # The defaults are what ran before there was a choice; outputs from then can be read and searched.
    device: Literal["cpu", "cuda"] = "cpu"
    backend: Literal["onnxruntime", "openvino"] = "onnxruntime"
    precision: Literal["f32", "fp16", "bf16", "int8"] = "f32"
    head: Literal["native", "onnx", "triton"] = "onnx"
    compress: Literal["none", "gz"] = "none"
    shard_id: int = Field(ge=0, lt=2**31, default=0)
    shard_num: Choice = 1
    background: str = "white"
    frames: Literal["first", "all"] = "first"
    truncated: Literal["fail", "accept"] = "fail"
    max_megapixels: float = Field(gt=0, default=MAX_MEGAPIXELS)
    prompt: str = ""
    query_mode: Literal["tower", "lookup"] = "tower"

    @model_serializer(mode="wrap")
    def _without_nothing(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        absent = {"query_mode"} if self.query_mode == "tower" else _OF_TOWERS
        absent = absent if self.prompt else absent | {"prompt"}
        return {name: value for name, value in serialise(self).items() if name not in absent}

    @property
    def encoded_with(self) -> EncodedWith:
        """How documents became impacts, and queries have to."""
        return EncodedWith(**self.model_dump(include=set(EncodedWith.model_fields)))


def differences(before: Mapping[str, Any], now: Mapping[str, Any], here: str = "now") -> str:
    """In what two settings differ, as "scale was 100.0, now 50.0; ..."; nothing if they are the same."""
    return "; ".join(
        f"{name} was {before.get(name)}, {here} {now.get(name)}"
        for name in {**now, **before}
        if before.get(name) != now.get(name)
    )


class PartRecord(_Section):
    """One finished part file.

    Attributes:
        name: in `vectors/`.
        documents: lines.
        failed: inputs that gave no line; they are in `failures.jsonl`.
        empty: documents whose vector was empty and got the placeholder term.
        impacts: stored impacts.
        size: bytes.
        sha256: of the file.
        inputs: items that it was made of.
        inputs_digest: sha256 over id and size of each image, or id and text of each text, in order.
        failures_size: bytes in `failures.jsonl`.
        truncated: documents of images that break off and were accepted; they are in `truncated.jsonl`.
        truncated_size: bytes there.
        texts_cut: documents of texts that were longer than the model takes; not in the file where there are none.
        lifted: impacts of 1 whose weight would round to 0 at this scale; not in the file where there are none.
    """

    name: str
    documents: Count
    failed: Count
    empty: Count
    impacts: Count
    size: Count
    sha256: str
    inputs: Count
    inputs_digest: str
    failures_size: Count
    truncated: Count = 0
    truncated_size: Count = 0
    texts_cut: Count = 0
    lifted: Count = 0

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        if self.documents + self.failed != self.inputs:
            raise ValueError(f"{self.documents:,} documents and {self.failed:,} failed of {self.inputs:,} inputs")
        if max(self.empty, self.truncated, self.texts_cut) > self.documents:
            raise ValueError(f"more of {self.documents:,} documents are special than there are")
        if self.lifted > self.impacts:
            raise ValueError(f"{self.lifted:,} impacts were lifted of {self.impacts:,}")
        return self

    @model_serializer(mode="wrap")
    def _without_zero(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialise(self)
        return {name: value for name, value in fields.items() if value or name not in ("texts_cut", "lifted")}


class StageTimings(_Section):
    """One stage of the pipeline.

    Attributes:
        core_seconds: processor time.
        share: of all stages' core-seconds.
        waiting_seconds: by the clock, for the stage before it.
    """

    core_seconds: float
    share: float
    waiting_seconds: float


class RunTimings(_Section):
    """Where the time went, up to the last finished part, in all runs into this folder together.

    Attributes:
        wall_seconds: by the clock, from when the model was loaded.
        stages: read, decode, infer, quantise, write and other, in the order of the data.
    """

    wall_seconds: float
    stages: dict[str, StageTimings]


class RunManifest(_Section):
    """`manifest.json`.

    Attributes:
        format_version: of the output layout.
        version: of this package.
        settings: see `RunSettings`.
        shards: finished part files, in order.
        complete: whether the last one is among them.
        timings: the only part that differs between two runs of the same command.
    """

    format_version: int = RUN_FORMAT_VERSION
    version: str
    settings: RunSettings
    shards: Annotated[tuple[PartRecord, ...], FailFast(), Field(max_length=MOST_PARTS)] = ()
    complete: bool = False
    timings: RunTimings | None = None

    @model_validator(mode="after")
    def _named_in_order(self) -> Self:
        for place, part in enumerate(self.shards):
            if part.name != (expected := self._part_name(place)):
                raise ValueError(f"part {place} is called {part.name!r}; expected {expected}")
        return self

    def __repr__(self) -> str:
        state = "complete" if self.complete else "incomplete"
        return f"RunManifest({self.settings.model_name}: {self.documents} documents, {self.failed} failed, {state})"

    __str__ = __repr__  # pydantic's would fill a screen with the records of all parts

    @property
    def documents(self) -> int:
        """Lines in all part files."""
        return sum(shard.documents for shard in self.shards)

    @property
    def failed(self) -> int:
        """Inputs that gave no line."""
        return sum(shard.failed for shard in self.shards)

    @property
    def truncated(self) -> int:
        """Lines of images that break off."""
        return sum(shard.truncated for shard in self.shards)

    @property
    def texts_cut(self) -> int:
        """Lines of texts that were longer than the model takes."""
        return sum(shard.texts_cut for shard in self.shards)

    @property
    def lifted_share(self) -> float:
        """Of the stored impacts, those whose weight would round to 0 at the scale of the run."""
        return sum(shard.lifted for shard in self.shards) / max(1, sum(shard.impacts for shard in self.shards))

    @property
    def next_part_name(self) -> str:
        """Of the next part file to be written; its number is the part's in the whole collection."""
        return self._part_name(len(self.shards))

    def _part_name(self, place: int) -> str:
        settings = self.settings
        number = place * settings.shard_num + settings.shard_id
        return f"part-{number:05d}.jsonl" + (".gz" if settings.compress == "gz" else "")


def is_output(folder: Path) -> bool:
    """Whether lexlip-encode wrote it, as far as one can tell without opening it."""
    return (folder / MANIFEST).exists() or (folder / MANIFEST).is_symlink()  # which is refused as a link


def read_manifest(folder: Path) -> RunManifest:
    """The manifest of an output folder.

    Raises:
        OutputError: the folder is not the output of an encoding run, or of a newer version.
    """
    try:
        with Folder.open(folder) as held:
            return manifest_in(held)
    except OutputError:
        raise
    except OSError as error:
        raise _no_output(folder, error.strerror) from None


def manifest_in(folder: Folder) -> RunManifest:
    """As `read_manifest`, of a folder that is held."""
    path = folder.path / MANIFEST
    try:
        data = read_regular(MANIFEST, _LARGEST, refuse=lambda reason: OutputError(f"{path}: {reason}"), folder=folder)
    except OutputError:
        raise
    except OSError as error:
        raise _no_output(folder.path, error.strerror) from None
    try:
        version = read_version(data)
        if version > RUN_FORMAT_VERSION:
            raise OutputError(
                f"{folder.path}: output format {version}; this version reads up to {RUN_FORMAT_VERSION}: "
                "pip install --upgrade lexlip-infer"
            )
        if version < RUN_FORMAT_VERSION:
            raise OutputError(
                f"{folder.path}: output format {version}, of an older version; this version reads "
                f"{RUN_FORMAT_VERSION}: encode into a new folder"
            )
        return RunManifest.model_validate_json(data)
    except pydantic.ValidationError as error:
        raise OutputError(
            f"{path}: {first_fault(error, 'contents')}; not as lexlip-encode wrote it: encode into a new folder"
        ) from None


def _no_output(folder: Path, reason: str | None) -> OutputError:
    return OutputError(f"{folder}: not the output of lexlip-encode, {MANIFEST} cannot be read ({reason})")
