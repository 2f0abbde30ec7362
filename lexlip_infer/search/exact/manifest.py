"""`index.json`: what an index consists of. A file that it does not list is none of the index.

It is replaced as a whole by every change, and holds a hash of itself and of every file. Whoever makes an index can
compute those: what else the numbers and names have to be is checked here, before anything is done with them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic
from pydantic import BaseModel, ConfigDict, FailFast, Field

from lexlip_infer.collection.manifest import EncodedWith
from lexlip_infer.errors import OutputError
from lexlip_infer.files import Folder, first_fault, open_regular, read_regular, read_version
from lexlip_infer.vocabulary import Vocabulary
from lexlip_kernels.impact_dot.checks import INT32_MAX
from lexlip_kernels.impact_matrix import MAX_VOCABULARY

INDEX_FORMAT_VERSION = 2
INDEX_MANIFEST, VOCABULARY, SEGMENTS = "index.json", "vocabulary.json", "segments"
ARRAYS = ("term_offsets", "posting_docs", "posting_impacts", "term_max_impacts", "id_offsets", "id_text")
"""Of every segment, a file each."""

MANIFEST_LIMIT = 8_000_000
"""Bytes of `index.json` that are read; a segment takes some 1,500."""

VOCABULARY_LIMIT = 64_000_000
"""Bytes of `vocabulary.json` that are read."""

#: Names of segments, and of files in them; whatever else a manifest says could lead out of the folder.
SEGMENT_NAME = re.compile(r"[0-9]{6,18}")
ARRAY_NAME = re.compile(rf"({'|'.join(ARRAYS)}|deleted-[0-9]{{6,18}})\.npy")

#: A list of strings and nothing else, told without building it; it never backtracks. Anything else may take thirty
#: times the memory of its text, which below `_UNTESTED` bytes does not matter.
_STRINGS = re.compile(rb'\s*+\[\s*+(?>"(?>[^"\\]++|\\.)*+"\s*+,?+\s*+)*+\]\s*+')
_UNTESTED = 1_000_000
_LARGEST = 2**62


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRecord(_Section):
    """One file.

    Attributes:
        name: path inside of the index, POSIX separators.
        size: bytes.
        sha256: of the contents.
    """

    name: str = Field(max_length=100)
    size: int = Field(ge=0, le=_LARGEST)
    sha256: str = Field(max_length=64)


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

    name: str = Field(pattern=rf"^{SEGMENT_NAME.pattern}$")
    documents: int = Field(ge=0, le=INT32_MAX)
    postings: int = Field(ge=0, le=_LARGEST)
    impact_bits: Literal[8, 16]
    files: Annotated[tuple[FileRecord, ...], FailFast()] = Field(max_length=len(ARRAYS))
    deleted: int = Field(default=0, ge=0)
    deletions: FileRecord | None = None

    @pydantic.model_validator(mode="after")
    def _agrees(self) -> Self:
        folder = f"{SEGMENTS}/{self.name}/"
        if {file.name for file in self.files} != {f"{folder}{array}.npy" for array in ARRAYS}:
            raise ValueError(f"segment {self.name} does not list its {len(ARRAYS)} arrays, each once")
        listed = self.deletions is not None and self.deletions.name.removeprefix(f"{folder}deleted-")
        if listed is not False and not SEGMENT_NAME.fullmatch(listed.removesuffix(".npy")):
            raise ValueError(f"segment {self.name} lists its deleted rows in no file of its own")
        if self.deleted > self.documents or (self.deleted > 0) != (self.deletions is not None):
            raise ValueError(f"segment {self.name} counts other deleted documents than it lists")
        return self

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
    generation: int = Field(default=0, ge=0, lt=10**15)
    next_segment: int = Field(default=1, ge=1, lt=10**15)
    vocabulary: FileRecord
    vocab_size: int = Field(ge=0, le=MAX_VOCABULARY)
    encoded_with: EncodedWith | None = None
    segments: Annotated[tuple[SegmentRecord, ...], FailFast()] = ()
    checksum: str = ""

    @pydantic.model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.vocabulary.name != VOCABULARY:
            raise ValueError(f"the vocabulary is in no file of the name {VOCABULARY}")
        numbers = [int(segment.name) for segment in self.segments]
        if len(set(numbers)) != len(numbers):
            raise ValueError("a segment is listed twice")
        if numbers and max(numbers) >= self.next_segment:
            raise ValueError("the next segment has the number of one that is there")
        return self

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


@contextlib.contextmanager
def opened(index: Path) -> Iterator[Folder]:
    """The folder of an index.

    Raises:
        OutputError: there is none.
    """
    try:
        folder = Folder.open(index)
    except OSError as error:
        raise _no_index(index, error) from None
    with folder:
        yield folder


def read_index_manifest(index: Folder) -> IndexManifest:
    """The state of an index.

    Raises:
        OutputError: there is no index, it is damaged, or of another format version.
    """
    path = index.path / INDEX_MANIFEST
    try:
        data = read_regular(INDEX_MANIFEST, MANIFEST_LIMIT, refuse=lambda reason: refused(path, reason), folder=index)
    except OutputError:
        raise
    except OSError as error:
        raise _no_index(index.path, error) from None
    try:
        version = read_version(data)
        if version != INDEX_FORMAT_VERSION:
            raise OutputError(
                f"{index.path}: index format {version}; this version reads {INDEX_FORMAT_VERSION}: build it again"
            )
        manifest = IndexManifest.model_validate_json(data)
    except pydantic.ValidationError as error:
        raise damaged(path, first_fault(error)) from None
    if manifest.checksum != manifest.digest():
        raise damaged(path, "its checksum does not match")
    return manifest


def _no_index(index: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{index}: no index, {INDEX_MANIFEST} cannot be read ({error.strerror}); build it with lexlip index"
    )


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


def refused(path: Path, reason: str) -> OutputError:
    """The error for what `lexlip_infer.files` will not read, from its reason."""
    return OutputError(f"{path}: {reason}; build the index again")


def record_file(index: Folder, name: str) -> FileRecord:
    """Size and hash of a file as it lies on the disk.

    Raises:
        OutputError: it is a link, or no regular file.
        OSError: it cannot be read.
    """
    with open_regular(name, refuse=lambda reason: refused(index.path / name, reason), folder=index) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        return FileRecord(name=name, size=file.tell(), sha256=digest)


def read_terms(index: Folder, manifest: IndexManifest) -> Vocabulary:
    """The vocabulary of an index.

    Raises:
        FileNotFoundError: it is missing.
        OutputError: it is damaged, or larger than VOCABULARY_LIMIT.
    """
    path = index.path / VOCABULARY
    data = read_regular(VOCABULARY, VOCABULARY_LIMIT, refuse=lambda reason: refused(path, reason), folder=index)
    if hashlib.sha256(data).hexdigest() != manifest.vocabulary.sha256:
        raise damaged(path, "its sha256 does not match")
    # Two quotes a string, and a backslash before each one inside: more strings than there are terms are not built.
    too_many = data.count(b'"') - data.count(b"\\") > 2 * manifest.vocab_size
    testable = len(data) <= _UNTESTED or (not too_many and _STRINGS.fullmatch(data))
    try:
        terms = json.loads(data) if testable and not too_many else None
    except (ValueError, RecursionError):
        terms = None
    if not isinstance(terms, list) or len(terms) != manifest.vocab_size:
        raise damaged(path, f"it is no list of {manifest.vocab_size:,} terms")
    try:
        return checked_vocabulary(terms)
    except ValueError as error:
        raise damaged(path, str(error)) from None


def checked_vocabulary(terms: Sequence[str]) -> Vocabulary:
    """The terms of an index.

    Raises:
        ValueError: what keeps these from being such terms.
    """
    try:
        "".join(terms).encode()
    except TypeError:
        raise ValueError("a term is no string") from None
    except UnicodeEncodeError:
        raise ValueError("a term is not valid Unicode") from None
    vocabulary = Vocabulary(tuple(terms))
    if len(vocabulary.ids) != len(terms):
        raise ValueError("a term occurs twice")
    return vocabulary
