"""What an export decides beyond the weights."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from lexlip_infer.bundle import Precision
from lexlip_infer.errors import InputError

__all__ = ["ExportSettings", "FurtherGraph", "named_precisions"]


class FurtherGraph(StrEnum):
    """A graph that a bundle holds only if it is asked for."""

    MERGED = "merged"
    LOGITS_FP16 = "logits-fp16"
    ANSERINI = "anserini"


class ExportSettings(BaseModel):
    """Defaults that the bundle carries, and how its weights are stored.

    Attributes:
        image_top_k: terms kept of an image.
        text_top_k: terms kept of a text; Lucene allows a query at most 1024.
        similarity: what the model was trained for.
        scale: of the quantiser.
        cap: of the quantiser; 255 keeps an impact in one byte.
        graphs: further graphs that the bundle shall hold; the logits graphs bring the precision fp16 with them.
        storage: "f16" halves the files by rounding the weights; the float32 graphs compute in float32 either way.
        precisions: of the backbones; float32 always comes first, the others have to pass the parity gate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_top_k: int = Field(default=256, gt=0)
    text_top_k: int = Field(default=64, gt=0, le=1024)
    similarity: Literal["cosine", "dot"] = "cosine"
    scale: float = Field(default=100.0, gt=0)
    cap: int = Field(default=255, ge=1, le=65535)
    graphs: tuple[FurtherGraph, ...] = ()
    storage: Literal["f32", "f16"] = "f32"
    precisions: tuple[Precision, ...] = Field(default=("f32",), validate_default=True)

    @field_validator("precisions")
    @classmethod
    def _float32_first(cls, names: tuple[Precision, ...], info: ValidationInfo) -> tuple[Precision, ...]:
        order: tuple[Precision, ...] = ("f32", "fp16", "int8")
        needed = {"f32", "fp16"} if FurtherGraph.LOGITS_FP16 in info.data.get("graphs", ()) else {"f32"}
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
