"""Files of strangers: regular ones of a known size are read, compressed ones no further than is asked for."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexlip_infer.errors import InputError
from lexlip_infer.files.folders import Folder
from lexlip_infer.files.reading import (
    bounded_blocks,
    bounded_lines,
    decompressed,
    hash_file,
    in_bytes,
    open_regular,
    read_regular,
)


def refuse(reason: str) -> InputError:
    return InputError(f"it {reason}")


def test_a_regular_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file", 3, refuse=refuse) == b"abc"
    assert read_regular(tmp_path / "link", 3, refuse=refuse) == b"abc"
    with Folder.open(tmp_path) as folder:
        assert read_regular("file", 3, refuse=refuse, folder=folder) == b"abc"
        with pytest.raises(InputError, match=r"^it is a symbolic link"):
            read_regular("link", 3, refuse=refuse, folder=folder)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "missing", 3, refuse=refuse)


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(5 * 10**12)
    with pytest.raises(InputError, match=r"^it holds 5,000 GB; at most 1 MB are read"):
        read_regular(tmp_path / "file", 10**6, refuse=refuse)


def test_a_file_that_says_nothing_of_its_size_is_read_no_further() -> None:
    with pytest.raises(InputError, match=r"^it grows while it is read"):
        read_regular("/proc/self/status", 10**6, refuse=refuse)


@pytest.mark.parametrize("kind", ["FIFO", "device", "folder"])
def test_special_files_are_refused_and_not_waited_for(kind: str, tmp_path: Path) -> None:
    path = Path("/dev/zero") if kind == "device" else tmp_path / "it"
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(InputError, match=f"^it is a {kind}; expected a regular file"):
        open_regular(path, refuse=refuse)
    with pytest.raises(OSError, match=f"is a {kind}"):
        hash_file(path)


def test_sizes_in_words() -> None:
    assert [in_bytes(size) for size in (17, 2000, 64 * 10**6, 3_210_000_000)] == ["17 bytes", "2 kB", "64 MB", "3.2 GB"]


PACK: dict[Any, Any] = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


def opened(path: Path, data: bytes, compression: Any, limit: int | None = None) -> Any:
    path.write_bytes(data)
    return decompressed(path.open("rb"), compression, refuse=refuse, limit=limit)


@pytest.mark.parametrize("compression", PACK)
def test_members_and_padding(compression: Any, tmp_path: Path) -> None:
    pack, contents = PACK[compression], os.urandom(300_000) + b"a" * 10**6
    for data, expected in (
        (pack(contents), contents),
        (pack(contents) + pack(b"b") + pack(b"") + b"\0" * 200_000 + pack(b"c"), contents + b"bc"),
        (pack(b"") + b"\0\0\0\0", b""),
    ):
        with opened(tmp_path / "file", data, compression) as file:
            assert file.read() == expected


@pytest.mark.parametrize("compression", PACK)
def test_damage_is_called_damage(compression: Any, tmp_path: Path) -> None:
    whole = PACK[compression](os.urandom(1000))
    flipped = whole[:500] + bytes([whole[500] ^ 255]) + whole[501:]
    for data in (whole[:-1], whole[:500], flipped, whole + b"rest", b"", b"no such file"):
        with (
            opened(tmp_path / "file", data, compression) as file,
            pytest.raises(InputError, match=rf"^it is a damaged {compression} file \(.*; copy it again"),
        ):
            file.read()


@pytest.mark.parametrize("compression", PACK)
def test_a_file_expands_as_far_as_it_is_read_and_no_further_than_its_limit(compression: Any, tmp_path: Path) -> None:
    with opened(tmp_path / "file", PACK[compression](b"a" * 10**6), compression, limit=400_000) as file:
        assert file.read(1000) == b"a" * 1000
        with pytest.raises(InputError, match=r"^it expands from .* to more than 400 kB, the most"):
            file.read()
    with opened(tmp_path / "file", PACK[compression](b"a" * 10**6), compression, limit=10**6) as file:
        assert len(file.read()) == 10**6


def test_a_dictionary_is_bounded(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**28}]
    data = lzma.compress(b"a", filters=filters)
    with opened(tmp_path / "file", data, "xz") as file, pytest.raises(InputError, match="asks for more than 134"):
        file.read()


def test_lines_are_bounded(tmp_path: Path) -> None:
    data = gzip.compress(b"one\n\nthree\nno end")

    with opened(tmp_path / "file", data, "gzip") as file:
        assert list(bounded_lines(file, 6, refuse=refuse)) == [b"one\n", b"\n", b"three\n", b"no end"]
    with opened(tmp_path / "file", data, "gzip") as file:
        lines = bounded_lines(file, 5, refuse=refuse)
        assert next(lines) == b"one\n"
        with pytest.raises(InputError, match=r"^it has a line \(number 3\) of more than 5 bytes"):
            list(lines)


@given(
    st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")), max_size=30),
    st.booleans(),
    st.integers(1, 12),
    st.integers(1, 40),
    st.integers(1, 5),
)
def test_blocks_are_the_same_lines(lines: list[bytes], ended: bool, limit: int, size: int, most: int) -> None:
    data = b"\n".join(lines) + b"\n" * ended

    def outcome(given: Callable[[], Iterable[bytes]]) -> bytes | str:
        try:
            return b"".join(given())
        except InputError as error:
            return str(error)

    def blocks() -> Iterator[bytes]:
        expected = 1
        for number, block in bounded_blocks(io.BytesIO(data), limit, size, most, refuse=refuse):
            assert number == expected
            assert block
            assert block.count(b"\n") <= most
            assert block.endswith(b"\n") or data.endswith(block)
            expected += block.count(b"\n")
            yield block

    assert outcome(blocks) == outcome(lambda: bounded_lines(io.BytesIO(data), limit, refuse=refuse))
