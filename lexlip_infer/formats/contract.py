"""What an output format is: a name, a few facts for people, and a writer over the one stream of documents.

Every writer takes chunks of (ids, impacts) and gives bytes. What can be written at once comes from `add`; what needs
all documents first (an inverted file, a trailer) comes from `finish`. Writers open no output file: whole, durable
files are the business of whoever holds the stream.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from lexlip_infer.vocabulary import Vocabulary
    from lexlip_kernels.impact_matrix import ImpactMatrix

__all__ = ["Format", "FormatSettings", "FormatWriter"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


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
        purpose: who reads it, for people.
        constraints: what it refuses or does not keep, for people.
        options: fields of FormatSettings that its writer looks at, beyond `scale` and `scratch`.
        uses_term_ids: whether its files hold term ids, which mean nothing without the vocabulary that numbers them.
        open: makes a writer. Raises MissingExtra where the format needs a package that is not installed, and
            InputError for a vocabulary that it cannot hold.
    """

    name: str
    suffix: str
    purpose: str
    constraints: str
    options: tuple[str, ...]
    uses_term_ids: bool
    open: Callable[[Vocabulary, FormatSettings], FormatWriter]
