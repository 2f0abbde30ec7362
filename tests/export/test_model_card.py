"""What the card says of a training: of one run, of the mean of several, of whichever trainer wrote the record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lexlip_export.card_facts import read_facts
from lexlip_export.model_card import model_card
from lexlip_kernels.errors import InputError

if TYPE_CHECKING:
    from lexlip_training import LexLIP


def test_an_average_shows_the_log_of_every_part(random_model: LexLIP) -> None:
    parts = [{"command": f"lexlip-train run{n}", "log": [{"epoch": n, "loss": 9.25 + n}]} for n in (1, 2)]
    card = model_card(random_model, {"notice": "Mine.", "average_of": parts}, {})
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
        (
            {"command": "lexlip-train run a", "selected": STEP, "log": []},
            "| `lexlip-train run a` |  | 30 |",
            "| loss |",
        ),
        # Of the trainer before it.
        (
            {"selected": {"epoch": 3, "dev_sum": 9, "text_to_image": "1.0/2.0/3.0", "image_to_text": "4.0/5.0/6.0"}},
            "| selection | full vectors, cosine, torch in bfloat16 | 1.0/2.0/3.0 | 4.0/5.0/6.0 |",
            "impacts, torch",
        ),
        # Of nobody who measured or said anything.
        ({"notice": ""}, "No notice was recorded with these weights.", "Results"),
        ({"average_of": [{"log": [{"epoch": 0}]}]}, "`a run without a command`:", "Results"),
    ],
)
def test_records_of_every_trainer(record: dict[str, Any], shown: str, hidden: str, random_model: LexLIP) -> None:
    card = model_card(random_model, record, {})
    assert shown in card
    assert hidden not in card


def settings_of(seed: int) -> dict[str, Any]:
    return {"run": {"seed": seed, "threads": 2}, "schedule": {"epochs": 8}, "data": {"train": [{"path": "a/c.jsonl"}]}}


def test_every_run_has_a_row_in_the_order_of_its_making(random_model: LexLIP) -> None:
    first = {"command": "lexlip-train recipe a --notice Mine.", "settings": settings_of(3), "revision": "0123456789"}
    second = {"command": "lexlip-train recipe b --set x=1", "settings": settings_of(4), "continued_from": first}
    mean = {"command": "lexlip-train average c a b", "average_of": [first, second]}
    record = {
        "continued_from": mean,
        "command": "lexlip-train recipe d",
        "resized": [{"command": "lexlip-train resize"}],
    }
    card = model_card(random_model, record, {})
    rows = [
        "recipe a` | a/c.jsonl |  | 8 |  |  | 3 | 2 |  | 0123456 |",
        "recipe b` |",
        "average c a b` |",
        "recipe d` |",
    ]
    places = [card.index(row) for row in [*rows, "resize` |"]]
    assert places == sorted(places)
    assert card.count("recipe a`") == 1
    assert "Mine." not in card


@pytest.fixture
def evaluation() -> dict[str, Any]:
    recalls = {f"r@{k}": float(k) for k in (1, 5, 10)}
    intervals = {way: {cutoff: [value - 0.5, value + 0.5] for cutoff, value in recalls.items()} for way in WAYS}
    shown = {
        "top_k": {"image": 256, "text": 64},
        "scale": 100.0,
        "query_mode": "tower",
        "data": "d.jsonl",
        "split": "dev",
    }
    return shown | dict.fromkeys(WAYS, recalls) | {"intervals_95": intervals}


WAYS = ("text_to_image", "image_to_text")


def test_each_evaluation_has_a_row_with_its_intervals(
    random_model: LexLIP, evaluation: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(evaluation))
    (tmp_path / "b.json").write_text(json.dumps(evaluation | {"query_mode": "lookup"}))
    facts = read_facts([str(tmp_path / "a.json"), f"holidays={tmp_path / 'b.json'}"], None, None)
    card = model_card(random_model, {}, {}, facts)
    assert (
        "| d.jsonl, dev | this bundle: integer impacts x100, image top-256, text top-64, exact search | 1.0/5.0/10.0 ["
        in card
    )
    assert "| holidays | this bundle: integer impacts x100, image top-256, queries by lookup, exact search |" in card
    assert "| 1.0/5.0/10.0 [0.5-1.5, 4.5-5.5, 9.5-10.5] |" in card


def test_words_are_shown_from_both_ends(random_model: LexLIP, tmp_path: Path) -> None:
    terms = [
        {"term": f"word{n}", "images": 2000 + n, "in_captions": 10, "average_precision": 1 - n / 50} for n in range(40)
    ]
    model = {"strongest_5_right": 52.5, "mean_average_precision": 0.219, "at_random": 0.04, "terms": terms}
    (tmp_path / "words.json").write_text(json.dumps({"data": "flickr8k, dev", "results": [model]}))
    card = model_card(random_model, {}, {}, read_facts([], tmp_path / "words.json", None))
    assert "On flickr8k, dev: 52.5 per cent of an image's 5 strongest terms" in card
    assert "| word0 | 2,000 | 10 | 1.000 |" in card
    assert "| word39 | 2,039 | 10 | 0.220 |" in card
    assert "word20" not in card


def test_what_people_write_stands_in_the_card_and_its_pictures_beside_it(random_model: LexLIP, tmp_path: Path) -> None:
    (tmp_path / "about.md").write_text(
        "## Where it fails\n\n![a tripod](tripod.jpg) ![logo](https://example.org/a.png)\n"
    )
    (tmp_path / "tripod.jpg").write_bytes(b"JPEG")
    facts = read_facts([], None, tmp_path / "about.md")
    assert facts.pictures == {"tripod.jpg": b"JPEG"}
    assert "## Where it fails" in model_card(random_model, {}, {}, facts)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("evaluation", "[]", "not the output of lexlip eval --json"),
        ("words", '{"data": "d"}', "not a report of benchmarks/words_of_images.py"),
        ("about", "![x](../../secret.jpg)", "expected pictures beside the text"),
        ("about", "![x](lexlip.json)", "expected pictures beside the text"),
        ("about", "![x](gone.jpg)", "gone.jpg: cannot be read"),
    ],
)
def test_other_files_are_refused(name: str, content: str, message: str, tmp_path: Path) -> None:
    (path := tmp_path / "given").write_text(content)
    given = {"evaluation": ([str(path)], None, None), "words": ([], path, None), "about": ([], None, path)}[name]
    with pytest.raises(InputError, match=message):
        read_facts(*given)


def test_figures_of_something_else_are_refused(random_model: LexLIP, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"data": "d", "split": "dev"}')
    with pytest.raises(InputError, match="'d, dev' is not the output of lexlip eval"):
        model_card(random_model, {}, {}, read_facts([str(tmp_path / "a.json")], None, None))
