"""What an export decides beyond the weights."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ExportSettings", "FurtherGraph"]


class FurtherGraph(StrEnum):
    """A graph that a bundle holds only if it is asked for."""

    MERGED = "merged"
    ANSERINI = "anserini"


class ExportSettings(BaseModel):
    """Defaults that the bundle carries, and how its weights are stored.

    Attributes:
        image_top_k: terms kept of an image.
        text_top_k: terms kept of a text; Lucene allows a query at most 1024.
        similarity: what the model was trained for.
        scale: of the quantiser.
        cap: of the quantiser; 255 keeps an impact in one byte.
        graphs: further graphs that the bundle shall hold.
        storage: "f16" halves the files by rounding the weights; graphs compute in float32 either way.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_top_k: int = Field(default=256, gt=0)
    text_top_k: int = Field(default=64, gt=0, le=1024)
    similarity: Literal["cosine", "dot"] = "cosine"
    scale: float = Field(default=100.0, gt=0)
    cap: int = Field(default=255, ge=1, le=65535)
    graphs: tuple[FurtherGraph, ...] = ()
    storage: Literal["f32", "f16"] = "f32"
