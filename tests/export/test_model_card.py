"""What the card says of a training: of one run, of the mean of several, of whichever trainer wrote the record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lexlip_export.model_card import model_card

if TYPE_CHECKING:
    from lexlip_training import LexLIP


def test_an_average_shows_the_log_of_every_part(random_model: LexLIP) -> None:
    parts = [{"command": f"lexlip-train run{n}", "log": [{"epoch": n, "loss": 9.25 + n}]} for n in (1, 2)]
    card = model_card(random_model, {"notice": "Mine.", "average_of": parts}, {}, None)
    first, second = card.index("`lexlip-train run1`:"), card.index("`lexlip-train run2`:")
    assert first < card.index("| 1 |  | 10.25 |") < second < card.index("| 2 |  | 11.25 |")
    assert '"log"' not in card


STEP = {"step": 30, "epoch": 1, "loss": 2.34567, "contrast": 1.25}
RECALLS = {"dev_sum": 210.0} | {f"{side}_{k}": float(10 * k) + 1.26 for side in ("t2i", "i2t") for k in (1, 5, 10)}


@pytest.mark.parametrize(
    ("record", "shown", "hidden"),
    [
        # Of `lexlip-train run`: measured on a development split, or without one.
        (
            {"selected": STEP | RECALLS, "log": [STEP, STEP | RECALLS]},
            "| 11.3/51.3/101.3 | 11.3/51.3/101.3 |",
            "1.25 |  |",
        ),
        (
            {"selected": STEP, "log": [{"step": 15, "epoch": 1, "loss": 9.0}, STEP]},
            "| 30 | 1 | 2.346 | 1.25 |",
            "Results",
        ),
        ({"selected": STEP, "log": []}, '"step": 30', "| loss |"),
        # Of the trainer before it.
        (
            {"selected": {"epoch": 3, "dev_sum": 9, "text_to_image": "1.0/2.0/3.0", "image_to_text": "4.0/5.0/6.0"}},
            "| full vectors, cosine, torch in bfloat16 (selection) | 1.0/2.0/3.0 | 4.0/5.0/6.0 |",
            "impacts, torch",
        ),
        # Of nobody who measured or said anything.
        ({"notice": ""}, "No notice was recorded with these weights.", "Results"),
        ({"average_of": [{"log": [{"epoch": 0}]}]}, "`a run without a command`:", "Results"),
    ],
)
def test_records_of_every_trainer(record: dict[str, Any], shown: str, hidden: str, random_model: LexLIP) -> None:
    card = model_card(random_model, record, {}, None)
    assert shown in card
    assert hidden not in card
