"""Texts of files: a malformed row is one bad item at its place, unless the file is of another kind altogether."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexlip_infer.errors import InputError
from lexlip_infer.inputs import lines
from lexlip_infer.inputs.items import BadItem, TextItem
from lexlip_infer.inputs.lines import numbered_lines
from lexlip_infer.inputs.readers import open_texts

Ids = Callable[[Any], list[str]]


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[tuple[str, str]]]:
    """Id and text of each row of a file with these contents; of a bad one, its id and what is wrong."""

    def contents(name: str, data: str | bytes, **columns: str) -> list[tuple[str, str]]:
        (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        items = open_texts([str(tmp_path / name)], **columns)
        return [(item.id, item.error if isinstance(item, BadItem) else item.text) for item in items]

    return contents


Read = Callable[..., list[tuple[str, str]]]


class TestRows:
    def test_json_lines_go_on_after_a_malformed_one(self, read: Read) -> None:
        data = b'{"id": 1, "text": "x"}\n\n{"id": 2}\n{"id": 3, "text": "\xe9"}\n{"id": 4, "text": "y"}'
        assert read("t.jsonl", data) == [
            ("1", "x"),
            ("t.jsonl:3", 'expected a line {"id": …, "text": …}'),
            ("t.jsonl:4", "not UTF-8 (invalid continuation byte at byte 19); convert it"),
            ("4", "y"),
        ]

    def test_json_columns(self, read: Read) -> None:
        data = '{"id": 1, "image": "a", "caption": "x"}\n{"id": 2, "image": "b", "text": "x"}'
        assert read("t.jsonl", data, id_column="image", text_column="caption") == [
            ("a", "x"),
            ("t.jsonl:2", 'expected a line {"image": …, "caption": …}'),
        ]

    def test_tsv(self, read: Read) -> None:
        assert read("t.tsv", "a\tx\ty\nno\nb\tz\n") == [
            ("a", "x\ty"),
            ("t.tsv:2", "expected id, tab, text; there is no tab"),
            ("b", "z"),
        ]

    def test_tsv_with_named_columns_has_a_header(self, read: Read) -> None:
        data = "n\tcaption\tkey\n1\tx\tA\n2\ty\n3\tz\tC\n"
        assert read("t.tsv", data, id_column="key", text_column="caption") == [
            ("A", "x"),
            ("t.tsv:3", "2 instead of 3 fields"),
            ("C", "z"),
        ]

    def test_plain(self, read: Read) -> None:
        assert read("t.txt", b"\xef\xbb\xbfa\r\n\n \nb\xff\nc") == [
            ("1", "a"),
            ("t.txt:4", "not UTF-8 (invalid start byte at byte 1); convert it"),
            ("5", "c"),
        ]

    def test_ids_twice(self, read: Read) -> None:
        assert read("t.tsv", "a\tx\nb\ty\na\tz\n")[2] == (
            "a",
            "the id 'a' stands here a second time; the first is item 1 of the input",
        )


class TestCsv:
    def test_quotes_commas_and_line_feeds(self, read: Read) -> None:
        data = b'\xef\xbb\xbfid,n,text\r\n1,0,"a, ""b"""\r\n"x\ny",0,"c\n\nd"\r\n\r\n2,0,e\r\n'
        assert read("t.csv", data) == [("1", 'a, "b"'), ("x\ny", "c\n\nd"), ("2", "e")]

    def test_columns(self, read: Read) -> None:
        assert read("t.csv", "image,caption\na.jpg,x\n", id_column="image", text_column="caption") == [("a.jpg", "x")]

    def test_malformed_rows(self, read: Read) -> None:
        data = b'id,text\n1,x\n2\n3,x,y\n4,caf\xe9\n5,"a"b\n6,y\n'
        assert read("t.csv", data) == [
            ("1", "x"),
            ("t.csv:3", "1 instead of 2 fields"),
            ("t.csv:4", "3 instead of 2 fields"),
            ("t.csv:5", "not UTF-8; convert it"),
            ("t.csv:6", "malformed CSV (',' expected after '\"')"),
            ("6", "y"),
        ]

    def test_a_quote_that_never_ends(self, read: Read) -> None:
        rows = read("t.csv", 'id,text\n1,x\n2,"y\n3,z\n')
        assert rows == [("1", "x"), ("t.csv:4", "malformed CSV (unexpected end of data; the row begins in line 3)")]

    def test_a_quote_that_swallows_the_file_does_not_fill_the_memory(
        self, monkeypatch: pytest.MonkeyPatch, read: Read
    ) -> None:
        monkeypatch.setattr(lines, "LONGEST", 1000)
        swallowed = "".join(f"{i},text\n" for i in range(3, 3_000))
        said = "malformed CSV (a row of more than 0 MiB, the most that is read of one; the row begins in line 3)"
        cut = ("t.csv:126", said)  # where there are a thousand characters
        assert read("t.csv", f'id,text\n1,text\n2,"x\n{swallowed}') == [("1", "text"), cut]
        assert read("t.csv", f'id,text\n1,text\n2,"x\n{swallowed}"\n3,end\n')[1:] == [cut, ("3", "end")]

    def test_a_text_may_be_long(self, read: Read) -> None:
        long = 'a "word", ' * 28_000
        quoted = long.replace('"', '""')
        data = f'id,text\r\n1,a dog\r\n4,"{quoted}\r\n6,a cat inside the quotes"\r\n5,a ball\r\n'
        assert read("t.csv", data) == [("1", "a dog"), ("4", f"{long}\r\n6,a cat inside the quotes"), ("5", "a ball")]

    def test_no_row_is_made_of_the_inside_of_a_malformed_one(self, read: Read) -> None:
        rows = read("t.csv", 'id,text\n1,x\n4,"say "hello" to\n6,a cat inside"\n5,a ball\n')
        said = "malformed CSV (',' expected after '\"'; the row begins in line 3)"
        assert rows == [("1", "x"), ("t.csv:4", said), ("5", "a ball")]

    @settings(max_examples=500, deadline=None)
    @given(st.text('ab,"\r\n', max_size=40))
    def test_rows_are_those_of_csv(self, text: str) -> None:
        pieces = text.splitlines(keepends=True)
        try:
            expected = [row for row in csv.reader(pieces, strict=True) if row]
        except csv.Error:
            assert any(isinstance(fields, InputError) for _, fields in lines.separated_rows(pieces, ","))
        else:
            assert [fields for _, fields in lines.separated_rows(pieces, ",")] == expected

    @pytest.mark.parametrize("header", ["", "a,b", "id,id,text", "id;text", "id,Text"])
    def test_a_header_without_the_columns(self, header: str, read: Read) -> None:
        with pytest.raises(InputError, match=r"t\.csv: (the first line has to name a column|no texts)"):
            read("t.csv", f"{header}\n1,x\n" if header else "")


