"""The model bundle: a folder that holds everything encoding needs, and nothing of training.

    lexlip.json                           the manifest, with a sha256 of every other file
    tokenizer.json
    onnx/{image,text}_backbone.onnx       pixel_values | input_ids, attention_mask -> hidden (B, L, H)
    onnx/{image,text}_head.onnx           hidden (, attention_mask), k -> ids (B, K), weights (B, K)
    heads.safetensors                     decoders and biases, for the native and Triton heads; weights for queries
    README.md                             the model card

A backbone may come in further precisions, `onnx/image_backbone_fp16.onnx` for example. A bundle may hold one tower
only, and one without a tokenizer takes token ids but no strings.

A file is read whole and its hash compared before anything is made of it: a damaged bundle is an error, not
a bad index. Files are read through links, as the hub's cache has them; nothing is written through one. Nothing here
needs ONNX Runtime: whoever wants a model's words or settings loads no model.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from lexlip_infer.errors import BundleError, InputError
from lexlip_infer.files import MOST_JSON, first_fault, read_hashed, read_regular, read_version, write_whole
from lexlip_infer.hub import snapshot
from lexlip_infer.vocabulary import Vocabulary, read_tokenizer

#: 3 added prompts and the side that long texts are cut on, 4 decoders in int8 and the static side of texts, 5 the
#: precision on CPUs and weights that two graphs share; a bundle is written as the lowest that has what it needs.
FORMAT_VERSION = 5
MANIFEST = "lexlip.json"

#: Of an image's side, of a text's tokens, and of what 32 bits count; what is larger is damage or mischief.
MOST_PIXELS, MOST_TOKENS, MOST_TERMS = 4096, 65_536, 2**31 - 1
#: Bytes of a file, which is read whole; a graph has at most half of them.
MOST_BYTES = 2**32

Modality = Literal["image", "text"]
Precision = Literal["f32", "fp16", "int8"]
_PRECISIONS: tuple[Precision, ...] = ("f32", "fp16", "int8")


_MODELS = Path(__file__).parent / "models"


def backbone_file(modality: Modality, precision: Precision) -> str:
    """Path of a backbone inside a bundle; float32 bears no suffix."""
    return f"onnx/{modality}_backbone{'' if precision == 'f32' else f'_{precision}'}.onnx"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ImageSettings(_Section):
    """How an image becomes `pixel_values`; the fields of `ImagePreprocessor`."""

    size: int = Field(gt=0, le=MOST_PIXELS)
    resize: Literal["squash", "center_crop"]
    mean: tuple[float, float, float]
    std: tuple[pydantic.PositiveFloat, pydantic.PositiveFloat, pydantic.PositiveFloat]


class TextSettings(_Section):
    """How a text becomes `input_ids`.

    Attributes:
        max_length: tokens that are kept, special ones included.
        prompts: what is put before a text, by name: "query" by `encode_query`, "document" by `encode_document`.
        default_prompt: the one that `encode_texts` takes where none is asked for.
        truncation_side: where the tokens beyond `max_length` are left out.
        static: how a term counts in a text that no tower sees: "once", however often it stands there, or as the "sum"
            of all places; None where the bundle holds no weights for that.
    """

    max_length: int = Field(gt=2, le=MOST_TOKENS)
    prompts: dict[str, str] = {}
    default_prompt: str | None = None
    truncation_side: Literal["left", "right"] = "right"
    static: Literal["once", "sum"] | None = None

    @pydantic.model_validator(mode="after")
    def _default_is_there(self) -> TextSettings:
        if self.default_prompt is not None and self.default_prompt not in self.prompts:
            raise ValueError(f"default_prompt {self.default_prompt!r} is none of the prompts")
        return self

    @pydantic.model_serializer(mode="wrap")
    def _without_defaults(self, serialize: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Manifests of models without prompts or a static side stay as they were before there were any.
        return {name: value for name, value in serialize(self).items() if name in self.needed}

    @property
    def needed(self) -> set[str]:
        """Fields that a manifest has to hold: all but defaults."""
        fields = type(self).model_fields
        return {name for name in fields if getattr(self, name) != fields[name].default}

    def prompt(self, name: str | None = None) -> str:
        """What is put before a text; nothing for "query" and "document" where the model has no such prompt.

        Raises:
            InputError: there is no prompt of that name.
        """
        name = self.default_prompt if name is None else name
        if name is None or (name not in self.prompts and name in ("query", "document")):
            return ""
        if name not in self.prompts:
            known = ", ".join(map(repr, {"query": "", "document": "", **self.prompts}))
            raise InputError(f"the model has no prompt {name!r}; expected one of {known}")
        return self.prompts[name]


class KeptTerms(_Section):
    """Default top-k of each modality."""

    image: int = Field(gt=0, le=MOST_TERMS)
    text: int = Field(gt=0, le=MOST_TERMS)


class Quantisation(_Section):
    """Default of the quantiser: impact = clip(round(scale * weight), 1, cap)."""

    scale: float = Field(gt=0)
    cap: int = Field(ge=1, le=65535)


class FileRecord(_Section):
    """What a file of the bundle must be."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int = Field(ge=0, le=MOST_BYTES)


