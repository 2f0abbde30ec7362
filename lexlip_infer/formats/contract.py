"""What an output format is: a name, a few facts for people, and a writer over the one stream of documents.

Every writer takes chunks of (ids, impacts) and gives bytes. What can be written at once comes from `add`; what needs
all documents first (an inverted file, a trailer) comes from `finish`. Writers open no output file: whole, durable
files are the business of whoever holds the stream. `TextWriter` is the base of every format that is a piece of text a
document, `Spool` holds what a writer has to put aside.
"""

from __future__ import annotations

import re
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from pathlib import Path
from typing import IO, TYPE_CHECKING, ClassVar, Protocol

from lexlip_infer.errors import InputError
from lexlip_infer.formats.limits import Limits, check_vocabulary, encode
from lexlip_infer.impacts.terms import check_shapes

if TYPE_CHECKING:
    from lexlip_infer.vocabulary import Vocabulary
    from lexlip_kernels.impact_matrix import ImpactMatrix

#: A text as JSON.
quote = encode_basestring

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

#: Of what is put aside: bytes that stay in memory, and those that are read at a time.
_IN_MEMORY = 16 * 2**20
_PIECE = 2**20


@dataclass(frozen=True, slots=True)
class FormatSettings:
    """Choices that belong to a format; each writer looks at those that concern it.

    Attributes:
        field: name of the vector's field or column in the engine.
        collection: name of the collection, where a line names it (Vespa's namespace and document type).
        replace_dots: text that stands for each dot of a term, for Elasticsearch; None refuses such terms.
        indexed: whether the engine is going to index the vectors (pgvector indexes at most 1,000 terms a vector).
        tokens: add the terms' strings (Parquet).
        scale: of the quantiser, if known; recorded where the format has room for it.
        scratch: folder for what a writer has to put aside; None means the system's.

    Raises:
        InputError: a name is no plain identifier, which every engine takes.
    """

    field: str = "lexlip"
    collection: str = "lexlip"
    replace_dots: str | None = None
    indexed: bool = True
    tokens: bool = False
    scale: float | None = None
    scratch: Path | None = None

    def __post_init__(self) -> None:
        for what, name in (("field", self.field), ("collection", self.collection)):
            if not _NAME.fullmatch(name):
                raise InputError(
                    f"{what} name {name!r}: expected an ASCII letter, then letters, digits and underscores"
                )


class FormatWriter(Protocol):
    """Turns documents into the bytes of one file; use it once."""

    def add(self, ids: Sequence[str], impacts: ImpactMatrix) -> bytes:
        """Take the next documents; how they are cut into calls leaves no trace in the file.

        Args:
            ids: (N,) document ids.
            impacts: (N, V) over the vocabulary that the writer was opened with.

        Raises:
            InputError: ids and impacts do not fit together, or a document breaks a rule of the format; the message
                names the document.

        Returns:
            The bytes that are ready, perhaps none.
        """
        ...

    def finish(self) -> Iterator[bytes]:
        """The rest of the file, piece by piece."""
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """One output format.

    Attributes:
        name: as `--to` takes it.
        suffix: of its files.
        open: makes a writer. Raises MissingExtra where the format needs a package that is not installed, and
            InputError for a vocabulary that it cannot hold.
        purpose: who reads it, for people.
        constraints: what it refuses or does not keep, for people.
        options: fields of FormatSettings that its writer looks at, beyond `scale` and `scratch`.
        uses_term_ids: whether its files hold term ids, which mean nothing without the vocabulary that numbers them.
    """

    name: str
    suffix: str
    open: Callable[[Vocabulary, FormatSettings], FormatWriter]
    purpose: str
    constraints: str
    options: tuple[str, ...] = ()
    uses_term_ids: bool = False


class TextWriter(ABC):
    """Subclasses say what one document looks like, and what the engine takes.

    Attributes:
        limits: the engine's rules.
        opening: before the first document, and of an empty file.
        separator: between two documents.
        closing: after the last.
        after_impact: in `vector`.
    """

    limits: ClassVar[Limits]
    opening: ClassVar[str] = ""
    separator: ClassVar[str] = ""
    closing: ClassVar[str] = ""
    after_impact: ClassVar[str] = ""

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:
        check_vocabulary(vocabulary.terms)
        self.vocabulary = vocabulary
        self.settings = settings
        self._keys = [self.key(number, term) for number, term in enumerate(vocabulary.terms)]
        self._begun = False

    def key(self, number: int, term: str) -> str:  # noqa: ARG002
        """What stands before the impact of a term: a JSON key, unless a subclass writes another."""
        return f"{quote(term)}:"

    def vector(self, terms: list[int], impacts: list[int]) -> str:
        """Keys and impacts, with commas between them."""
        keys, after = self._keys, self.after_impact
        return ",".join([f"{keys[term]}{impact}{after}" for term, impact in zip(terms, impacts, strict=True)])

    @abstractmethod
    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:
        """One document.

        Args:
            name: its id.
            terms: term ids, ascending.
            impacts: of these terms.

        Raises:
            InputError: a rule that only this format has.
        """

    def check(self, ids: Sequence[str], impacts: ImpactMatrix) -> None:
        """The engine's rules; subclasses add theirs."""
        self.limits.check(ids, impacts)

    def documents(self, ids: Sequence[str], impacts: ImpactMatrix) -> list[str]:
        """(N,) texts of documents that have been checked."""
        check_shapes(ids, impacts, len(self.vocabulary))
        impacts.validate()
        self.check(ids, impacts)
        bounds = impacts.indptr.tolist()
        terms, values = impacts.indices.tolist(), impacts.impacts.tolist()
        return [
            self.document(name, terms[start:end], values[start:end])
            for name, start, end in zip(ids, bounds, bounds[1:], strict=False)
        ]

    def add(self, ids: Sequence[str], impacts: ImpactMatrix) -> bytes:
        """See `FormatWriter.add`."""
        texts = self.documents(ids, impacts)
        if not texts:
            return b""
        before, self._begun = self.separator if self._begun else self.opening, True
        return encode(before + self.separator.join(texts), ids)

    def finish(self) -> Iterator[bytes]:
        """See `FormatWriter.finish`."""
        yield (("" if self._begun else self.opening) + self.closing).encode()


class Spool:
    """Bytes put aside, written first, then read: in memory while they are few, then in a file without a name.

    What is on disk disappears with the process, however that ends.

    Args:
        folder: for the file; None means the system's folder for temporary files.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=None if folder is None else str(folder))  # noqa: SIM115
        # A writer may be dropped half-way; the file then closes with it.
        weakref.finalize(self, self._file.close)
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append."""
        self._file.write(data)
        self.size += len(data)

    def read(self, start: int, size: int) -> bytes:
        """`size` bytes from `start`."""
        self._file.seek(start)
        return self._file.read(size)

    def pieces(self) -> Iterator[bytes]:
        """Everything, piece by piece."""
        for start in range(0, self.size, _PIECE):
            yield self.read(start, _PIECE)
