"""Files named by size and hash, and faults of manifests in one line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pydantic
import pytest
from pydantic import BaseModel

from lexlip_infer.files import Folder, HashedFile, first_fault, hash_file, read_hashed, read_version


def test_a_file_is_hashed_while_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "g").write_text("old")
    with Folder.open(tmp_path) as folder:
        file = HashedFile("f", folder)
        file.write(b"ab")
        file.write(b"")
        file.write(b"c")
        file.move("g", folder)
    assert [path.name for path in tmp_path.iterdir()] == ["g"]
    assert (tmp_path / "g").read_bytes() == b"abc"
    assert file.size == 3
    assert file.sha256 == hash_file(tmp_path / "g") == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize(("size", "digest"), [(4, hashlib.sha256(b"abc").hexdigest()), (3, "0" * 64)])
def test_changed_contents_are_refused(size: int, digest: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert read_hashed(tmp_path / "f", 3, hash_file(tmp_path / "f"), lambda *_: ValueError()) == b"abc"
    with pytest.raises(KeyError, match="3 ba78" if size == 3 else "3 "):
        read_hashed(tmp_path / "f", size, digest, lambda found, sha256: KeyError(f"{found} {sha256}"))
    with pytest.raises(FileNotFoundError):
        read_hashed(tmp_path / "g", size, digest, lambda *_: ValueError())


class _Manifest(BaseModel):
    inner: dict[str, int]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ('{"inner": {"a\\nb": "x"}}', r"inner.a\nb: Input should be a valid integer"),
        ("{", "contents: Invalid JSON"),
    ],
)
def test_a_fault_is_said_in_one_line(data: str, said: str) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        _Manifest.model_validate_json(data)
    line = first_fault(caught.value, "contents")
    assert line.startswith(said)
    assert "\n" not in line


def test_a_version_is_read_before_all_else() -> None:
    assert read_version(b'{"format_version": 7, "of the future": {}}') == 7
    for data in (b"{}", b"[", b'{"format_version": 0}'):
        with pytest.raises(pydantic.ValidationError):
            read_version(data)
