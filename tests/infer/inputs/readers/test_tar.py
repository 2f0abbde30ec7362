"""Tar shards in webdataset's naming: what is in them, and what is left of them when they break off."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer.errors import InputError
from lexlip_infer.inputs.items import BadItem, ImageItem, TextItem
from lexlip_infer.inputs.readers import open_images, open_texts, tar, tar_archive

Shard = Callable[[Path, Sequence[tuple[str, bytes]]], Path]
Ids = Callable[[Any], list[str]]


def members(number: int, count: int = 3) -> list[tuple[str, bytes]]:
    """Samples of one image (its bytes are its name), caption and record each."""
    return [
        member
        for i in range(count)
        for member in (
            (f"s{number}/{i}.jpg", f"s{number}/{i}.jpg".encode()),
            (f"s{number}/{i}.txt", f" caption {number} {i}\n".encode()),
            (f"s{number}/{i}.json", json.dumps({"uid": 10 * number + i, "alt": f"alt {i}"}).encode()),
        )
    ]


@pytest.fixture
def shards(tmp_path: Path, shard: Shard) -> str:
    for number in range(3):
        shard(tmp_path / f"{number:04}.tar", members(number))
    return f"{tmp_path}/{{0000..0002}}.tar"


class TestReading:
    def test_images(self, shards: str, tmp_path: Path) -> None:
        reader = open_images([shards])
        items = list(reader)
        assert items[0] == ImageItem("s0/0", f"{tmp_path}/0000.tar:s0/0.jpg", b"s0/0.jpg", 8)
        assert [item.id for item in items] == [f"s{number}/{i}" for number in range(3) for i in range(3)]
        assert list(reader) == items
        assert reader.count is None
        assert reader.passed_over == "18 other files passed over: 9 x .json, 9 x .txt"

    def test_a_pattern_and_a_list_of_shards_are_the_same(self, shards: str, tmp_path: Path, ids: Ids) -> None:
        names = [str(tmp_path / f"{number:04}.tar") for number in range(3)]
        assert ids(open_images([f"{tmp_path}/*.tar"])) == ids(open_images(names)) == ids(open_images([shards]))

    def test_captions_have_the_ids_of_their_images(self, shards: str, ids: Ids) -> None:
        texts = list(open_texts([shards]))
        assert [text.id for text in texts] == ids(open_images([shards]))
        assert isinstance(texts[4], TextItem)
        assert texts[4].text == "caption 1 1"

    def test_columns_are_fields_of_the_json(self, shards: str, ids: Ids) -> None:
        expected = [str(10 * number + i) for number in range(3) for i in range(3)]
        assert ids(open_images([shards], id_column="uid")) == expected
        texts = list(open_texts([shards], id_column="uid", text_column="alt"))
        assert [(text.id, getattr(text, "text", None)) for text in texts[:2]] == [("0", "alt 0"), ("1", "alt 1")]

    @pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".TAR"])
    def test_compression(self, suffix: str, tmp_path: Path, shard: Shard, ids: Ids) -> None:
        path = shard(tmp_path / f"a{suffix}", members(0))
        assert ids(open_images([str(path)])) == ["s0/0", "s0/1", "s0/2"]

    def test_keys(self, tmp_path: Path, shard: Shard) -> None:
        names = ["./a.JPG", "b.c.jpg", "d/e.f.png", ".hidden.jpg", "d/._e.jpg", "noext", "g.cls", "x.y/z.jpg"]
        path = shard(tmp_path / "a.tar", [(name, b"x") for name in names])
        reader = open_images([str(path)])
        assert [item.id for item in reader] == ["a", "b", "d/e", "x.y/z"]
        assert reader.passed_over == "2 other files passed over: 1 x .cls, 1 x no suffix"

    def test_one_of_several_images_of_a_sample(self, tmp_path: Path, shard: Shard, ids: Ids) -> None:
        names = ["a.input.jpg", "a.mask.png", "b.input.jpg", "b.mask.png"]
        path = str(shard(tmp_path / "a.tar", [(name, name.encode()) for name in names]))
        assert ids(open_images([path], image_column="mask.png")) == ["a", "b"]
        assert ids(open_images([path])) == ["a", "!a", "b", "!b"]

    @pytest.mark.parametrize("id_column", [None, "uid"])
    @pytest.mark.parametrize("names", list(itertools.permutations(["0.depth.png", "0.jpg", "0.seg.0.png"])))
    def test_the_photograph_is_the_image_whatever_the_order(
        self, names: Sequence[str], id_column: str | None, tmp_path: Path, shard: Shard
    ) -> None:
        record = ("0.json", b'{"uid": "a"}')
        path = shard(tmp_path / "a.tar", [*((name, name.encode()) for name in names), record, ("1.seg.png", b"mask")])
        reader = open_images([str(path)], id_column=id_column)
        item, last = reader
        assert item == ImageItem("a" if id_column else "0", f"{path}:0.jpg", b"0.jpg", 5)
        assert last.id == "1"
        json_too = "" if id_column else ", 1 x .json"
        assert reader.passed_over == f"{2 + (not id_column)} other files passed over: 2 x .png{json_too}"

    def test_two_photographs_of_one_key(self, tmp_path: Path, shard: Shard) -> None:
        path = shard(tmp_path / "a.tar", [("0.seg.png", b"m"), ("0.jpg", b"x"), ("0.png", b"y"), ("0.jpg", b"z")])
        first, second, third = open_images([str(path)])
        assert isinstance(first, ImageItem)
        assert first.source == b"x"
        assert second == BadItem(
            "0", f"{path}:0.png", "0.jpg is the sample's image already; name one with --image-column"
        )
        assert isinstance(third, BadItem)
        assert "a second time" in third.error

    def test_what_is_no_file(self, tmp_path: Path, ids: Ids) -> None:
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            for name, kind in (("d.jpg", tarfile.DIRTYPE), ("l.jpg", tarfile.SYMTYPE), ("f.jpg", tarfile.FIFOTYPE)):
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, "/etc/passwd"
                archive.addfile(member)
            archive.addfile(tarfile.TarInfo("z.jpg"))
        reader = open_images([str(tmp_path / "a.tar")])
        assert ids(reader) == ["z"]
        assert reader.passed_over == "2 other files passed over: 2 x no regular file"

    def test_the_same_key_in_two_shards(self, tmp_path: Path, shard: Shard) -> None:
        for name in "ab":
            shard(tmp_path / f"{name}.tar", [("k.jpg", b"x"), (f"{name}.jpg", b"x")])
        items = list(open_images([f"{tmp_path}/*.tar"]))
        assert [item.id for item in items] == ["k", "a", "k", "b"]
        assert isinstance(items[2], BadItem)
        assert items[2].origin == f"{tmp_path}/b.tar:k.jpg"


class TestJoined:
    @pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
    def test_archives_that_were_joined_with_cat(self, suffix: str, tmp_path: Path, shard: Shard, ids: Ids) -> None:
        parts = [shard(tmp_path / f"{number}{suffix}", members(number)).read_bytes() for number in range(3)]
        (tmp_path / f"all{suffix}").write_bytes(b"".join(parts))
        expected = [f"s{number}/{i}" for number in range(3) for i in range(3)]
        assert ids(open_images([str(tmp_path / f"all{suffix}")])) == expected
        assert ids(open_texts([str(tmp_path / f"all{suffix}")])) == expected

    def test_the_second_may_be_damaged(self, tmp_path: Path, shard: Shard, ids: Ids) -> None:
        first, second = (shard(tmp_path / f"{number}.tar", members(number)).read_bytes() for number in range(2))
        for data in (second[:1024], second[:700], second[:3072], second.replace(b"s1/0.txt", b"s1/0.tx_")):
            (tmp_path / "both.tar").write_bytes(first + data)
            assert ids(open_images([str(tmp_path / "both.tar")]))[-1] == "!both.tar"

    def test_what_is_no_archive_behind_the_end(self, tmp_path: Path, shard: Shard) -> None:
        path = shard(tmp_path / "a.tar", members(0))
        whole = path.read_bytes()
        path.write_bytes(whole + b"no archive" * 100)
        *good, bad = open_images([str(path)])
        assert len(good) == 3
        assert isinstance(bad, BadItem)
        assert "data that is no archive follows its end marker" in bad.error

    @pytest.mark.parametrize("padding", [b"", bytes(512), bytes(700), bytes(20_480), b"\n"])
    def test_padding_behind_the_end_is_none(self, padding: bytes, tmp_path: Path, shard: Shard, ids: Ids) -> None:
        path = shard(tmp_path / "a.tar", members(0))
        path.write_bytes(path.read_bytes() + padding)
        assert ids(open_images([str(path)])) == ["s0/0", "s0/1", "s0/2"]


class TestDamage:
    def test_cut_anywhere_what_came_before_is_kept(self, tmp_path: Path, shard: Shard) -> None:
        whole = shard(tmp_path / "whole.tar", members(0)).read_bytes()
        end = 2 * 512 * len(members(0))  # headers and contents of one block each
        before = -1
        for length in range(1024, end + 512, 256):
            (tmp_path / "cut.tar").write_bytes(whole[:length])
            items = list(open_images([str(tmp_path / "cut.tar")]))
            assert isinstance(items[-1], BadItem)
            assert "cannot be read further" in items[-1].error
            assert items[-1].origin == str(tmp_path / "cut.tar")
            assert [item.id for item in items[:-1]] == [f"s0/{i}" for i in range(len(items) - 1)]
            assert len(items) >= before
            before = len(items)
        assert before == 4

    def test_the_next_shard_is_read_all_the_same(self, shards: str, tmp_path: Path, ids: Ids) -> None:
        data = (tmp_path / "0001.tar").read_bytes()
        (tmp_path / "0001.tar").write_bytes(data[:1500])
        assert ids(open_images([shards])) == ["s0/0", "s0/1", "s0/2", "s1/0", "!0001.tar", "s2/0", "s2/1", "s2/2"]

    def test_a_damaged_header_in_the_middle_is_no_end(self, tmp_path: Path, shard: Shard, ids: Ids) -> None:
        path = shard(tmp_path / "a.tar", members(0))
        data = bytearray(path.read_bytes())
        data[6 * 512 + 20] ^= 1
        path.write_bytes(bytes(data))
        assert ids(open_images([str(path)])) == ["s0/0", "!a.tar"]

    @pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz"])
    def test_compressed_and_cut(self, suffix: str, tmp_path: Path, shard: Shard) -> None:
        path = shard(tmp_path / f"a{suffix}", members(0, 60))
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 3 // 4])
        try:
            *good, last = open_images([str(path)])
        except InputError as error:  # one block holds everything: nothing comes out at all
            assert "cannot be read further" in str(error)  # noqa: PT017
        else:
            assert isinstance(last, BadItem)
            assert [item.id for item in good] == [f"s0/{i}" for i in range(len(good))]

    @pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz"])
    def test_a_wrong_checksum_at_the_very_end(self, suffix: str, tmp_path: Path, shard: Shard) -> None:
        path = shard(tmp_path / f"a{suffix}", members(0))
        data = bytearray(path.read_bytes())
        data[-6 if suffix == ".tar.gz" else -20] ^= 1
        path.write_bytes(bytes(data))
        try:
            *_, last = open_images([str(path)])
        except InputError as error:
            last = BadItem("", "", str(error))
        assert isinstance(last, BadItem)
        assert "cannot be read further" in last.error

    def test_compression_is_told_by_the_bytes(self, tmp_path: Path, shard: Shard, ids: Ids) -> None:
        shard(tmp_path / "a.tgz", members(0)).rename(tmp_path / "a.tar")
        assert ids(open_images([str(tmp_path / "a.tar")])) == ["s0/0", "s0/1", "s0/2"]

    def test_members_that_are_too_large(self, tmp_path: Path, shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tar, "MAX_FILE_BYTES", 2**20)
        path = shard(tmp_path / "a.tar", [("a.jpg", b"x"), ("b.jpg", bytes(2**20 + 1)), ("c.jpg", b"x")])
        _, bad, _ = open_images([str(path)])
        assert isinstance(bad, BadItem)
        assert bad.error == "larger than 1 MiB, the most that is read out of archives, tables and the network"

    def test_texts_that_are_too_large(self, tmp_path: Path, shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (tar, tar_archive):
            monkeypatch.setattr(module, "LONGEST", 2**20)
        path = shard(tmp_path / "a.tar", [("a.txt", b"x"), ("b.txt", bytes(2**20 + 1))])
        _, bad = open_texts([str(path)])
        assert isinstance(bad, BadItem)
        assert bad.error == "b.txt is larger than 1 MiB, the most that is read of a text"

    @pytest.mark.parametrize("id_column", [None, "uid"])
    def test_one_key_for_all_does_not_fill_the_memory(
        self, id_column: str | None, tmp_path: Path, shard: Shard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tar, "MAX_FILE_BYTES", 2**20)
        path = shard(tmp_path / "a.tar", [(f"IMG.{i:04}.jpg", bytes(10_000)) for i in range(500)])
        reader = open_images([str(path)], id_column=id_column)
        tracemalloc.start()
        kinds = [type(item).__name__ for item in reader]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert kinds == ["ImageItem"] * (id_column is None) + ["BadItem"] * (499 + (id_column is not None))
        assert peak < 2_500_000

    @pytest.mark.parametrize(
        ("record", "message"),
        [
            (b"{", "the .json of the sample is malformed"),
            (b"[" * 10**5, "the .json of the sample is malformed"),
            (b"[]", "is not an object"),
            (b"{}", '"uid" is missing; expected a string or a number'),
            (b'{"uid": 1.5}', '"uid" is a float'),
            (b'{"uid": "\\ud800"}', "not valid Unicode"),
            (b"\xff", "not UTF-8"),
            (None, "the sample has no .json"),
        ],
    )
    def test_bad_records(self, record: bytes | None, message: str, tmp_path: Path, shard: Shard) -> None:
        bad = [("a.jpg", b"x")] + ([] if record is None else [("a.json", record)])
        path = shard(tmp_path / "a.tar", [*bad, ("b.jpg", b"x"), ("b.json", b'{"uid": "B"}')])
        first, second = open_images([str(path)], id_column="uid")
        assert isinstance(first, BadItem)
        assert message in first.error
        assert second.id == "B"

    def test_a_caption_that_is_no_text(self, tmp_path: Path, shard: Shard) -> None:
        path = shard(tmp_path / "a.tar", [("a.txt", b"caf\xe9"), ("b.txt", b"\xef\xbb\xbfb")])
        first, second = open_texts([str(path)])
        assert isinstance(first, BadItem)
        assert "not UTF-8" in first.error
        assert isinstance(second, TextItem)
        assert second.text == "b"

    def test_names_that_are_no_unicode(self, tmp_path: Path) -> None:
        member = tarfile.TarInfo("caf\udce9.jpg")
        with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as archive:
            archive.addfile(member)
        (item,) = open_images([str(tmp_path / "a.tar")])
        assert isinstance(item, BadItem)

    @pytest.mark.parametrize("data", [b"", b"x", b"not a tar archive" * 100, bytes(10_240), b"\x1f\x8b" + bytes(99)])
    def test_no_archive_is_refused_at_once(self, data: bytes, tmp_path: Path) -> None:
        (tmp_path / "a.tar").write_bytes(data)
        with pytest.raises(InputError, match=r"a\.tar: (the archive cannot be read further|no images; saw)"):
            open_images([str(tmp_path / "a.tar")])

    def test_nothing_to_take_is_refused_at_once(self, tmp_path: Path, shard: Shard) -> None:
        path = shard(tmp_path / "a.tar", [("a.cls", b"1"), ("b.cls", b"2")])
        with pytest.raises(InputError, match=r"a\.tar: no images; saw 2 x \.cls"):
            open_images([str(path)])


def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for i in range(3000):
            member = tarfile.TarInfo(f"{i}.jpg")
            member.size = 2000
            archive.addfile(member, io.BytesIO(bytes(2000)))
    reader = open_images([str(tmp_path / "a.tar")])
    tracemalloc.start()
    for number, _ in enumerate(reader):
        if number == 300:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - before < 400_000  # 2,700 headers alone would be more, the images 5.4 MB


def header(name: str, size: int, kind: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def record(key: str, value: str) -> bytes:
    """A line of a pax header; its length counts itself."""
    size = len(f" {key}={value}\n")
    size += len(str(size + len(str(size))))
    return f"{size} {key}={value}\n".encode()


class TestHeaders:
    """What stands before a member is read under a limit, whatever it says of its size."""

    @pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE])
    @pytest.mark.parametrize("count", [1, 4])
    def test_too_long(self, kind: bytes, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        text = record("comment", "a" * 3000) if kind == tarfile.XHDTYPE else b"a" * 3000 + b"\0"
        extension = header("long", len(text), kind) + padded(text)
        first, second = (header(name, 1, tarfile.REGTYPE) + padded(b"x") for name in ("b.jpg", "c.jpg"))
        path = tmp_path / "a.tar"
        path.write_bytes(first + extension * count + second + bytes(1024))
        monkeypatch.setattr(tar_archive, "_LONGEST_HEADER", 3500 * count)
        assert not any(isinstance(item, BadItem) for item in open_images([str(path)]))
        monkeypatch.setattr(tar_archive, "_LONGEST_HEADER", 3500 * count - 600 * count)
        good, bad = open_images([str(path)])
        assert isinstance(good, ImageItem)
        assert isinstance(bad, BadItem)
        assert "name and attributes take more than" in bad.error

    def test_those_for_all_members_add_up(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tar_archive, "_LONGEST_HEADER", 2000)
        data = b""
        for number in range(4):
            text = record(f"key{number}", "a" * 900)
            data += header("all", len(text), tarfile.XGLTYPE) + padded(text)
            data += header(f"{number}.jpg", 1, tarfile.REGTYPE) + padded(b"x")
        (tmp_path / "a.tar").write_bytes(data + bytes(1024))
        *good, bad = open_images([str(tmp_path / "a.tar")])
        assert len(good) == 2
        assert isinstance(bad, BadItem)

    def test_maps_of_holes(self, tmp_path: Path) -> None:
        text = record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.name", "b.jpg")
        newer = header("pax", len(text), tarfile.XHDTYPE) + padded(text) + header("x", 512, tarfile.REGTYPE)
        for sparse in (newer + padded(b"1\n0\n1\n"), header("b.jpg", 1, tarfile.GNUTYPE_SPARSE) + padded(b"x")):
            first = header("a.jpg", 1, tarfile.REGTYPE) + padded(b"x")
            (tmp_path / "a.tar").write_bytes(first + sparse + bytes(1024))
            _, bad = open_images([str(tmp_path / "a.tar")])
            assert isinstance(bad, BadItem)
            assert "archive it without --sparse" in bad.error

    def test_a_sample_of_many_files(self, tmp_path: Path, shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tar_archive, "_MOST_FIELDS", 2)
        path = shard(tmp_path / "a.tar", [(f"a.{i}.jpg", b"x") for i in range(5)])
        items = list(open_images([str(path)]))
        assert len(items) == 5
        assert [isinstance(item, BadItem) for item in items] == [False, True, True, True, True]


def test_a_large_member_is_read_in_pieces(tmp_path: Path, shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_archive, "_PIECE", 1000)
    data = bytes(range(256)) * 10
    (item,) = open_images([str(shard(tmp_path / "a.tar.gz", [("a.jpg", data)]))])
    assert isinstance(item, ImageItem)
    assert item.source == data