class Manifest(_Section):
    """`lexlip.json`.

    Attributes:
        format_version: of the bundle layout; a newer one is refused.
        name: the model's name.
        vocab_size: V.
        hidden_size: H.
        image: preprocessing of images; None where the bundle has no image tower.
        text: preprocessing of texts; None where the bundle has no text tower.
        tokenizer: the tokenizer's file; None where texts can be encoded from token ids alone.
        similarity: "cosine" vectors are L2-normalised over their kept terms before they are compared or
            quantised.
        suppressed_ids: terms that never get a weight; the exported heads have it built in.
        placeholder_id: the term that stands in for an empty vector; None where no tokenizer names it.
        top_k: kept terms by default.
        quantisation: the quantiser's default.
        cpu_precision: of a tower's backbone on a CPU, where nobody asks for another; float32 for those not named.
        provenance: where the weights come from, for people.
        files: by path relative to the bundle, POSIX separators.
    """

    format_version: int
    name: str
    vocab_size: int = Field(gt=0, le=MOST_TERMS)
    hidden_size: int = Field(gt=0, le=MOST_TERMS)
    image: ImageSettings | None
    text: TextSettings | None
    tokenizer: str | None = "tokenizer.json"  # format 1 had no such field
    similarity: Literal["cosine", "dot"]
    suppressed_ids: tuple[int, ...]
    placeholder_id: int | None
    top_k: KeptTerms
    quantisation: Quantisation
    cpu_precision: dict[Modality, Precision] = {}
    provenance: dict[str, Any]
    files: dict[str, FileRecord]

    def __repr__(self) -> str:
        towers = [modality for modality in ("image", "text") if getattr(self, modality) is not None]
        return f"Manifest({self.name}: {' and '.join(towers)}, {self.vocab_size} terms, {self.similarity})"

    __str__ = __repr__  # pydantic's would fill a screen with the hashes of the files

    @pydantic.field_validator("suppressed_ids", "placeholder_id")
    @classmethod
    def _are_terms(
        cls, ids: int | tuple[int, ...] | None, info: pydantic.ValidationInfo
    ) -> int | tuple[int, ...] | None:
        vocab_size = info.data.get("vocab_size", 0)
        if not all(0 <= i < vocab_size for i in ([ids] if isinstance(ids, int) else ids or ())):
            raise ValueError(f"expected term ids in [0, {vocab_size})")
        return ids

    @pydantic.model_serializer(mode="wrap")
    def _without_defaults(self, serialize: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Older engines refuse fields that they do not know.
        return {name: value for name, value in serialize(self).items() if name != "cpu_precision" or value}

    @pydantic.field_validator("files")
    @classmethod
    def _stay_inside(cls, files: dict[str, FileRecord]) -> dict[str, FileRecord]:
        # A bundle comes from strangers: no name of theirs may reach a file outside its folder.
        for name in files:
            parts = PurePosixPath(name).parts
            if not parts or ".." in parts or name.startswith("/") or "\\" in name or "\0" in name:
                raise ValueError(f"{name!r} is not a path inside the bundle; do not use a bundle you do not trust")
        return files

    @pydantic.model_validator(mode="after")
    def _is_whole(self) -> Manifest:
        if self.image is None and self.text is None:
            raise ValueError("neither an image nor a text tower; expected at least one of them")
        if self.tokenizer is not None and self.placeholder_id is None:
            raise ValueError("a tokenizer but no placeholder_id; expected the term that stands in for an empty vector")
        for modality, precision in self.cpu_precision.items():
            if backbone_file(modality, precision) not in self.files:
                raise ValueError(f"{modality}s in {precision} on CPUs, and no {backbone_file(modality, precision)}")
        return self


@dataclass(frozen=True, slots=True, repr=False)
class Bundle:
    """An opened bundle: its manifest is read, its files not yet.

        bundle = Bundle.open("owner/name", revision="v1.0")
        bundle.manifest.top_k.image                   # 128
        bundle.vocabulary().ids["dog"]                # 3899

    Attributes:
        folder: where it lies.
        manifest: its contents.
        fingerprint: sha256 of `lexlip.json`, which names every other file by hash: identifies the model.
    """

    folder: Path
    manifest: Manifest
    fingerprint: str

    @classmethod
    def open(
        cls,
        path_or_hub_id: str | Path | None = None,
        *,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | Path | None = None,
    ) -> Bundle:
        """Find a bundle, read and check its manifest.

        Args:
            path_or_hub_id: a bundle folder, a name of `list_models`, the id of a bundle on the Hugging Face hub
                (`owner/name`), or nothing for the model that ships with the package. What exists is a path.
            revision: branch, tag or commit on the hub.
            token: for the hub, where the model is private or gated; what `hf auth login` has stored when absent.
            cache_dir: where downloads are kept; the hub's own cache (`HF_HOME`) when absent.

        Raises:
            BundleError: there is no bundle, the hub cannot be reached or does not have it, its manifest is malformed,
                or its format is newer than this version of the package reads.
            InputError: a revision of a folder was asked for.
        """
        folder = _find(path_or_hub_id, revision, token, cache_dir)
        try:
            data = read_regular(
                folder / MANIFEST, MOST_JSON, refuse=lambda reason: BundleError(f"{folder / MANIFEST}: {reason}")
            )
        except OSError as error:
            raise BundleError(f"{folder}: not a model bundle, {MANIFEST} cannot be read ({error.strerror})") from None
        _check_version(folder, data)
        try:
            manifest = Manifest.model_validate_json(data)
        except pydantic.ValidationError as error:
            raise BundleError(f"{folder / MANIFEST}: {first_fault(error)}") from None
        return cls(folder, manifest, hashlib.sha256(data).hexdigest())

    def __repr__(self) -> str:
        return f"Bundle({self.manifest.name} in {self.folder}, fingerprint {self.fingerprint[:12]})"

    def vocabulary(self) -> Vocabulary:
        """The words of term ids, read from the tokenizer anew each time.

        Raises:
            BundleError: the bundle has no tokenizer, or one of another size.
        """
        vocabulary = Vocabulary.from_tokenizer(read_tokenizer(self.tokenizer_json()))
        if len(vocabulary) != self.manifest.vocab_size:
            raise BundleError(
                f"{self.folder}: the tokenizer has {len(vocabulary)} terms, the manifest says "
                f"{self.manifest.vocab_size}; export the bundle again"
            )
        return vocabulary

    def tokenizer_json(self) -> bytes:
        """Contents of the tokenizer's file.

        Raises:
            BundleError: the bundle has no tokenizer.
        """
        if self.manifest.tokenizer is None:
            raise BundleError(
                f"{self.folder}: the bundle has no tokenizer, so it knows no words; "
                "export it again with --tokenizer, or use encode_token_ids"
            )
        return self.read(self.manifest.tokenizer)

    def has_tower(self, modality: Modality) -> bool:
        """Whether the bundle can encode images, or texts."""
        return getattr(self.manifest, modality) is not None

    def precisions(self, modality: Modality) -> tuple[Precision, ...]:
        """Precisions that the bundle holds this tower's backbone in."""
        return tuple(name for name in _PRECISIONS if backbone_file(modality, name) in self.manifest.files)

    def read(self, name: str) -> bytes:
        """The contents of one file, after comparing its hash.

        Args:
            name: path relative to the bundle, as the manifest lists it.

        Raises:
            BundleError: the manifest does not list the file, or it is missing or not what the manifest says.
        """
        path = self.folder / name

        def damaged(size: int, sha256: str) -> BundleError:
            given = f"sha256 {sha256[:12]}… of {size} bytes" if sha256 else f"{size} bytes"
            return BundleError(
                f"{path}: damaged or changed: {given}, the manifest says {expected.sha256[:12]}… of {expected.size} "
                "bytes; copy the bundle again"
            )

        if name not in self.manifest.files:
            raise BundleError(f"{self.folder}: the bundle has no {name}; it holds {', '.join(self.manifest.files)}")
        expected = self.manifest.files[name]
        try:
            return read_hashed(path, expected.size, expected.sha256, damaged)
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror}); copy the bundle again") from None

    def set_defaults(self, top_k: KeptTerms, quantisation: Quantisation) -> None:
        """Write other defaults into the manifest of this folder: the fingerprint changes, the files do not.

        Raises:
            OutputError: the manifest cannot be written; the old one is still whole.
        """
        manifest = self.manifest.model_copy(update={"top_k": top_k, "quantisation": quantisation})
        write_whole(self.folder / MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")


def _check_version(folder: Path, data: bytes) -> None:
    try:
        version = read_version(data)
    except pydantic.ValidationError:
        raise BundleError(f"{folder / MANIFEST}: not a bundle manifest (no valid format_version)") from None
    if version > FORMAT_VERSION:
        raise BundleError(
            f"{folder}: bundle format {version}; this version reads up to {FORMAT_VERSION}: "
            "pip install --upgrade lexlip-infer"
        )


def shipped_bundle() -> Path:
    """Folder of the model that is taken when none is named."""
    return _MODELS / "lexlip-tiny"


def list_models() -> list[str]:
    """Names of the models that ship with the package, each of which `from_pretrained` and `Bundle.open` take.

    >>> list_models()
    ['lexlip-tiny']
    """
    return sorted(manifest.parent.name for manifest in _MODELS.glob(f"*/{MANIFEST}"))


def _find(
    path_or_hub_id: str | Path | None, revision: str | None, token: str | None, cache_dir: str | Path | None
) -> Path:
    """The folder of a bundle, after a download where it takes one."""
    if path_or_hub_id is None:
        folder = shipped_bundle()
    else:
        path, name = Path(path_or_hub_id), str(path_or_hub_id)
        if "\0" in name:
            raise BundleError(f"{name!r}: no path of a folder, and no id of a model")
        there = os.path.exists(path)  # noqa: PTH110  (`Path.exists` raises for what is too long to be a path)
        if not there and re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
            return _download(name, revision, token, cache_dir)
        folder = _MODELS / name if not there and name in list_models() else path
    if revision is not None:
        raise InputError(f"revision {revision!r} was asked for, but {folder} is a folder; only the hub has revisions")
    return folder


def _download(name: str, revision: str | None, token: str | None, cache_dir: str | Path | None) -> Path:
    """Snapshot of a bundle on the hub: the files that its manifest names and no others, most of them in the cache."""
    folder = snapshot(name, (MANIFEST, "README.md"), revision, token, cache_dir)
    if not (folder / MANIFEST).exists():
        raise BundleError(
            f"{name}: on the Hugging Face hub, but no LexLIP bundle: it has no {MANIFEST}; lexlip-export makes a "
            "bundle of a checkpoint"
        )
    # snapshots/<commit>
    return snapshot(name, (MANIFEST, *Bundle.open(folder).manifest.files), folder.name, token, cache_dir)
