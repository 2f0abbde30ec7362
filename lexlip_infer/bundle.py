"""The model bundle: a folder that holds everything encoding needs, and nothing of training.

    lexlip.json                           the manifest, with a sha256 of every other file
    tokenizer.json
    term_tokens.json                      only where not every token is a term: the token of each
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
import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydantic

from lexlip_infer.errors import BundleError, InputError
from lexlip_infer.files import MOST_JSON, first_fault, read_hashed, read_regular, read_version, write_whole
from lexlip_infer.foreign import TELLING, guessed, told
from lexlip_infer.hub import snapshot
from lexlip_infer.manifest import (
    FileRecord,
    ImageSettings,
    KeptTerms,
    Manifest,
    Modality,
    Precision,
    Quantisation,
    TextSettings,
    backbone_file,
)
from lexlip_infer.vocabulary import Vocabulary, read_tokenizer

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST",
    "Bundle",
    "FileRecord",
    "ImageSettings",
    "KeptTerms",
    "Manifest",
    "Modality",
    "Precision",
    "Quantisation",
    "TextSettings",
    "backbone_file",
    "list_models",
    "shipped_bundle",
]

#: 3 added prompts and the side that long texts are cut on, 4 decoders in int8 and the static side of texts, 5 other
#: heads, terms that are some of the tokens, the precision on CPUs, and weights that two graphs share; a bundle is
#: written as the lowest that has what it needs.
FORMAT_VERSION = 5
MANIFEST = "lexlip.json"

_PRECISIONS: tuple[Precision, ...] = ("f32", "fp16", "int8")


_TOKENS = pydantic.TypeAdapter(list[int])

_MODELS = Path(__file__).parent / "models"


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
            reason = told(folder) or f"{MANIFEST} cannot be read ({error.strerror})"
            raise BundleError(f"{folder}: not a model bundle, {reason}") from None
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
        if len(vocabulary) != self.manifest.token_count:
            raise BundleError(
                f"{self.folder}: the tokenizer has {len(vocabulary)} terms, the manifest says "
                f"{self.manifest.token_count}; export the bundle again"
            )
        tokens = self.term_tokens()
        return vocabulary if tokens is None else Vocabulary(tuple(vocabulary.terms[i] for i in tokens))

    def term_tokens(self) -> npt.NDArray[np.int64] | None:
        """The token id of each term (V,), ascending; None where a term has the id of its token.

        Raises:
            BundleError: the file that says so is missing, damaged, or names other tokens than there are.
        """
        tokens = self.manifest.tokens
        if tokens is None:
            return None
        try:
            ids = _TOKENS.validate_json(self.read(tokens.of_terms), strict=True)
        except pydantic.ValidationError as error:
            raise BundleError(f"{self.folder / tokens.of_terms}: {first_fault(error)}") from None
        ascending = all(a < b for a, b in itertools.pairwise([-1, *ids, tokens.count]))
        if len(ids) != self.manifest.vocab_size or not ascending:
            raise BundleError(
                f"{self.folder / tokens.of_terms}: {len(ids)} ids; expected {self.manifest.vocab_size}, ascending, "
                f"each in [0, {tokens.count}): export the bundle again"
            )
        return np.array(ids, np.int64)

    def token_terms(self) -> npt.NDArray[np.int64]:
        """The term id of each token id (`token_count`,), -1 where a token is no term.

        Raises:
            BundleError: as of `term_tokens`.
        """
        tokens = self.term_tokens()
        if tokens is None:
            return np.arange(self.manifest.vocab_size)
        terms = np.full(self.manifest.token_count, -1, np.int64)
        terms[tokens] = np.arange(len(tokens))
        return terms

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
    try:
        folder = snapshot(name, (MANIFEST, "README.md", *TELLING), revision, token, cache_dir)
    except BundleError as error:
        hint = guessed(name)
        raise BundleError(f"{error}; {hint}" if hint else str(error)) from None
    if not (folder / MANIFEST).exists():
        reason = told(folder).replace(str(folder), name) or f"it has no {MANIFEST}; lexlip-export makes a bundle of one"
        raise BundleError(f"{name}: on the Hugging Face hub, but no LexLIP bundle: {reason}")
    # snapshots/<commit>
    return snapshot(name, (MANIFEST, *Bundle.open(folder).manifest.files), folder.name, token, cache_dir)
