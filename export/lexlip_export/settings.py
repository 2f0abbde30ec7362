"""What an export decides beyond the weights, and how far a precision may stray from float32 to be let in."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from lexlip_infer.bundle import Precision
from lexlip_infer.errors import InputError

#: Lucene allows a query this many terms.
MOST_QUERY_TERMS = 1024


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FurtherGraph(StrEnum):
    """A graph that a bundle holds only if it is asked for."""

    MERGED = "merged"
    LOGITS_FP16 = "logits-fp16"
    ANSERINI = "anserini"


class ExportSettings(_Settings):
    """Defaults that the bundle carries, and how its weights are stored.

    Attributes:
        image_top_k: terms kept of an image.
        text_top_k: terms kept of a text; Lucene allows a query at most `MOST_QUERY_TERMS`.
        similarity: what the model was trained for.
        scale: of the quantiser.
        cap: of the quantiser; 255 keeps an impact in one byte.
        graphs: further graphs that the bundle shall hold; the logits graphs bring the precision fp16 with them.
        storage: "f16" halves the files by rounding the weights, "i8" quarters them, with a scale a row; the float32
            graphs compute in float32 either way.
        precisions: of the backbones; float32 always comes first, the others have to pass the parity gate.
        cpu_precision: of images on a CPU, where nobody asks for another; one of `precisions`.
    """

    image_top_k: int = Field(default=256, gt=0)
    text_top_k: int = Field(default=64, gt=0, le=MOST_QUERY_TERMS)
    similarity: Literal["cosine", "dot"] = "cosine"
    scale: float = Field(default=100.0, gt=0)
    cap: int = Field(default=255, ge=1, le=65535)
    graphs: tuple[FurtherGraph, ...] = ()
    storage: Literal["f32", "f16", "i8"] = "f32"
    cpu_precision: Literal["f32", "int8"] = "f32"
    precisions: tuple[Precision, ...] = Field(default=("f32",), validate_default=True)

    @property
    def shares_weights(self) -> bool:
        """Whether int8 graphs take the integers that float32 is stored as."""
        return self.storage == "i8" and "int8" in self.precisions

    @field_validator("precisions")
    @classmethod
    def _float32_first(cls, names: tuple[Precision, ...], info: ValidationInfo) -> tuple[Precision, ...]:
        order: tuple[Precision, ...] = ("f32", "fp16", "int8")
        needed = {"f32", info.data.get("cpu_precision", "f32")}
        if FurtherGraph.LOGITS_FP16 in info.data.get("graphs", ()):
            needed.add("fp16")
        return tuple(name for name in order if name in needed.union(names))


def named_precisions(names: list[str]) -> tuple[Precision, ...]:
    """Precisions as commands take them, `all` among them.

    Raises:
        InputError: there is no precision of that name.
    """
    known: dict[str, tuple[Precision, ...]] = {"f32": ("f32",), "fp16": ("fp16",), "int8": ("int8",)}
    known["all"] = ("f32", "fp16", "int8")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"--precision {unknown[0]!r} is not known; expected {', '.join(known)}")
    return tuple(precision for name in names for precision in known[name])


class Thresholds(_Settings):
    """Limits of one precision; a figure that is not a number is over every limit.

    Attributes:
        hidden_mean: mean absolute error of hidden states, as a share of their mean magnitude.
        weight_max: largest absolute error of a term weight.
        weight_mean: mean absolute error of term weights.
        overlap: least mean share of kept terms that are the same.
        recall_loss: largest loss of the mean of recall at 1, 5 and 10, in points of per cent.
        agreement: least mean share of the ten best results of a query that are the same.
    """

    hidden_mean: float = Field(gt=0)
    weight_max: float = Field(gt=0)
    weight_mean: float = Field(gt=0)
    overlap: float = Field(ge=0, le=1)
    recall_loss: float = Field(ge=0, le=100)
    agreement: float = Field(ge=0, le=1)


class GateSettings(_Settings):
    """What the parity gate compares on, and what it lets pass.

    Attributes:
        captions: `captions.jsonl` with rows {image, captions, split}; deterministic synthetic inputs when absent, and
            then retrieval is not measured.
        split: rows of it to use.
        calibration: images that int8 of a convolutional image backbone is calibrated on, whatever lexlip-encode reads;
            the captions' own when absent. "synthetic" is for random weights.
        fp16: limits of half precision: rounding noise, nothing a user could notice. Deep convolutional backbones
            gather more of it, which these limits allow for.
        int8: limits of int8: a trade of some quality for speed.
    """

    captions: Path | None = None
    split: str = "dev"
    calibration: Path | Literal["synthetic"] | None = None
    fp16: Thresholds = Thresholds(
        hidden_mean=0.04, weight_max=0.25, weight_mean=0.04, overlap=0.94, recall_loss=0.5, agreement=0.95
    )
    int8: Thresholds = Thresholds(
        hidden_mean=0.15, weight_max=1.0, weight_mean=0.1, overlap=0.8, recall_loss=2.0, agreement=0.8
    )