class TestOpening:
    @pytest.mark.parametrize(
        ("name", "data", "message"),
        [
            ("t.jsonl", "no\n", r"t\.jsonl:1: expected a line"),
            ("t.tsv", "\n\nno tab\n", r"t\.tsv:3: expected id, tab, text"),
            ("t.txt", b"\xff\xfea\0", r"t\.txt:1: not UTF-8"),
            ("t.txt", " \n\n", r"t\.txt: no texts"),
            ("t.json", "{}", r"texts are read from a folder of captioned images, \.jsonl, .*; this is none of them"),
        ],
    )
    def test_another_kind_of_file_is_refused_at_once(
        self, name: str, data: str | bytes, message: str, read: Read
    ) -> None:
        with pytest.raises(InputError, match=message):
            read(name, data)

    def test_standard_input(self) -> None:
        with pytest.raises(InputError, match="texts are not read from standard input"):
            open_texts(["-"])

    def test_several_files(self, tmp_path: Path, ids: Ids) -> None:
        (tmp_path / "a.txt").write_text("x\ny\n")
        (tmp_path / "b.txt").write_text("z\n")
        expected = ["a.txt:1", "a.txt:2", "b.txt:1"]
        for specs in ([f"{tmp_path}/*.txt"], [f"{tmp_path}/{{a,b}}.txt"], [f"{tmp_path}/a.txt", f"{tmp_path}/b.txt"]):
            assert ids(open_texts(specs)) == expected

    def test_kinds_may_be_mixed(self, tmp_path: Path, ids: Ids) -> None:
        (tmp_path / "a.tsv").write_text("1\tx\n")
        (tmp_path / "b.jsonl").write_text('{"id": 2, "text": "y"}\n{"id": 1, "text": "y"}\n')
        assert ids(open_texts([f"{tmp_path}/a.tsv", f"{tmp_path}/b.jsonl"])) == ["1", "2", "!1"]

    def test_a_file_that_vanishes_in_between(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("x\n")
        reader = open_texts([str(tmp_path / "a.txt")])
        (tmp_path / "a.txt").unlink()
        (item,) = reader
        assert item == BadItem("a.txt", str(tmp_path / "a.txt"), "cannot be read (No such file or directory)")


class TestCaptions:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name, text in (("a.jpg", "A"), ("b.png", None), ("s/c.jpg", " C\n"), ("d.jpg", b"\xff")):
            (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / name).touch()
            if text is not None:
                caption = (tmp_path / "in" / name).with_suffix(".txt")
                caption.write_bytes(text if isinstance(text, bytes) else text.encode())
        (tmp_path / "in" / "alone.txt").write_text("no image")
        return tmp_path / "in"

    def test_beside_images(self, folder: Path) -> None:
        reader = open_texts([str(folder)])
        first, second, third = reader
        assert first == TextItem("a.jpg", str(folder / "a.txt"), "A")
        assert isinstance(second, BadItem)
        assert (second.id, third.id) == ("d.jpg", "s/c.jpg")
        assert getattr(third, "text", None) == "C"
        assert reader.passed_over == "1 other file passed over: 1 x image without a .txt beside it"

    def test_none(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").touch()
        with pytest.raises(InputError, match=r"no captions; looked for a \.txt file of the same name beside"):
            open_texts([str(tmp_path)])


def test_a_line_longer_than_memory_is_one_bad_line(monkeypatch: pytest.MonkeyPatch, read: Read) -> None:
    monkeypatch.setattr(lines, "LONGEST", 100)
    rows = read("t.tsv", "a\tx\n" + "b\t" + "y" * 1000 + "\nc\tz\n")
    assert [name for name, _ in rows] == ["a", "t.tsv:2", "c"]
    data = b"x" * 100 + b"\n" + b"y" * 101 + b"\n" + b"z" * 350 + b"\nend"
    assert [number for number, _ in numbered_lines(io.BytesIO(data))] == [1, 2, 3, 4]


class Endless(io.RawIOBase):
    """A line without an end."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        buffer[:] = b"a" * len(buffer)
        return len(buffer)


def test_a_line_without_an_end_is_told_before_the_next_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST", 100_000)
    file = io.BufferedReader(Endless())
    number, line = next(lines.numbered_lines(file))
    assert (number, len(line)) == (1, 100_001)
    assert isinstance(next(lines.separated_rows(iter(lambda: file.readline(100_001).decode(), ""), ","))[1], InputError)


def test_rows_of_many_fields(read: Read) -> None:
    wide = "," * 70_000
    rows = read("t.csv", f'id,text\n1,a dog\n{wide}\n"{wide}",{wide}\n2,"{wide}"\n')
    assert [name for name, _ in rows] == ["1", "t.csv:3", "t.csv:4", "2"]
    assert "more than 65,536 fields" in rows[1][1]


def test_long_lists_of_names_are_cut() -> None:
    assert lines.listed(["a", "b"]) == "a, b"
    shown = lines.listed([f"{number}" * 100 for number in range(3000)])
    assert len(shown) < 2000
    assert shown.endswith("…, … (3,000 in all)")
