"""The model inside the package: whole, small, documented, and as good as its card says."""

from __future__ import annotations

import json
import re
from dataclasses import astuple
from pathlib import Path

import pytest

from lexlip_infer import Bundle, LexLIPEncoder
from lexlip_infer.bundle import shipped_bundle


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(shipped_bundle())


@pytest.fixture(scope="module")
def encoder() -> LexLIPEncoder:
    return LexLIPEncoder.from_pretrained()


def test_every_file_is_what_the_manifest_says(bundle: Bundle) -> None:
    on_disk = {path.relative_to(bundle.folder).as_posix() for path in bundle.folder.rglob("*") if path.is_file()}
    assert on_disk == {*bundle.manifest.files, "lexlip.json"}
    for name in bundle.manifest.files:
        bundle.read(name)


def test_it_is_at_most_25_megabytes(bundle: Bundle) -> None:
    assert sum(record.size for record in bundle.manifest.files.values()) <= 25e6


def log_table(card: str, heading: str) -> list[dict[str, str]]:
    """The rows of the table below a line, by column."""
    lines = iter(card.split(f"\n{heading}\n\n")[1].split("\n\n", maxsplit=1)[0].splitlines())
    columns, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def test_the_card_carries_notice_commands_seeds_and_logs(bundle: Bundle) -> None:
    card = bundle.read("README.md").decode()
    notice, training = (
        re.search(rf"\n## {name}\n\n(.*?)(\n## |$)", card, re.DOTALL) for name in ("Notice", "Training")
    )
    assert notice is not None
    assert training is not None
    assert "non-commercial research and education" in notice[1]
    record = json.loads(training[1].split("```")[1].removeprefix("json"))
    assert record["command"].startswith("lexlip-train average ")
    assert len(record["average_of"]) == 2
    assert len({run["settings"]["seed"] for run in record["average_of"]}) == 2
    for run in record["average_of"]:
        log = log_table(card, f"`{run['command']}`:")
        assert [int(row["epoch"]) for row in log] == list(range(len(log)))
        assert run["selected"]["epoch"] < len(log) <= run["settings"]["epochs"]
        for row in log:
            assert 0 < float(row["loss"]) < 100
        chosen = run["selected"]
        for name in ("loss", "contrast", "bag", "words", "flops", "text_to_image", "image_to_text"):
            assert log[chosen["epoch"]][name] == str(chosen[name]), name


def test_the_card_tells_nothing_of_the_machine_it_was_made_on(bundle: Bundle) -> None:
    text = bundle.read("README.md").decode() + (bundle.folder / "lexlip.json").read_text()
    assert not re.search(r"/(home|root|work|tmp|Users)/", text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A black dog runs through the grass .", {"dog", "black", "grass"}),
        ("Two children play football on the beach .", {"children", "football", "beach"}),
        ("A man rides a bicycle down a snowy mountain .", {"man", "bicycle", "mountain"}),
    ],
)
def test_texts_keep_their_own_words(encoder: LexLIPEncoder, text: str, words: set[str]) -> None:
    (terms,) = encoder.decode(encoder.encode_texts([text]))
    assert words <= {term for term, _ in terms}


def test_function_words_never_get_a_weight(encoder: LexLIPEncoder) -> None:
    (terms,) = encoder.decode(encoder.encode_texts(["the dog and the man are in a boat ."], top_k=4096))
    assert not {"the", "a", "and", "in", ".", "[CLS]", "[SEP]"} & {term for term, _ in terms}


def test_recall_on_the_development_split(data: Path, encoder: LexLIPEncoder) -> None:
    """As a user gets it: kept terms, integer impacts, exact search. The figure printed in the card must hold."""
    from lexlip_infer.datasets import read_captioned_images
    from lexlip_infer.evaluation.small_scale import DIRECTIONS, Settings, evaluate_small_scale

    flickr = read_captioned_images(data / "flickr8k" / "captions.jsonl", "dev")
    manifest = encoder.manifest
    images = encoder.encode_images(flickr.images, batch_size=16, top_k=manifest.vocab_size)
    texts = encoder.encode_texts(flickr.captions, top_k=manifest.vocab_size)
    found = evaluate_small_scale(encoder, images, texts, flickr, Settings.of(manifest, None, None, None))
    to_image, to_text = (found.impacts[direction].recall() for direction in DIRECTIONS)
    assert to_image.at_10 >= 55.0
    card = encoder.bundle.read("README.md").decode()
    row = next(line for line in card.splitlines() if line.startswith("| this bundle"))
    printed = [float(figure) for figure in re.findall(r"\d+\.\d", row.split("|", 2)[2])]
    measured = [*astuple(to_image), *astuple(to_text)]
    assert measured == pytest.approx(printed, abs=0.3)  # another processor may round a near-tie the other way
