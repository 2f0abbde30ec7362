"""Damaged collections: items in order under their own ids, bad items, or one InputError; never another exception."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexlip_infer.errors import InputError, MissingExtra
from lexlip_infer.inputs.items import BadItem, ImageItem, TextItem
from lexlip_infer.inputs.readers import open_images, open_texts

#: What a long run makes up can be too long to be worth printing.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

#: Every item's contents name its number, so that contents under another's id would be seen.
COUNT = 12


def content(number: int) -> str:
    """So often the same that no damage makes one number of another."""
    return f"<{f'{number:04}' * 5}>"


def tar(suffix: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{suffix}") as archive:
        for i in range(COUNT):
            for kind, data in (("jpg", content(i)), ("txt", content(i)), ("json", json.dumps({"uid": f"{i:04}"}))):
                member = tarfile.TarInfo(f"{i:04}.{kind}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data.encode()))
    return file.getvalue()


def parquet() -> bytes:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return b""
    rows = [f"{i:04}" for i in range(COUNT)]
    texts = [content(i) for i in range(COUNT)]
    table = pa.table({"id": rows, "image": [text.encode() for text in texts], "text": texts})
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=5, write_page_checksum=True)
    return file.getvalue()


ROWS = [f"{i:04}" for i in range(COUNT)]
FILES = {
    "a.tar": tar(""),
    "a.tar.gz": tar("gz"),
    "a.tar.xz": tar("xz"),
    "a.tar.bz2": tar("bz2"),
    "a.parquet": parquet(),
    "a.jsonl": "".join(f'{{"id": "{row}", "text": "<{row}>"}}\n' for row in ROWS).encode(),
    "a.tsv": "".join(f"{row}\t<{row}>\n" for row in ROWS).encode(),
    "a.csv": ("id,text\n" + "".join(f'{row},"<{row}>"\n' for row in ROWS)).encode(),
    "a.txt": "".join(f"<{row}>\n" for row in ROWS).encode(),
}
#: Their checksums are compared before anything is delivered; gzip and xz have theirs at the end, and that of a bare tar
#: header is a sum, in which two damages can cancel each other.
CHECKED = ["a.tar.bz2", "a.parquet"]
IMAGES = ["a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2", "a.parquet"]


@st.composite
def damaged(draw: st.DrawFn, names: list[str]) -> tuple[str, bytes]:
    name = draw(st.sampled_from(names))
    data = bytearray(FILES[name])
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(len(data), 1))) % (len(data) + 1)
        what = draw(st.sampled_from(["flip", "cut", "insert", "remove", "noise"]))
        if what == "flip" and place < len(data):
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif what == "cut":
            del data[place:]
        elif what == "insert":
            data[place:place] = draw(
                st.sampled_from([b'"', b"\n", b"\t", b"\0", b"\xff", b",", b"{", b"\r", b"9" * 40])
            )
        elif what == "remove":
            del data[place : place + draw(st.integers(1, 600))]
        elif what == "noise":
            data[place:place] = draw(st.binary(max_size=30))
    return name, bytes(data)


def read(opener: Any, path: Path, limited: Any) -> list[Any]:
    with limited():
        try:
            reader = opener([str(path)])
            items = list(reader)
            assert reader.count in (None, len(items)) or any(isinstance(item, BadItem) for item in items)
            return items
        except InputError:
            pass
        except MissingExtra:
            pytest.skip("the extra io is not installed")
    return []


def check(items: list[Any], name: str) -> None:
    good = [item for item in items if not isinstance(item, BadItem)]
    assert len({item.id for item in good}) == len(good)
    for item in good:
        assert isinstance(item, ImageItem | TextItem)
        item.id.encode()
        content = item.source.decode("latin-1") if isinstance(item, ImageItem) else item.text
        # Damage to a line of text may well give it another's id; what has checksums in front of the data may not.
        whole = re.fullmatch(r"<(\d{4})\1{4}>", content)
        assert name not in CHECKED or not whole or item.id == whole[1]
    assert all(len(item.error.splitlines()) == 1 for item in items if isinstance(item, BadItem))


@settings(deadline=None)
@given(file=damaged(IMAGES))
def test_images(file: tuple[str, bytes], limited: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / file[0]
    path.write_bytes(file[1])
    check(read(open_images, path, limited), file[0])


@settings(deadline=None)
@given(file=damaged(sorted(FILES)))
def test_texts(file: tuple[str, bytes], limited: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / file[0]
    path.write_bytes(file[1])
    check(read(open_texts, path, limited), file[0])


@pytest.mark.parametrize("suffix", [".jsonl", ".tsv", ".csv", ".txt", ".tar", ".parquet"])
@settings(deadline=None)
@given(data=st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_noise(suffix: str, data: bytes, limited: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / f"noise{suffix}"
    path.write_bytes(data)
    for item in read(open_texts, path, limited):
        item.id.encode()


@pytest.mark.parametrize("name", sorted(FILES))
def test_undamaged_everything_is_there(name: str, limited: Any, tmp_path: Path) -> None:
    if not FILES[name]:
        pytest.skip("the extra io is not installed")
    (tmp_path / name).write_bytes(FILES[name])
    for opener in (open_images, open_texts) if name in IMAGES else (open_texts,):
        items = read(opener, tmp_path / name, limited)
        assert [item.id for item in items] == ([str(i + 1) for i in range(COUNT)] if name == "a.txt" else ROWS)
        check(items, name)
