"""`index.json`: what an index consists of. A file that it does not list is none of the index.

It is replaced as a whole by every change, and holds a hash of itself and of every file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from lexlip_infer.collection.manifest import EncodedWith
from lexlip_infer.errors import OutputError
from lexlip_infer.files import hash_file, read_version
from lexlip_infer.vocabulary import Vocabulary

INDEX_FORMAT_VERSION = 2
INDEX_MANIFEST = "index.json"

#: Names of segments and files; whatever else a manifest says could lead out of the folder.
_SEGMENT = r"[0-9]{6,20}"
_FILE = rf"vocabulary\.json|segments/{_SEGMENT}/[a-z_]+(-[0-9]+)?\.npy"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRecord(_Section):
    """One file.

    Attributes:
        name: path inside of the index, POSIX separators.
        size: bytes.
        sha256: of the contents.
    """

    name: str = Field(pattern=rf"^({_FILE})$")
    size: int = Field(ge=0)
    sha256: str


class SegmentRecord(_Section):
    """Documents that were added together.

    Attributes:
        name: its folder in `segments/`.
        documents: rows, deleted ones included.
        postings: stored impacts.
        impact_bits: of each; 8 where all of them fit.
        files: its arrays.
        deleted: number of deleted rows.
        deletions: the file that lists them; nothing where there are none.
    """

    name: str = Field(pattern=rf"^{_SEGMENT}$")
    documents: int = Field(ge=0)
    postings: int = Field(ge=0)
    impact_bits: Literal[8, 16]
    files: tuple[FileRecord, ...]
    deleted: int = Field(default=0, ge=0)
    deletions: FileRecord | None = None

    @property
    def every_file(self) -> tuple[FileRecord, ...]:
        """The list of deletions included."""
        return self.files if self.deletions is None else (*self.files, self.deletions)


class IndexManifest(_Section):
    """`index.json`.

    Attributes:
        format_version: of the index.
        version: of the package that wrote this state.
        generation: number of changes so far.
        next_segment: number that the next segment gets; none is ever given twice.
        vocabulary: the file of the terms.
        vocab_size: V.
        encoded_with: nothing where the documents are not from lexlip-encode.
        segments: oldest first.
        checksum: sha256 of everything above, as `seal` computes it.
    """

    format_version: int = INDEX_FORMAT_VERSION
    version: str
    generation: int = Field(default=0, ge=0)
    next_segment: int = Field(default=1, ge=1)
    vocabulary: FileRecord
    vocab_size: int = Field(ge=0)
    encoded_with: EncodedWith | None = None
    segments: tuple[SegmentRecord, ...] = ()
    checksum: str = ""

    @property
    def documents(self) -> int:
        """That a search can find."""
        return sum(segment.documents - segment.deleted for segment in self.segments)

    @property
    def deleted(self) -> int:
        """Documents that still take room."""
        return sum(segment.deleted for segment in self.segments)

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """All files but this one."""
        return (self.vocabulary, *(file for segment in self.segments for file in segment.every_file))

    @property
    def size(self) -> int:
        """Bytes of all files but this one."""
        return sum(file.size for file in self.files)

    def digest(self) -> str:
        """What `checksum` has to be."""
        return hashlib.sha256(self.model_dump_json(exclude={"checksum"}).encode()).hexdigest()

    def sealed(self) -> IndexManifest:
        """The same with its checksum."""
        return self.model_copy(update={"checksum": self.digest()})


def read_index_manifest(index: Path) -> IndexManifest:
    """The state of an index.

    Raises:
        OutputError: there is no index, it is damaged, or of another format version.
    """
    path = index / INDEX_MANIFEST
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OutputError(
            f"{index}: no index, {INDEX_MANIFEST} cannot be read ({error.strerror}); build it with lexlip index"
        ) from None
    try:
        version = read_version(data)
        if version != INDEX_FORMAT_VERSION:
            raise OutputError(
                f"{index}: index format {version}; this version reads {INDEX_FORMAT_VERSION}: build it again"
            )
        manifest = IndexManifest.model_validate_json(data)
    except pydantic.ValidationError as error:
        raise OutputError(f"{path}: damaged ({error.errors()[0]['msg']}); build the index again") from None
    if manifest.checksum != manifest.digest():
        raise OutputError(f"{path}: damaged (its checksum does not match); build the index again")
    return manifest


def unreadable(error: OSError) -> OutputError:
    """The error for a file of an index that is missing or cannot be read."""
    if isinstance(error, FileNotFoundError):
        return OutputError(f"{error.filename}: missing; build the index again")
    return OutputError(
        f"{error.filename}: cannot be read ({error.strerror}); make it readable, or build the index again"
    )


def damaged(path: Path, why: str) -> OutputError:
    """The error for a file that is not as it was written."""
    return OutputError(f"{path}: damaged ({why}); build the index again")


def record_file(index: Path, name: str) -> FileRecord:
    """Size and hash of a file as it lies on the disk."""
    path = index / name
    return FileRecord(name=name, size=path.stat().st_size, sha256=hash_file(path))


def read_terms(index: Path, manifest: IndexManifest) -> Vocabulary:
    """The vocabulary of an index.

    Raises:
        FileNotFoundError: it is missing.
        OutputError: it is damaged.
    """
    path = index / manifest.vocabulary.name
    if record_file(index, manifest.vocabulary.name) != manifest.vocabulary:
        raise damaged(path, "its sha256 does not match")
    return Vocabulary(tuple(json.loads(path.read_bytes())))
