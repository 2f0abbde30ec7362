"""`manifest.json` of an output folder: which model, which settings, which input, and what is finished.

It is the journal of the run, rewritten as a whole after every shard. What it does not list has not happened.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lexlip_infer.impacts import QuantisationSettings

__all__ = ["RUN_FORMAT_VERSION", "RunFormat", "RunManifest", "RunSettings", "ShardRecord"]

RUN_FORMAT_VERSION = 1


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunFormat(BaseModel):
    """The only field that the manifest of every format version has."""

    format_version: int = Field(ge=1)


class RunSettings(_Section):
    """Everything that decides the bytes of the output.

    Two runs into one folder must agree on all of it but `source` and `model`, whose fingerprints tell whether what
    has moved is the same.

    Attributes:
        modality: what is encoded.
        source: the folder or file that was given, absolute; it may have moved since.
        source_fingerprint: sha256 of the images' ids and sizes, or of the texts and their ids.
        source_count: number of images or texts.
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
    """

    modality: Literal["image", "text"]
    source: str
    source_fingerprint: str
    source_count: int = Field(ge=0)
    model: str | None
    model_name: str
    model_fingerprint: str
    top_k: int = Field(gt=0)
    scale: float = Field(gt=0)
    cap: int = Field(gt=0)
    normalise: bool
    items_per_shard: int = Field(gt=0)
    # The defaults are what ran before there was a choice; outputs from then can be read and searched.
    device: Literal["cpu", "cuda"] = "cpu"
    backend: Literal["onnxruntime", "openvino"] = "onnxruntime"
    precision: Literal["f32", "fp16", "bf16", "int8"] = "f32"
    head: Literal["native", "onnx", "triton"] = "onnx"

    @property
    def quantisation(self) -> QuantisationSettings:
        """How documents were quantised, and queries have to be."""
        return QuantisationSettings(self.scale, self.cap, self.normalise)


class ShardRecord(_Section):
    """One finished part file.

    Attributes:
        name: in `vectors/`.
        documents: lines.
        failed: inputs that gave no line; they are in `failures.jsonl`.
        empty: documents whose vector was empty and got the placeholder term.
        impacts: stored impacts.
        size: bytes.
        sha256: of the file.
    """

    name: str
    documents: int
    failed: int
    empty: int
    impacts: int
    size: int
    sha256: str


class RunManifest(_Section):
    """`manifest.json`.

    Attributes:
        format_version: of the output layout.
        version: of this package.
        settings: see `RunSettings`.
        shards: finished part files, in order.
        complete: whether the last one is among them.
    """

    format_version: int = RUN_FORMAT_VERSION
    version: str
    settings: RunSettings
    shards: tuple[ShardRecord, ...] = ()
    complete: bool = False

    @property
    def documents(self) -> int:
        """Lines in all part files."""
        return sum(shard.documents for shard in self.shards)

    @property
    def failed(self) -> int:
        """Inputs that gave no line."""
        return sum(shard.failed for shard in self.shards)
