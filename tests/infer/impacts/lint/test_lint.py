"""The linter: each fault is found where it stands, once a place, and a clean collection has none."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lexlip_infer.errors import InputError
from lexlip_infer.impacts.json_lines import first_repeated
from lexlip_infer.impacts.lint import files, lint_collection, lint_topics
from lexlip_infer.impacts.lint.findings import RULES

if TYPE_CHECKING:
    from lexlip_infer.impacts.lint import LintReport


def line(identifier: object = "a", **vector: object) -> str:
    return json.dumps({"id": identifier, "contents": "", "vector": vector})


def broken(report: LintReport) -> dict[str, int]:
    return {finding.rule: finding.count for finding in report.findings}


def lint(tmp_path: Path, *lines: str) -> LintReport:
    path = tmp_path / "part.jsonl"
    path.write_text("\n".join([*lines, line("other", unlike=1)]) + "\n")
    return lint_collection(path)[0]


def test_clean(tmp_path: Path) -> None:
    folder = tmp_path / "vectors"
    folder.mkdir()
    (folder / "part-0.jsonl").write_text(line("a", dog=3, cat=1) + "\n\n" + line(7, dog=255) + "\n")
    (folder / "part-1.jsonl.gz").write_bytes(gzip.compress(line("ünï", **{"##s": 2, "c\xa0d": 1}).encode()))
    report, largest = lint_collection(folder)
    assert report.findings == ()
    assert (report.items, report.terms, report.postings) == (3, 4, 5)
    assert (report.impact_sum, report.largest_impact, report.errors) == (262, 255, 0)
    assert largest == {"dog": 255, "cat": 1, "##s": 2, "c\xa0d": 1}


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("null", {"not-json": 1}),
        ('"id"', {"not-json": 1}),
        ("\ufeff" + line(b=1), {"not-json": 1}),
        ('{"id": "a", "vector": {"b": 1},}', {"not-json": 1}),
        ('{"id": "a"', {"not-json": 1}),
        ('{"id": "a", "vector": {"b": NaN}}', {"not-json": 1}),
        ('{"id": "a", "vector": {"b": 9, "c": 2, "b": 1}}', {"repeated-key": 1}),
        ('{"id": "a", "vector": {"b": 9}, "vector": {"b": 1}}', {"repeated-key": 1}),
        ('{"vector": {"b": 1}}', {"no-id": 1}),
        (line("", b=1), {"no-id": 1}),
        (line(True, b=1), {"no-id": 1}),
        ('{"id": "a"}', {"no-vector": 1}),
        ('{"id": "a", "vector": [1, 2]}', {"dense-vector": 1}),
        ('{"id": "a", "vector": "b"}', {"no-vector": 1}),
        (line(), {"empty-document": 1}),
        (line(b=0.9, c=1), {"fraction": 1}),
        (line(b=0.9), {"fraction": 1, "empty-document": 1}),
        (line(b=2.0, c=2e1), {"number-spelling": 2}),
        ('{"id": "a", "vector": {"b": -Infinity}}', {"not-json": 1}),
        (line(b=0, c=-4, d=1, e=0.0, f=False, g="0", h="-1e400"), {"not-positive": 6}),
        (line(b="12", c=" +7", d=True, e=1), {"number-spelling": 3}),
        (line(b="1.5", c="2."), {"fraction": 1, "number-spelling": 1}),
        (line(b="x", c=None, d="", e=[1], f={"g": 1}, g="12345678901"), {"not-a-number": 6, "empty-document": 1}),
        (line(**{"": 1}), {"empty-term": 1}),
        (line(**{"a b": 1, "c\u2003d": 1}), {"blank-in-term": 2}),
        (line(**{"x" * 256: 1, "y" * 255: 1, "\U0001f600" * 128: 1}), {"long-term": 2}),
        (line("a b", c=1), {"blank-in-id": 1}),
        (line(c=256), {"impact-above-255": 1}),
        (line(c=65_535), {"impact-above-255": 1}),
        (line(c=65_536), {"impact-above-65535": 1}),
        (line(c=65_794), {"impact-above-65535": 1, "inexact-score": 1}),  # x 255, the first at or above 2^24
        (line(c=2**31 - 1), {"impact-above-65535": 1, "inexact-score": 1}),
        (line(c=2**31), {"impact-overflow": 1, "empty-document": 1}),
        (line(c=2**32 + 3), {"impact-overflow": 1}),
        ('{"id": "a", "vector": {"c": 1e400}}', {"impact-overflow": 1, "impact-above-65535": 1, "inexact-score": 1}),
    ],
)
def test_one_fault(tmp_path: Path, text: str, rules: dict[str, int]) -> None:
    report = lint(tmp_path, text)
    assert broken(report) == rules
    assert all(finding.places[0].startswith(f"{tmp_path}/part.jsonl:1") for finding in report.findings)


INDENTED = json.dumps({"id": "a", "contents": "", "vector": {"b": 3, "c": 4}}, indent=1)


@pytest.mark.parametrize(
    ("text", "rules", "postings"),
    [
        (INDENTED, {"not-a-line": 1}, 2),
        (INDENTED + line("z", c=1) + line("y", c=1), {"not-a-line": 3}, 4),
        (line("a", b=3) + " " + line("z", c=4), {"not-a-line": 2}, 2),
        (line("a", b=3) + ", " + line("z", c=4), {"not-a-line": 1, "not-json": 1}, 1),
        (f"[{line('a', b=3)},\n{line('z', b=1)}\n]", {"not-a-line": 2}, 2),
        (f"\n[\n{INDENTED} ,{INDENTED.replace('a', 'z', 1)}]\n\n", {"not-a-line": 2}, 4),
        ("[]", {}, 0),
        ("[1, 2]\n" + line("a", b=3), {"not-json": 2, "after-array": 1}, 0),
        ("[" * 100_000 + "\n" + line("a", b=3), {"not-json": 1, "not-a-line": 1}, 1),
        (f"[{line('a', b=3)}] {line('z', b=1)}\n{line('y', b=1)}", {"not-a-line": 1, "after-array": 1}, 1),
        (f"[{line('a', b=3)}]\n{line('z', b=1)}\n{line('y', b=1)}", {"not-a-line": 1, "after-array": 1}, 1),
        (f"{line('z', b=1)}\n[{line('a', b=3)}]\n{line('y', c=1)}", {"not-json": 1}, 2),
        (f"[{line('a', b=3)},\n{line('z', c=3)}", {"not-a-line": 2, "not-json": 1}, 2),
        (f"[{line('a', b=3)}\n{line('z', c=3)}]", {"not-a-line": 2, "not-json": 1}, 2),
        (f'{{"id": "a",\n"vector": {{"b": 1}}\n{line("z", c=3)}', {"not-json": 1}, 1),
        (f'{{"id": "a",\n{line("z", c=3)}\n{{"id":', {"not-json": 2}, 1),
        ('{"id": "a",\n"vector": {"b": NaN}}\n' + line("z", c=3), {"not-json": 1}, 1),
    ],
)
def test_json_is_read_as_anserini_reads_it(tmp_path: Path, text: str, rules: dict[str, int], postings: int) -> None:
    (tmp_path / "a.json").write_text(text)
    report, _ = lint_collection(tmp_path)
    found = broken(report)
    found.pop("term-in-every-document", None)
    assert (found, report.postings) == (rules, postings)


def test_places_are_where_documents_begin(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(INDENTED + "\n" + INDENTED)
    report, _ = lint_collection(tmp_path)
    places = {finding.rule: finding.places for finding in report.findings}
    second = 1 + len(INDENTED.splitlines())
    assert places["duplicate-id"] == (f"{tmp_path}/a.json:{second}: 'a'",)
    assert places["not-a-line"] == (f"{tmp_path}/a.json:1", f"{tmp_path}/a.json:{second}")


def test_what_anserini_keeps_is_counted(tmp_path: Path) -> None:
    report = lint(tmp_path, line(b=2.0, c=1.5, d=0.9, e="7", f=True, g=2**32 + 3, h=-1))
    assert (report.terms, report.postings, report.impact_sum, report.largest_impact) == (6, 6, 15, 7)


def test_duplicates_are_found_across_files(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line("x", b=1))
    (tmp_path / "b.jsonl").write_text(line("x", c=1))
    report, _ = lint_collection(tmp_path)
    assert broken(report) == {"duplicate-id": 1}
    assert report.findings[0].places == (f"{tmp_path}/b.jsonl:1: 'x'",)


def test_a_term_in_every_document(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line("x", b=1, c=2) + "\n" + line("y", b=2, d=2))
    assert broken(lint_collection(tmp_path)[0]) == {"term-in-every-document": 1}


def test_files_that_anserini_would_stumble_over(tmp_path: Path) -> None:
    (tmp_path / "part.jsonl").write_text(line("x", b=1))
    (tmp_path / "manifest.json.bak").write_text("{}")
    (tmp_path / "part.jsonl.zst").write_bytes(b"")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(line("y", c=1).encode())[:-9])
    (tmp_path / "latin.jsonl").write_bytes(line("z", d=1).encode() + b"\n{\xff}\n")
    report, _ = lint_collection(tmp_path)
    assert broken(report) == {"foreign-file": 1, "zst-file": 1, "damaged-file": 1, "not-utf-8": 1}
    assert report.errors == 4


def test_only_the_first_places_are_kept(tmp_path: Path) -> None:
    report = lint(tmp_path, *(line(number, b=0, c=1) for number in range(50)))
    (finding,) = report.findings
    assert (finding.count, len(finding.places)) == (50, 3)
    assert finding.places[2] == f"{tmp_path}/part.jsonl:3: 'b: 0'"


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no file"):
        lint_collection(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        lint_collection(tmp_path / "none")


class TestTopics:
    def lint(self, tmp_path: Path, text: str, collection: dict[str, int] | None = None) -> LintReport:
        (tmp_path / "topics.tsv").write_text(text)
        return lint_topics(tmp_path / "topics.tsv", collection)

    def test_clean(self, tmp_path: Path) -> None:
        report = self.lint(tmp_path, "1\tdog dog cat\n2\tdog\n", {"dog": 9, "cat": 1})
        assert report.findings == ()
        assert (report.items, report.terms, report.postings) == (2, 2, 3)
        assert (report.impact_sum, report.largest_impact) == (4, 2)

    def test_exactly_1024_terms_are_allowed(self, tmp_path: Path) -> None:
        terms = [f"t{number}" for number in range(1025)]
        assert broken(self.lint(tmp_path, "1\t" + " ".join(terms[:-1]))) == {}
        assert broken(self.lint(tmp_path, "1\t" + " ".join(terms))) == {"too-many-terms": 1}

    @pytest.mark.parametrize(
        ("text", "rules"),
        [
            ("dog", {"no-tab": 1}),
            ("\tdog", {"no-id": 1}),
            ("1\t ", {"empty-query": 1}),
            ("1\tdog\n1\tdog", {"duplicate-id": 1}),
            ("1 2\tdog", {"blank-in-id": 1}),
            ("1\tdog bird dead", {"unknown-term": 2}),
            ("1\t" + "dog " * 1865, {"inexact-score": 1}),
            ("1\t" + "dog " * 1864, {}),
        ],
    )
    def test_one_fault(self, tmp_path: Path, text: str, rules: dict[str, int]) -> None:
        assert broken(self.lint(tmp_path, text, {"dog": 9_000, "dead": 0})) == rules


def test_every_rule_has_a_test() -> None:
    source = Path(__file__).read_text()
    assert [rule for rule in RULES if f'"{rule}"' not in source] == []


def test_unknown_fields_of_a_document_are_nobodys_business(tmp_path: Path) -> None:
    document: dict[str, Any] = {"id": "a", "url": {"deep": [1]}, "vector": {"b": 1}}
    assert broken(lint(tmp_path, json.dumps(document))) == {}


def test_a_repeated_key_is_found_among_many() -> None:
    assert first_repeated([*map(str, range(100_000)), "7", "3"]) == "7"


def test_lines_and_what_a_file_expands_to_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LONGEST_LINE", 100)
    (tmp_path / "a.jsonl").write_text(line("x", b=1) + "\n" + line("y" * 200, c=1) + "\n")
    report, _ = lint_collection(tmp_path)
    assert broken(report) == {"damaged-file": 1}
    assert report.findings[0].places == (
        f"{tmp_path}/a.jsonl: 'has a line (number 2) of more than 100 bytes, the most that…'",
    )
    monkeypatch.setattr(files, "SPARE_EXPANSION", 50)
    monkeypatch.setattr(files, "MOST_EXPANSION", 1)
    (tmp_path / "a.jsonl").unlink()
    lines = "".join(line(number, **{f"t{number}": 1}) + "\n" for number in range(40))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    report, _ = lint_collection(tmp_path)
    assert broken(report) == {"damaged-file": 1}
    assert "expands from" in report.findings[0].places[0]


def test_a_value_of_many_lines_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LONGEST_LINE", 100)
    (tmp_path / "a.jsonl").write_text('{"a": [\n' + "{},\n" * 40 + line("x", b=1) + "\n")
    report, _ = lint_collection(tmp_path)
    assert report.items == 1 + broken(report)["no-vector"]
    assert "a document of more than 100 bytes" in next(
        finding.places[0] for finding in report.findings if finding.rule == "not-json"
    )


def test_a_value_of_many_lines_is_not_looked_at_after_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps({"id": "x", "vector": {"b": 1}, "more": [{"number": number} for number in range(500)]}, indent=0)
    (tmp_path / "a.jsonl").write_text(text + "\n" + line("y", c=1) + "\n")
    (whole, _), looks = lint_collection(tmp_path), []
    monkeypatch.setattr(files, "_FREELY_TRIED", 0)
    original = files._Values._look

    def counted(values: files._Values, place: str, text: str) -> Any:
        looks.append(place)
        return original(values, place, text)

    monkeypatch.setattr(files._Values, "_look", counted)
    report, _ = lint_collection(tmp_path)
    assert (report.items, whole.items) == (2, 2)
    assert len(looks) < 100


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match=r"a\.jsonl: is a FIFO; expected a regular file"):
        lint_collection(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match=r"a\.jsonl: is a FIFO"):
        lint_topics(tmp_path / "a.jsonl")
