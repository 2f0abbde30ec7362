"""What the parity gate found: `parity.json` of a bundle, and a table in its model card."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, PlainSerializer

from lexlip_export.settings import Thresholds
from lexlip_infer.bundle import Modality, Precision

PARITY = "parity.json"

#: Four digits are what a reader needs; more would differ from one processor to the next.
Figure = Annotated[float, PlainSerializer(lambda value: float(f"{value:.4g}"), return_type=float)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Errors(_Record):
    """Absolute differences from float32: the largest, their mean, and the mean magnitude of the float32 values.

    Of weights, terms that are zero on both sides are left out; of hidden states, padding.
    """

    max: Figure
    mean: Figure
    magnitude: Figure

    @property
    def relative_mean(self) -> float:
        """Mean difference as a share of the mean magnitude; 0 where nothing differs."""
        return self.mean / self.magnitude if self.magnitude else self.mean


class TowerFigures(_Record):
    """One tower.

    Attributes:
        rows: inputs compared.
        hidden: of hidden states.
        weights: of term weights, before pruning.
        top_k: terms kept.
        overlap: mean share of kept terms in common.
        overlap_min: the worst row's.
    """

    rows: int
    hidden: Errors
    weights: Errors
    top_k: int
    overlap: Figure
    overlap_min: Figure


class Direction(_Record):
    """Retrieval in one direction: recall at 1, 5 and 10 in per cent, and agreement of the ranked lists.

    Attributes:
        reference: recall in float32.
        candidate: recall in the precision under test.
        agreement: mean share of the ten best results in common.
        same_first: share of queries with the same best result.
    """

    reference: tuple[Figure, Figure, Figure]
    candidate: tuple[Figure, Figure, Figure]
    agreement: Figure
    same_first: Figure

    @property
    def loss(self) -> float:
        """Loss of the three recalls' mean; a single one jumps with a single query. Never negative."""
        return max(0.0, (sum(self.reference) - sum(self.candidate)) / 3)


class RetrievalFigures(_Record):
    """Retrieval as a user gets it: kept terms, integer impacts, exact search."""

    text_to_image: Direction
    image_to_text: Direction


class Activation(_Record):
    """The largest output of any layer: which layer's, how large, and how many times it fits below 65504."""

    layer: str
    value: Figure
    headroom: Figure


class PrecisionReport(_Record):
    """One precision.

    Attributes:
        precision: which.
        arithmetic: what computed the figures.
        inputs: what was encoded.
        calibration: what ranges of activations were measured on beforehand, where a precision has such.
        towers: by modality.
        retrieval: "not measured" without captions or without both towers.
        largest_activation: of half precision.
        thresholds: the limits that it kept.
    """

    precision: Precision
    arithmetic: str
    inputs: str
    calibration: str | None = None
    towers: dict[Modality, TowerFigures]
    retrieval: RetrievalFigures | Literal["not measured"]
    largest_activation: Activation | None
    thresholds: Thresholds


class ParityReport(_Record):
    """`parity.json`: every precision beside float32 that the bundle holds, compared with float32 in torch."""

    reference: Literal["float32 in torch on the CPU"] = "float32 in torch on the CPU"
    precisions: tuple[PrecisionReport, ...]
