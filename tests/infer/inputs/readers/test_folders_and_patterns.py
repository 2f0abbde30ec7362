"""Which files are found, in which order, and under which ids."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexlip_infer.errors import InputError
from lexlip_infer.inputs.items import BadItem, ImageItem
from lexlip_infer.inputs.readers import open_images
from lexlip_infer.inputs.readers.patterns import expand_braces, leads_to_match, matches, split_pattern, walk
from lexlip_infer.inputs.readers.places import LocalPlace

Fill = Callable[[Iterable[str]], Path]
Ids = Callable[[Any], list[str]]

FILES = ["in/a.png", "in/a-1.png", "in/a/z.png", "in/b/c.png", "in/b/d/e.JPG", "in/b/n.txt", "in/.h/x.png", "out/a.png"]


class TestFolders:
    def test_items(self, fill: Fill) -> None:
        fill(FILES)
        reader = open_images(["in"])
        items = list(reader)
        assert items[0] == ImageItem("a-1.png", "in/a-1.png", Path("in/a-1.png"), len("in/a-1.png"))
        assert [item.id for item in items] == ["a-1.png", "a.png", "a/z.png", "b/c.png", "b/d/e.JPG"]
        assert reader.count == 5
        assert reader.passed_over == "1 other file passed over: 1 x .txt"
        assert list(reader) == items
        assert reader.passed_over == "1 other file passed over: 1 x .txt"

    def test_one_directory_at_a_time(self, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
        fill(f"{folder}/{i}.png" for folder in "abc" for i in range(3))
        listed = []
        real = os.scandir
        monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or real(path))
        items = iter(open_images(["."]))
        listed.clear()
        seen = [(next(items).id, list(listed)) for _ in range(9)]
        assert [folders for _, folders in seen] == [[".", "a"]] * 3 + [[".", "a", "b"]] * 3 + [[".", "a", "b", "c"]] * 3

    @settings(max_examples=60, deadline=None)
    @given(st.sets(st.lists(st.sampled_from(["a", "a-", "a.png", "a0", "é", "~"]), min_size=1, max_size=3).map(tuple)))
    def test_order_is_that_of_the_whole_ids(
        self, tmp_path_factory: pytest.TempPathFactory, paths: set[tuple[str, ...]]
    ) -> None:
        root = tmp_path_factory.mktemp("walk")
        for parts in sorted(paths):
            path = root.joinpath(*parts).with_suffix(".x.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        found = [found.path for found in walk(LocalPlace(root))]
        assert found == sorted(found)
        assert len(found) == len({path for path in root.rglob("*") if path.is_file()})

    def test_deep_folders(self, tmp_path: Path) -> None:
        folder = tmp_path
        for _ in range(400):  # deeper than recursion through generators goes well
            folder /= "d"
        folder.mkdir(parents=True)
        (folder / "a.png").touch()
        assert [item.id for item in open_images([str(tmp_path)])] == ["d/" * 400 + "a.png"]

    def test_an_id_that_is_no_unicode_is_a_bad_item_in_its_place(self, fill: Fill) -> None:
        fill(["in/a.png", "in/z.png"])
        try:
            Path(os.fsdecode(b"in/caf\xe9.png")).touch()
        except OSError:
            pytest.skip("this file system refuses such a name")
        first, second, third = open_images(["in"])
        assert isinstance(second, BadItem)
        assert "not valid Unicode" in second.error
        assert (first.id, third.id) == ("a.png", "z.png")

    def test_a_file_that_vanishes_is_still_an_item(self, fill: Fill) -> None:
        fill(["in/a.png", "in/b.png"])
        items = iter(open_images(["in"]))
        first = next(items)
        Path("in/b.png").unlink()
        second = next(items)
        assert (first.id, second.id) == ("a.png", "b.png")
        assert isinstance(second, ImageItem)
        assert second.size == -1


class TestPatterns:
    @pytest.mark.parametrize(
        ("spec", "expected"),
        [
            ("in/*.png", ["a-1.png", "a.png"]),
            ("in/**/*.png", ["a-1.png", "a.png", "a/z.png", "b/c.png"]),
            ("in/*/*", ["a/z.png", "b/c.png"]),
            ("in/b/**", ["c.png", "d/e.JPG"]),
            ("in/[ab]/?.png", ["a/z.png", "b/c.png"]),
            ("*/a.png", ["in/a.png", "out/a.png"]),
            ("./in/*.png", ["a-1.png", "a.png"]),
        ],
    )
    def test_matches(self, spec: str, expected: list[str], fill: Fill, ids: Ids) -> None:
        root = fill(FILES)
        assert ids(open_images([spec])) == expected
        assert ids(open_images([f"{root}/{spec}"])) == expected

    def test_other_folders_are_not_listed(self, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
        fill([*FILES, "in/big/x.png"])
        (Path("in/big")).chmod(0o700)
        listed = []
        real = os.scandir
        monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or real(path))
        list(open_images(["in/a*/*.png"]))
        assert set(listed) == {"in", "in/a"}

    def test_a_name_with_brackets_is_a_name(self, fill: Fill, ids: Ids) -> None:
        fill(["in[1]/a.png", "{b}/a.png", "{c,d}/a.png"])
        assert ids(open_images(["in[1]"])) == ids(open_images(["{b}"])) == ids(open_images(["{c,d}"])) == ["a.png"]

    def test_nothing_matches(self, fill: Fill) -> None:
        fill(FILES)
        with pytest.raises(InputError, match=r"in/\*\.gif: no images; .* saw no file that matches"):
            open_images(["in/*.gif"])
        with pytest.raises(InputError, match=r"in/b/\*\.txt: no images; .* saw 1 x \.txt"):
            open_images(["in/b/*.txt"])
        with pytest.raises(InputError, match=r"absent: cannot be read"):
            open_images(["absent/*.png"])

    @given(st.lists(st.sampled_from(["a", "b", "ab"]), max_size=4), st.lists(st.sampled_from(["**", "*", "a", "?b"])))
    def test_whatever_matches_was_led_to(self, parts: list[str], pattern: list[str]) -> None:
        if matches(parts, pattern):
            assert all(leads_to_match(parts[:depth], pattern) for depth in range(len(parts)))

    def test_split(self) -> None:
        assert split_pattern("/a/b*/c") == ("/a", ("b*", "c"))
        assert split_pattern("/*") == ("/", ("*",))
        assert split_pattern("*") == (".", ("*",))
        assert split_pattern("s3://bucket/x/**/y?") == ("s3://bucket/x", ("**", "y?"))


class TestBraces:
    @pytest.mark.parametrize(
        ("spec", "expected"),
        [
            ("a", ["a"]),
            ("{a,b}c", ["ac", "bc"]),
            ("{08..11}", ["08", "09", "10", "11"]),
            ("{8..11}", ["8", "9", "10", "11"]),
            ("{3..1}", ["3", "2", "1"]),
            ("{a,b}{0..1}", ["a0", "a1", "b0", "b1"]),
            ("{a}{}{..}", ["{a}{}{..}"]),
            ("{,x}", ["", "x"]),
            ("{1..2", ["{1..2"]),
        ],
    )
    def test_expansion(self, spec: str, expected: list[str]) -> None:
        assert expand_braces(spec) == expected

    @pytest.mark.parametrize("spec", ["{0..999999999999}", "{0..9999}{0..9999}", "{0..999}{0..999}{0,1}"])
    def test_too_many(self, spec: str) -> None:
        with pytest.raises(InputError, match=r"stands for [\d,]+ names; at most 1,000,000"):
            expand_braces(spec)


class TestSeveral:
    def test_ids_start_where_the_roots_part(self, fill: Fill, ids: Ids) -> None:
        root = fill(["x/2023/p/a.png", "x/2024/p/a.png"])
        expected = ["2023/p/a.png", "2024/p/a.png"]
        assert ids(open_images(["x/2023/p", "x/2024/p"])) == expected
        assert ids(open_images([str(root / "x" / "2023" / "p"), "x/2024/p/*.png"])) == expected
        assert ids(open_images(["x/{2023,2024}/p"])) == expected
        assert ids(open_images(["x/2023/p/a.png", "x/2024/p"])) == expected

    def test_files_of_one_folder_need_no_prefix(self, fill: Fill, ids: Ids) -> None:
        fill(["x/a.png", "x/b.png"])
        assert ids(open_images(["x/b.png", "x/a.png"])) == ["b.png", "a.png"]

    def test_counts_and_others_are_summed(self, fill: Fill) -> None:
        fill(FILES)
        reader = open_images(["in/a", "in/b", "out"])
        assert reader.count == len(list(reader)) == 4
        assert reader.passed_over == "1 other file passed over: 1 x .txt"

    def test_the_same_file_twice(self, fill: Fill) -> None:
        fill(["x/a.png", "x/b.png"])
        *_, last = items = list(open_images(["x", "x/a.png"]))
        assert len(items) == 3
        assert last == BadItem(
            "a.png", "x/a.png", "the id 'a.png' stands here a second time; the first is item 1 of the input"
        )

    def test_neighbours_are_sorted_each_for_itself(self, fill: Fill, ids: Ids) -> None:
        fill(["b/1.png", "a/1.png"])
        assert ids(open_images(["b", "a"])) == ["b/1.png", "a/1.png"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("specs", "message"),
        [
            (["absent"], "absent: no such file or folder"),
            (["in", "absent"], "absent: no such file or folder"),
            (["{in,absent}"], "absent: no such file or folder"),
            ([""], "an empty path was given"),
            ([], "expected a list of paths"),
            ("in", "expected a list of paths"),
            (["in/b/n.zip"], r"in/b/n\.zip: images are read from a folder, .*; this is none of them"),
            (["empty"], "empty: no images; looked for .* saw no files at all"),
            (["x" * 300], r"cannot be read \(File name too long\)"),
        ],
    )
    def test_specs(self, specs: Any, message: str, fill: Fill) -> None:
        fill([*FILES, "in/b/n.zip"])
        Path("empty").mkdir()
        with pytest.raises(InputError, match=message):
            open_images(specs)


def test_sorted_strictly_so_that_ids_are_unique(fill: Fill) -> None:
    fill(FILES)
    assert all(a.id < b.id for a, b in pairwise(open_images(["in"])))
