"""The model inside the package: whole, small, documented, and as good as its card says."""

from __future__ import annotations

import re
from dataclasses import astuple
from pathlib import Path

import pytest

from lexlip_infer import Bundle, LexLIPEncoder, list_models
from lexlip_infer.bundle import shipped_bundle


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(shipped_bundle())


@pytest.fixture(scope="module", params=list_models())
def any_bundle(request: pytest.FixtureRequest) -> Bundle:
    """Each of the models that ship."""
    return Bundle.open(request.param)


@pytest.fixture(scope="module")
def encoder() -> LexLIPEncoder:
    return LexLIPEncoder.from_pretrained()


def test_every_file_is_what_the_manifest_says(any_bundle: Bundle) -> None:
    folder = any_bundle.folder
    on_disk = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert on_disk == {*any_bundle.manifest.files, "lexlip.json"}
    for name in any_bundle.manifest.files:
        any_bundle.read(name)
    assert any_bundle.manifest.name == folder.name


def test_it_is_at_most_28_megabytes_of_14_million_weights(any_bundle: Bundle) -> None:
    assert sum(record.size for record in any_bundle.manifest.files.values()) <= 28e6
    weights = re.search(r"\. ([\d.]+) M parameters", any_bundle.read("README.md").decode())
    assert weights is not None
    assert float(weights[1]) <= 14


def tables(text: str) -> list[list[dict[str, str]]]:
    """The tables in a piece of Markdown: rows, by column."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", text + "\n", re.MULTILINE):
        columns, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines())
        found.append([dict(zip(columns, row, strict=True)) for row in rows])
    return found


def section(card: str, name: str) -> str:
    found = re.search(rf"\n## {name}\n\n(.*?)(\n## |$)", card, re.DOTALL)
    assert found is not None, name
    return found[1]


def test_the_card_names_the_terms_of_data_and_weights(any_bundle: Bundle) -> None:
    notice = section(any_bundle.read("README.md").decode(), "Notice").strip()
    assert notice == list_models()[any_bundle.manifest.name]
    for words in ("OpenStax", "CC BY 4.0", "ImageNet", "Apache-2.0"):
        assert words in notice, words
    assert "openstax/osbooks-astronomy" in any_bundle.read("ATTRIBUTION.md").decode()


def test_the_open_model_saw_nothing_of_flickr8k(bundle: Bundle) -> None:
    assert "Flickr8k, whose terms allow non-commercial research and education only" in (bundle.manifest.notice or "")
    made = Bundle.open("lexlip-tiny-open")
    assert "Flickr" not in (made.manifest.notice or "")
    data = [row["data"] for row in tables(section(made.read("README.md").decode(), "Training"))[0] if row["data"]]
    assert data == ["openstax/captions.jsonl"]


def test_the_card_carries_commands_seeds_and_logs(bundle: Bundle) -> None:
    card = bundle.read("README.md").decode()
    made, *logs = tables(section(card, "Training"))
    runs = [row for row in made if "lexlip-train recipe" in row["run"]]
    assert len(runs) == len(logs) == 2
    for run, log in zip(runs, logs, strict=True):
        assert "openstax" in run["data"]
        assert int(run["seed"]) > 0
        assert int(log[-1]["step"]) == int(run["steps"])
        assert "/".join(f"{float(log[-1][f't2i_{k}']):.1f}" for k in (1, 5, 10)) == run["text to image, then"]
        for row in log:
            assert 0 < float(row["loss"]) < 100
    for run in made:
        assert re.fullmatch("[0-9a-f]{7}", run["revision"]), "from a commit, nothing changed since"


def test_the_card_tells_nothing_of_the_machine_it_was_made_on(any_bundle: Bundle) -> None:
    text = any_bundle.read("README.md").decode() + (any_bundle.folder / "lexlip.json").read_text()
    assert not re.search(r"/(home|root|work|tmp|Users)/", text)


OWN_WORDS = {
    "A black dog runs through the grass .": {"dog", "black", "grass"},
    "Two children play football on the beach .": {"children", "football", "beach"},
    "A man rides a bicycle down a snowy mountain .": {"man", "bicycle", "mountain"},
}


def test_texts_keep_their_own_words(encoder: LexLIPEncoder) -> None:
    for words, terms in zip(OWN_WORDS.values(), encoder.decode(encoder.encode_texts(list(OWN_WORDS))), strict=True):
        assert words <= {term for term, _ in terms}


def test_function_words_never_get_a_weight(encoder: LexLIPEncoder) -> None:
    (terms,) = encoder.decode(
        encoder.encode_texts(["the dogs and the man are in a boat ."], top_k=encoder.manifest.vocab_size)
    )
    assert not {"the", "a", "and", "in", "[CLS]", "[SEP]", "[UNK]", "##s"} & {term for term, _ in terms}


def test_a_plural_is_its_word_and_a_strange_word_is_none(encoder: LexLIPEncoder) -> None:
    dogs, nothing = encoder.decode(encoder.encode_texts(["dogs", "zxqwvut"], mode="lookup"))
    assert [term for term, _ in dogs] == ["dog"]
    assert nothing == []
    assert not [term for term in encoder.vocabulary.terms if term.startswith("##") and term not in ("##s", "##es")]


def test_it_names_what_is_in_a_photograph(data: Path, encoder: LexLIPEncoder) -> None:
    """Names of 250 classes that the classifier inside it was trained on, by photographs that nothing was trained on."""
    from lexlip_infer.datasets import read_captioned_images

    objects = read_captioned_images(data / "objects" / "captions.jsonl", "dev")
    images = encoder.encode_images(objects.images)
    scores = encoder.similarity(images, encoder.encode_texts(objects.captions))
    ranks = (scores > scores.diagonal()[:, None]).sum(axis=1)
    assert (ranks < 1).mean() >= 0.6
    assert (ranks < 5).mean() >= 0.85


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
    row = tables(section(card, "Results"))[0][0]
    assert row["data"] == "Flickr8k, dev"
    cells = (row["text to image"], row["image to text"])
    printed = [float(figure) for cell in cells for figure in cell.split(" ")[0].split("/")]
    measured = [*astuple(to_image), *astuple(to_text)]
    assert measured == pytest.approx(printed, abs=0.3)  # another processor may round a near-tie the other way
