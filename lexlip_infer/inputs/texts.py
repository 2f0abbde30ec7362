"""Texts: from caption files to (id, text), and from texts to the token ids a backbone takes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from lexlip_infer.errors import BundleError, InputError
from lexlip_infer.inputs.lines import read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["TEXT_SUFFIXES", "TextTokenizer", "read_texts", "read_tokenizer"]

TEXT_SUFFIXES = (".jsonl", ".tsv", ".txt")


def read_tokenizer(data: bytes) -> Tokenizer:
    """The tokenizer in the contents of a `tokenizer.json`.

    Raises:
        BundleError: the data are not a tokenizer.
    """
    try:
        return Tokenizer.from_buffer(data)
    except Exception as error:  # noqa: BLE001  (tokenizers raises bare Exception)
        raise BundleError(f"tokenizer.json: not a tokenizer ({error})") from None


class TextTokenizer:
    """A tokenizer with the bundle's truncation, padding to the longest text of a call.

    Args:
        data: contents of `tokenizer.json`.
        max_length: tokens kept, special ones included.

    Raises:
        BundleError: the data are not a tokenizer.
    """

    def __init__(self, data: bytes, max_length: int) -> None:
        self.tokenizer = read_tokenizer(data)
        self.tokenizer.enable_truncation(max_length)
        self.tokenizer.enable_padding()

    def __call__(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Token ids and attention mask, (B, L) each, padded with id 0 and mask 0; (0, 0) of no text.

        Raises:
            InputError: something in the list is not a str, or the list is a str itself.
        """
        if isinstance(texts, str):
            raise InputError("a single str was given; expected a list of texts: [text]")
        encodings = self.tokenizer.encode_batch([_checked(text) for text in texts])
        shape = (len(encodings), len(encodings[0].ids) if encodings else 0)
        ids = np.array([encoding.ids for encoding in encodings], np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
        return ids.reshape(shape), mask.reshape(shape)


def _checked(text: str) -> str:
    if not isinstance(text, str):
        raise InputError(f"a text must be a str, not {type(text).__name__}")
    # Undecodable bytes from a file name or terminal: the tokenizer takes valid Unicode only.
    return text.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class TextItem:
    """One text and its id."""

    id: str
    text: str


def read_texts(path: Path) -> Iterator[TextItem]:
    """Texts of a file, one a line, in order.

    `.jsonl` lines are `{"id": …, "text": …}`; `.tsv` lines are id, tab, text; `.txt` lines are texts, whose
    id is the line number, from 1. What ends a line, and which are passed over: see `read_lines`.

    Raises:
        InputError: the file is missing, of another kind, not UTF-8, malformed, or holds an id twice.
    """
    parse = {".jsonl": _parse_json, ".tsv": _parse_tsv, ".txt": _parse_plain}.get(path.suffix.lower())
    if parse is None:
        raise InputError(f"{path}: texts are read from {', '.join(TEXT_SUFFIXES)} files")
    seen: set[str] = set()
    for number, line in read_lines(path):
        item = parse(path, number, line)
        if item.id in seen:
            raise InputError(f"{path}:{number}: the id {item.id!r} stands here a second time")
        seen.add(item.id)
        yield item


def _parse_json(path: Path, number: int, line: str) -> TextItem:
    try:
        row = json.loads(line)
        identifier, text = row["id"], row["text"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f'{path}:{number}: expected a line {{"id": …, "text": …}}') from None
    if isinstance(identifier, bool) or not isinstance(identifier, str | int) or not isinstance(text, str):
        raise InputError(f'{path}:{number}: "id" must be a string or a number, "text" a string')
    if not _is_unicode(identifier):
        raise InputError(f'{path}:{number}: "id" holds half a surrogate pair, which no output file can hold')
    return TextItem(str(identifier), text)


def _is_unicode(identifier: str | int) -> bool:
    try:
        str(identifier).encode()
    except UnicodeEncodeError:
        return False
    return True


def _parse_tsv(path: Path, number: int, line: str) -> TextItem:
    identifier, tab, text = line.partition("\t")
    if not tab:
        raise InputError(f"{path}:{number}: expected id, tab, text; there is no tab")
    return TextItem(identifier, text)


def _parse_plain(path: Path, number: int, line: str) -> TextItem:  # noqa: ARG001  (one signature for all three)
    return TextItem(str(number), line)
