"""How far a precision may stray from float32 before the parity gate refuses it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["GateSettings", "Thresholds"]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
        fp16: limits of half precision: rounding noise, nothing a user could notice. Deep convolutional backbones
            gather more of it, which these limits allow for.
        int8: limits of dynamic int8: a trade of some quality for speed.
    """

    captions: Path | None = None
    split: str = "dev"
    fp16: Thresholds = Thresholds(
        hidden_mean=0.04, weight_max=0.25, weight_mean=0.04, overlap=0.94, recall_loss=0.5, agreement=0.95
    )
    int8: Thresholds = Thresholds(
        hidden_mean=0.15, weight_max=1.0, weight_mean=0.1, overlap=0.8, recall_loss=2.0, agreement=0.8
    )
