"""Caption files and tokens: every way a line can be wrong is one InputError with its file and line."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexlip_infer.errors import BundleError, InputError
from lexlip_infer.inputs.texts import TextTokenizer, read_texts

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path, content: str | bytes) -> list[tuple[str, str]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [(item.id, item.text) for item in read_texts(path)]


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

    def test_an_empty_file_has_no_texts(self, tmp_path: Path) -> None:
        assert read(tmp_path / "t.txt", "") == read(tmp_path / "t.jsonl", b"\xef\xbb\xbf\r\n") == []

    def test_a_very_long_line(self, tmp_path: Path) -> None:
        text = "dog " * 500_000
        assert read(tmp_path / "t.tsv", f"a\t{text}\n") == [("a", text)]

    def test_is_lazy(self, tmp_path: Path) -> None:
        (tmp_path / "t.tsv").write_text("a\tx\nno tab\n")
        texts = read_texts(tmp_path / "t.tsv")
        assert next(texts).text == "x"
        with pytest.raises(InputError, match=":2:"):
            next(texts)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
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

    @pytest.mark.parametrize("name", ["t.csv", "t", "t.jsonl.gz", ".txt"])
    def test_unknown_suffix(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(InputError, match=r"texts are read from \.jsonl, \.tsv, \.txt files"):
            read(tmp_path / name, "a")

    def test_missing_file_and_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"absent\.txt: cannot be read \(No such file"):
            next(read_texts(tmp_path / "absent.txt"))
        (tmp_path / "folder.txt").mkdir()
        with pytest.raises(InputError, match=r"folder\.txt: cannot be read"):
            next(read_texts(tmp_path / "folder.txt"))


class TestTokenizer:
    def test_pads_to_the_longest_of_the_call(self, tokenizer_json: bytes) -> None:
        tokenize = TextTokenizer(tokenizer_json, 12)
        ids, mask = tokenize(["a dog", "two dogs play in the park"])
        assert ids.dtype == mask.dtype == np.int64
        assert ids.shape == mask.shape
        assert mask[1].all()
        assert mask[0].tolist() == [1] * 4 + [0] * (ids.shape[1] - 4)
        assert not ids[0, 4:].any()
        short, _ = tokenize(["a dog"])
        np.testing.assert_array_equal(short, ids[:1, :4])

    @pytest.mark.parametrize("max_length", [3, 5, 12])
    def test_truncates_specials_included(self, tokenizer_json: bytes, max_length: int) -> None:
        tokenize = TextTokenizer(tokenizer_json, max_length)
        ids, mask = tokenize(["a dog runs on the green grass " * 1000])
        assert ids.shape == (1, max_length)
        assert mask.all()
        empty, _ = tokenize([""])
        np.testing.assert_array_equal(ids[0, [0, -1]], empty[0])

    def test_no_text_and_empty_text(self, tokenizer_json: bytes) -> None:
        tokenize = TextTokenizer(tokenizer_json, 12)
        assert [array.shape for array in tokenize([])] == [(0, 0), (0, 0)]
        ids, mask = tokenize(["", "  "])
        assert ids.shape == (2, 2)
        assert mask.all()

    def test_the_files_own_settings_do_not_matter(self, tokenizer_json: bytes) -> None:
        fields = json.loads(tokenizer_json)
        fields["truncation"] = {"direction": "Left", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
        fields["padding"] = {
            "strategy": {"Fixed": 9},
            "direction": "Left",
            "pad_to_multiple_of": 8,
            "pad_id": 3,
            "pad_type_id": 0,
            "pad_token": "[SEP]",
        }
        other = TextTokenizer(json.dumps(fields).encode(), 12)
        texts = ["a dog", "a dog runs on the green grass"]
        for ours, theirs in zip(TextTokenizer(tokenizer_json, 12)(texts), other(texts), strict=True):
            np.testing.assert_array_equal(ours, theirs)

    @pytest.mark.parametrize("text", [None, 3, b"dog", ["dog"], float("nan")])
    def test_only_str(self, tokenizer_json: bytes, text: Any) -> None:
        with pytest.raises(InputError, match=f"must be a str, not {type(text).__name__}"):
            TextTokenizer(tokenizer_json, 12)(["a dog", text])

    def test_a_str_is_not_a_list_of_its_letters(self, tokenizer_json: bytes) -> None:
        with pytest.raises(InputError, match="expected a list"):
            TextTokenizer(tokenizer_json, 12)("a dog")

    def test_half_a_surrogate_pair(self, tokenizer_json: bytes) -> None:
        tokenize = TextTokenizer(tokenizer_json, 12)
        np.testing.assert_array_equal(tokenize(["a \udcff dog"])[0], tokenize(["a ? dog"])[0])

    @pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff\x00", b"null", b'{"model": {"type": "None"}}'])
    def test_garbage(self, data: bytes) -> None:
        with pytest.raises(BundleError, match=r"tokenizer\.json: not a tokenizer"):
            TextTokenizer(data, 12)

    @settings(max_examples=100, deadline=None)
    @given(position=st.floats(0, 1, exclude_max=True), value=st.integers(1, 255))
    def test_a_flipped_byte_is_harmless_or_a_bundle_error(
        self, tokenizer_json: bytes, position: float, value: int
    ) -> None:
        data = bytearray(tokenizer_json)
        data[int(position * len(data))] ^= value
        with contextlib.suppress(BundleError):
            TextTokenizer(bytes(data), 12)
