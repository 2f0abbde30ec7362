"""The manifest of a bundle, `lexlip.json`: what a model is, how its inputs are made, and what its heads compute.

Everything is checked when it is read. A field that holds its default is not written where the field is younger than
format 2, so that the manifest of a model that needs nothing new stays as it was, byte for byte. Nothing here opens a
file: that is `bundle.py`.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from lexlip_infer.errors import InputError

#: Of an image's side, of a text's tokens, and of what 32 bits count; what is larger is damage or mischief.
MOST_PIXELS, MOST_TOKENS, MOST_TERMS = 4096, 65_536, 2**31 - 1
#: Bytes of a file, which is read whole; a graph has at most half of them.
MOST_BYTES = 2**32

Modality = Literal["image", "text"]
MODALITIES: tuple[Modality, ...] = ("image", "text")
Precision = Literal["f32", "fp16", "int8"]
#: Where a bundle says which of the tokenizer's tokens its terms are.
TERM_TOKENS = "term_tokens.json"
#: What becomes of a term's largest logit: log(1 + max(x, 0)), or x + 1 where x > 0 and exp(x) elsewhere.
Saturation = Literal["log1p_relu", "elu1p"]
#: Whether a head divides by the L2 norm of a vector over the whole vocabulary, before it keeps the heaviest terms.
Normalisation = Literal["none", "full_vocabulary"]


#: Fields of the sides that came with a format; see `FORMAT_VERSION`.
_OF_FORMAT_3 = {"prompts", "default_prompt", "truncation_side"}
_OF_FORMAT_5 = {"saturation", "normalise", "admit_padding", "keep_own_tokens", "query_mode", "cpu_precision"}


def backbone_file(modality: Modality, precision: Precision) -> str:
    """Path of a backbone inside a bundle; float32 bears no suffix."""
    return f"onnx/{modality}_backbone{'' if precision == 'f32' else f'_{precision}'}.onnx"


def format_of(fields: set[str]) -> int:
    """The lowest bundle format that has these fields of `ImageSettings` and `TextSettings`."""
    if fields & _OF_FORMAT_5:
        return 5
    if "static" in fields:
        return 4
    return 3 if fields & _OF_FORMAT_3 else 2


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Side(_Section):
    """What is said of images and of texts alike: what their head computes."""

    saturation: Saturation = "log1p_relu"
    normalise: Normalisation = "none"
    cpu_precision: Literal["f32", "int8"] = "f32"

    @pydantic.model_serializer(mode="wrap")
    def _without_defaults(self, serialize: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Manifests of models that need none of the younger fields stay as they were before there were any.
        return {name: value for name, value in serialize(self).items() if name in self.needed}

    @property
    def needed(self) -> set[str]:
        """Fields that a manifest has to hold: all but defaults."""
        fields = type(self).model_fields
        return {name for name in fields if getattr(self, name) != fields[name].default}


class ImageSettings(_Side):
    """How an image becomes `pixel_values`, the fields of `ImagePreprocessor`; and what its head computes.

    Attributes:
        saturation: of the largest logit of a term: log1p(relu(x)), or x + 1 where x > 0 and exp(x) elsewhere.
        normalise: whether the head divides by the L2 norm over all V terms, before it keeps the heaviest.
        cpu_precision: of the backbone on a CPU, where nobody asks for another.
    """

    size: int = Field(gt=0, le=MOST_PIXELS)
    resize: Literal["squash", "center_crop"]
    mean: tuple[float, float, float]
    std: tuple[pydantic.PositiveFloat, pydantic.PositiveFloat, pydantic.PositiveFloat]


class TextSettings(_Side):
    """How a text becomes `input_ids`, and what its head computes.

    Attributes:
        saturation, normalise, cpu_precision: as of images.
        max_length: tokens that are kept, special ones included.
        prompts: what is put before a text, by name: "query" by `encode_query`, "document" by `encode_document`.
        default_prompt: the one that `encode_texts` takes where none is asked for.
        truncation_side: where the tokens beyond `max_length` are left out.
        static: how a term counts in a text that no tower sees: "once", however often it stands there, or as the "sum"
            of all places; None where the bundle holds no weights for that.
        query_mode: whether queries go through the tower or are looked up, where nothing is asked for.
        admit_padding: pad every text to `max_length`, with the token 0; the backbone is told which tokens are padding,
            and the head's maximum runs over all of them.
        keep_own_tokens: keep the terms that stand in a text beside its heaviest ones, whatever they weigh.
    """

    max_length: int = Field(gt=2, le=MOST_TOKENS)
    prompts: dict[str, str] = {}
    default_prompt: str | None = None
    truncation_side: Literal["left", "right"] = "right"
    static: Literal["once", "sum"] | None = None
    query_mode: Literal["tower", "lookup"] = "tower"
    admit_padding: bool = False
    keep_own_tokens: bool = False

    @pydantic.model_validator(mode="after")
    def _default_is_there(self) -> TextSettings:
        if self.default_prompt is not None and self.default_prompt not in self.prompts:
            raise ValueError(f"default_prompt {self.default_prompt!r} is none of the prompts")
        if self.query_mode == "lookup" and self.static is None:
            raise ValueError("query_mode is 'lookup', and static says of no weights to look up")
        return self

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


class TokenIds(_Section):
    """Token ids where they are not term ids: a vocabulary of V terms that leaves some of the tokenizer's out.

    Attributes:
        count: token ids are 0 to `count - 1`, as many as the tokenizer has.
        of_terms: the file that lists the token id of each term, a JSON array of V integers, ascending; the position is
            the term id, with which everything but `input_ids` counts.
    """

    count: int = Field(gt=0, le=MOST_TERMS)
    of_terms: str = TERM_TOKENS


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
        hidden_size: H; 0 where there is no tower.
        image: preprocessing of images; None where the bundle has no image tower.
        text: preprocessing of texts; None where the bundle has no text tower.
        tokenizer: the tokenizer's file; None where texts can be encoded from token ids alone.
        tokens: which tokens the terms are; None where a term has the id of its token.
        similarity: "cosine" vectors are L2-normalised over their kept terms before they are compared or
            quantised.
        suppressed_ids: terms that never get a weight; the exported heads have it built in.
        placeholder_id: the term that stands in for an empty vector; None where no tokenizer names it.
        top_k: kept terms by default.
        quantisation: the quantiser's default.
        provenance: where the weights come from, for people.
        files: by path relative to the bundle, POSIX separators.
    """

    format_version: int
    name: str
    vocab_size: int = Field(gt=0, le=MOST_TERMS)
    hidden_size: int = Field(ge=0, le=MOST_TERMS)
    image: ImageSettings | None
    text: TextSettings | None
    tokenizer: str | None = "tokenizer.json"  # format 1 had no such field
    tokens: TokenIds | None = None
    similarity: Literal["cosine", "dot"]
    suppressed_ids: tuple[int, ...]
    placeholder_id: int | None
    top_k: KeptTerms
    quantisation: Quantisation
    provenance: dict[str, Any]
    files: dict[str, FileRecord]

    def __repr__(self) -> str:
        towers = [modality for modality in ("image", "text") if getattr(self, modality) is not None]
        return f"Manifest({self.name}: {' and '.join(towers)}, {self.vocab_size} terms, {self.similarity})"

    __str__ = __repr__  # pydantic's would fill a screen with the hashes of the files

    @property
    def notice(self) -> str:
        """On what terms the weights may be used, as far as anybody has said; empty where nobody has."""
        training = self.provenance.get("training")
        said = training.get("notice") if isinstance(training, dict) else None
        return " ".join(str(said).split()) if said else ""

    @property
    def cpu_precision(self) -> dict[Modality, Literal["f32", "int8"]]:
        """Of each tower that there is, on a CPU where nobody asks for another."""
        sides: dict[Modality, ImageSettings | TextSettings | None] = {"image": self.image, "text": self.text}
        return {modality: side.cpu_precision for modality, side in sides.items() if side is not None}

    @property
    def token_count(self) -> int:
        """Token ids that a text may hold are below this."""
        return self.vocab_size if self.tokens is None else self.tokens.count

    @pydantic.model_serializer(mode="wrap")
    def _without_tokens(self, serialize: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        # As manifests were before there was the field.
        fields: dict[str, Any] = serialize(self)
        return fields if self.tokens is not None else {key: fields[key] for key in fields if key != "tokens"}

    @pydantic.field_validator("suppressed_ids", "placeholder_id")
    @classmethod
    def _are_terms(
        cls, ids: int | tuple[int, ...] | None, info: pydantic.ValidationInfo
    ) -> int | tuple[int, ...] | None:
        vocab_size = info.data.get("vocab_size", 0)
        if not all(0 <= i < vocab_size for i in ([ids] if isinstance(ids, int) else ids or ())):
            raise ValueError(f"expected term ids in [0, {vocab_size})")
        return ids

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
        if self.similarity == "cosine" and any(
            side is not None and side.normalise == "full_vocabulary" for side in (self.image, self.text)
        ):
            raise ValueError('normalise is "full_vocabulary", similarity "cosine"; expected "dot": once is enough')
        for modality, precision in self.cpu_precision.items():
            if precision == "int8" and backbone_file(modality, precision) not in self.files:
                raise ValueError(
                    f'cpu_precision of {modality} is "int8", and {backbone_file(modality, precision)} is none of the '
                    "files; export it again"
                )
        if self.tokens is not None and not self.vocab_size <= self.tokens.count:
            raise ValueError(f"{self.vocab_size} terms of {self.tokens.count} tokens; expected at most as many")
        if self.tokens is not None and self.tokens.of_terms not in self.files:
            raise ValueError(f"{self.tokens.of_terms}, the tokens of terms, is none of the files; export it again")
        return self
