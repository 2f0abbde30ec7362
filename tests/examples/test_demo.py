"""What `make demo` shows, with the model that ships: the right photograph first, and every photograph's origin."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"
PHOTOGRAPHS = sorted((EXAMPLES / "photographs").glob("*.jpg"))
#: A query of the demo to the photograph that it describes.
FIRST = {
    "children riding bicycles": "bicycles.jpg",
    "people around a fire at night": "campfire.jpg",
    "a big yellow flower": "sunflower.jpg",
    "an Emirates airplane": "airplane.jpg",
}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "out"


@pytest.fixture(scope="module")
def printed(output: Path) -> str:
    run = subprocess.run([sys.executable, EXAMPLES / "demo.py", output], capture_output=True, text=True, check=True)
    return run.stdout


def searches(printed: str) -> dict[str, list[list[str]]]:
    """For each query, the fields of the lines below its command."""
    found = re.findall(r'^\$ lexlip search \S+ "(.+)" --hits 3\n((?:\d\t.*\n)*)', printed, re.MULTILINE)
    return {query: [line.split("\t") for line in lines.splitlines()] for query, lines in found}


def test_the_photograph_that_a_query_describes_comes_first_with_a_clear_lead(printed: str) -> None:
    found = searches(printed)
    assert {query: hits[0][2] for query, hits in found.items()} == FIRST
    for query, hits in found.items():
        scores = [int(score) for _, score, *_ in hits] + [0, 0]
        assert scores[0] >= 1.25 * scores[1], query


def test_words_of_every_photograph_are_printed(printed: str) -> None:
    described = re.findall(r"^  (\S+\.jpg) +((?:\S+ \d\.\d\d(?:  |$)){6})", printed, re.MULTILINE)
    assert [name for name, _ in described] == [path.name for path in PHOTOGRAPHS]


def test_a_word_outside_the_vocabulary_is_named_and_no_other(printed: str) -> None:
    assert re.findall(r"^'(\w+)' is no word of the model's vocabulary", printed, re.MULTILINE) == ["Emirates"]


@pytest.mark.parametrize("name", ["words.jpg", "hits.jpg"])
def test_pictures_are_drawn(printed: str, output: Path, name: str) -> None:
    assert str(output / name) in printed
    with Image.open(output / name) as picture:
        picture.load()
        assert len(picture.convert("L").resize((64, 64)).getcolors() or ()) > 20, "more than paper and ink"


def test_every_photograph_has_its_author_licence_and_source() -> None:
    text = (EXAMPLES / "photographs" / "ATTRIBUTION.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    ]
    assert [row[0] for row in rows] == [f"`{path.name}`" for path in PHOTOGRAPHS]
    for _, shows, author, licence, source in rows:
        assert shows
        assert author
        assert re.match(r"\[CC BY [24]\.0\]\(https://creativecommons\.org/licenses/by/[24]\.0/\)", licence)
        assert re.fullmatch(r"\[.+\]\(https://github\.com/\S+/blob/[0-9a-f]{40}/media/\S+\.jpg\)", source)


def test_photographs_tell_nothing_of_where_and_when_they_were_taken() -> None:
    for path in PHOTOGRAPHS:
        with Image.open(path) as photograph:
            assert min(photograph.size) == 256
            assert not photograph.getexif()
