"""What the card says of a model that is the mean of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexlip_export.model_card import model_card

if TYPE_CHECKING:
    from lexlip_training import LexLIP


def test_an_average_shows_the_log_of_every_part(random_model: LexLIP) -> None:
    parts = [{"command": f"lexlip-train run{n}", "log": [{"epoch": n, "loss": 9.25 + n}]} for n in (1, 2)]
    card = model_card(random_model, {"notice": "Mine.", "average_of": parts}, {}, None)
    first, second = card.index("`lexlip-train run1`:"), card.index("`lexlip-train run2`:")
    assert first < card.index("| 1 |  | 10.25 |") < second < card.index("| 2 |  | 11.25 |")
    assert '"log"' not in card
