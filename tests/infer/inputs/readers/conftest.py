"""Collections made in a temporary folder."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from lexlip_infer.inputs.items import BadItem, ImageItem, Reader, TextItem

Shard = Callable[[Path, Sequence[tuple[str, bytes]]], Path]


@pytest.fixture
def shard() -> Shard:
    """`shard(path, members)`: a tar archive, compressed as its suffix says."""

    def write(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
        mode = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(path.suffix, "w")
        with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
            for name, data in members:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return path

    return write


@pytest.fixture
def fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterable[str]], Path]:
    """Make files whose contents are their names, in a folder that becomes the current one."""
    monkeypatch.chdir(tmp_path)

    def write(names: Iterable[str]) -> Path:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        return tmp_path

    return write


@pytest.fixture
def ids() -> Callable[[Reader[ImageItem] | Reader[TextItem]], list[str]]:
    """Ids of a reader's items; a bad one's has an exclamation mark before it."""
    return lambda reader: ["!" * isinstance(item, BadItem) + item.id for item in reader]
