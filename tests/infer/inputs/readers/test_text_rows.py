"""Every way a line of a text file can be wrong: one message with its file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexlip_infer.errors import InputError
from lexlip_infer.inputs.items import BadItem
from lexlip_infer.inputs.readers import open_texts


def read(path: Path, content: str | bytes) -> list[tuple[str, str]]:
    """Ids and texts; the first bad item is raised as it would be listed."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    items = []
    for item in open_texts([str(path)]):
        if isinstance(item, BadItem):
            raise InputError(f"{item.origin}: {item.error}")
        items.append((item.id, item.text))
    return items


class TestReading:
    def test_json_lines(self, tmp_path: Path) -> None:
        content = '{"id": "a", "text": "x"}\n\n{"text": "y \\n z", "id": 7, "more": []}\n  \n{"id": "", "text": ""}'
        assert read(tmp_path / "t.jsonl", content) == [("a", "x"), ("7", "y \n z"), ("", "")]

    def test_tsv_keeps_later_tabs_and_spaces(self, tmp_path: Path) -> None:
        assert read(tmp_path / "t.tsv", "a\tx\ty\nb\t z \n") == [("a", "x\ty"), ("b", " z ")]

    def test_plain_lines_are_numbered_with_blank_ones_counted(self, tmp_path: Path) -> None:
        assert read(tmp_path / "t.txt", "one\n\n \t\nfour") == [("1", "one"), ("4", "four")]

    @pytest.mark.parametrize("suffix", [".txt", ".TXT", ".tsv", ".jsonl", ".JsonL"])
    def test_byte_order_mark_and_windows_line_ends(self, tmp_path: Path, suffix: str) -> None:
        kind = suffix.lower()
        lines = {".txt": "x\r\ny\r\n", ".tsv": "1\tx\r\n2\ty\r\n"}.get(
            kind, '{"id": "1", "text": "x"}\r\n{"id": "2", "text": "y"}\r\n'
        )
        assert read(tmp_path / f"t{suffix}", b"\xef\xbb\xbf" + lines.encode()) == [("1", "x"), ("2", "y")]

    @pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
    def test_only_a_line_feed_ends_a_line(self, tmp_path: Path, character: str) -> None:
        text = f"left{character}right"
        assert read(tmp_path / "t.txt", text) == [("1", text)]
        assert read(tmp_path / "t.tsv", f"a\t{text}\nb\tx") == [("a", text), ("b", "x")]
        line = json.dumps({"id": "a", "text": text}, ensure_ascii=False)
        assert read(tmp_path / "t.jsonl", line) == [("a", text)]

    def test_a_mark_inside_the_file_is_text(self, tmp_path: Path) -> None:
        assert read(tmp_path / "t.txt", "a\n\ufeffb") == [("1", "a"), ("2", "\ufeffb")]

    @pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf\r\n"])
    def test_an_empty_file_has_no_texts(self, content: bytes, tmp_path: Path) -> None:
        for name in ("t.txt", "t.jsonl"):
            with pytest.raises(InputError, match=rf"{name}: no texts"):
                read(tmp_path / name, content)

    def test_a_very_long_line(self, tmp_path: Path) -> None:
        text = "dog " * 500_000
        assert read(tmp_path / "t.tsv", f"a\t{text}\n") == [("a", text)]

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
    def test_any_text_survives_json(self, tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
        rows = [{"id": i, "text": text} for i, text in enumerate(texts)]
        content = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        items = read(tmp_path_factory.getbasetemp() / "any.jsonl", content)
        assert items == [(str(i), text) for i, text in enumerate(texts)]


class TestRefusals:
    @pytest.mark.parametrize(
        "line",
        [
            "x",
            "{",
            "[]",
            '"id"',
            "null",
            "7",
            '{"id": "a"}',
            '{"text": "a"}',
            "NaN",
            "[" * 100000,
            '{"id": ' + "9" * 5000 + ', "text": ""}',
            '{"id": "a", "text": "b"} {}',
        ],
        ids=range(12),
    )
    def test_not_the_json_asked_for(self, tmp_path: Path, line: str) -> None:
        with pytest.raises(InputError, match=r't\.jsonl:2: expected a line \{"id": …, "text": …\}'):
            read(tmp_path / "t.jsonl", f"\n{line}\n")

    @pytest.mark.parametrize(
        "row",
        [
            {"id": None},
            {"id": True},
            {"id": 1.5},
            {"id": float("nan")},
            {"id": ["a"]},
            {"text": None},
            {"text": 3},
            {"text": ["x"]},
            {"text": float("nan")},
        ],
    )
    def test_wrong_types(self, tmp_path: Path, row: dict[str, Any]) -> None:
        with pytest.raises(InputError, match=r't\.jsonl:1: "id" must be a string or a number, "text" a string'):
            read(tmp_path / "t.jsonl", json.dumps({"id": "a", "text": "b"} | row))

    def test_an_id_that_cannot_be_written(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"t\.jsonl:1: .*surrogate"):
            read(tmp_path / "t.jsonl", '{"id": "\\ud800", "text": "x"}')

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("t.tsv", "a\tx\n\na\ty\n"),
            ("t.jsonl", '{"id": "a", "text": ""}\n\n{"id": "a", "text": ""}'),
        ],
    )
    def test_an_id_twice(self, tmp_path: Path, name: str, content: str) -> None:
        with pytest.raises(InputError, match=rf"{name}:3: the id 'a' stands here a second time"):
            read(tmp_path / name, content)

    def test_a_number_and_its_string_are_one_id(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="second time"):
            read(tmp_path / "t.jsonl", '{"id": 1, "text": ""}\n{"id": "1", "text": ""}')

    def test_no_tab(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"t\.tsv:1: expected id, tab, text"):
            read(tmp_path / "t.tsv", "a x\n")

    @pytest.mark.parametrize("content", ["caf\xe9".encode("latin-1"), "dog".encode("utf-16"), b"\xed\xa0\x80"])
    @pytest.mark.parametrize("name", ["t.txt", "t.tsv", "t.jsonl"])
    def test_not_utf_8(self, tmp_path: Path, name: str, content: bytes) -> None:
        with pytest.raises(InputError, match=rf"{name}:3: not UTF-8"):
            read(tmp_path / name, b"\n\n" + content)

    @pytest.mark.parametrize("name", ["t.csb", "t", "t.jsonl.gz", ".txt"])
    def test_unknown_suffix(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(
            InputError, match=r"texts are read from a folder of captioned images, .*; this is none of them"
        ):
            read(tmp_path / name, "a")
