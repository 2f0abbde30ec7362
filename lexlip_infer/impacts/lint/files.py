"""Files to check, and what is in them: plain or gzip, damaged or not, each line and each document with its place.

JsonVectorCollection (Anserini 1.7.1, tried out) reads a file as Jackson does, lines mean nothing to it: one JSON value
after the other, or one array of them where the file begins with a bracket. It stops at the first fault. `documents`
reads the same, but goes on behind a fault, since all of them are wanted at once.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from lexlip_infer.errors import InputError
from lexlip_infer.files.reading import Refusal, bounded_lines, decompressed, in_bytes, open_regular
from lexlip_infer.impacts.json_lines import first_repeated

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from pathlib import Path

    from lexlip_infer.impacts.lint.findings import Findings

#: Bytes of a line. A document of ours takes about 15 for each of its terms.
LONGEST_LINE = 2**24
#: How many bytes a byte of a compressed file may stand for, and how many more are granted to every file. JSON lines of
#: real documents come to 4 to 8, documents that are all alike but for their ids to less than 100. (More is an hour of
#: reading for a file of a few megabytes; memory is bounded by LONGEST_LINE.)
MOST_EXPANSION, SPARE_EXPANSION = 256, 2**24

#: Characters of a value that goes over many lines, which are looked at again with each that may end it; and how often
#: all of them may be.
_FREELY_TRIED, _TRIED_AGAIN = 2**22, 4
#: Characters that a finding is given; it shows fewer.
_SHOWN = 100

_SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
_ZSTANDARD = (".zst", ".zstd")


def collection_files(path: Path, findings: Findings) -> Iterator[Path]:
    """The JSON files that Anserini would index below `path`, in order of their names; others are findings.

    Raises:
        InputError: there is nothing at `path`, or no file.
    """
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; give a collection of JSON lines or a file of topics")
        yield path  # whoever opens it says what is wrong if it is no file
        return
    found = sorted(file for file in path.rglob("*") if file.is_file())
    if not found:
        raise InputError(f"{path}: holds no file; give a collection of JSON lines")
    for file in found:
        if file.name.endswith(_ZSTANDARD):
            findings.add("zst-file", str(file))
        elif file.name.endswith(_SUFFIXES):
            yield file
        else:
            findings.add("foreign-file", str(file))


def expanded(file: BinaryIO, path: Path, *, refuse: Refusal) -> BinaryIO | io.BufferedReader:
    """A file of documents as its lines are read, plain or gzip, which its name tells; under the limits of this product.

    Args:
        file: regular, at its beginning; closed with what is returned.
        path: of it.
        refuse: makes the error for a damaged file, and for what is beyond a limit.
    """
    if not path.name.endswith(".gz"):
        return file
    return decompressed(file, "gzip", refuse=refuse, limit=SPARE_EXPANSION, times=MOST_EXPANSION)


def numbered_lines(path: Path, findings: Findings) -> Iterator[tuple[str, str]]:
    """Each line that is not blank and is UTF-8, with its place `path:number`.

    Raises:
        InputError: the file cannot be opened.
    """
    try:
        with open_regular(path, refuse=lambda reason: InputError(f"{path}: {reason}")) as file:
            lines = bounded_lines(expanded(file, path, refuse=_Unreadable), LONGEST_LINE, refuse=_Unreadable)
            for number, data in enumerate(lines, start=1):
                if data.isspace():
                    continue
                place = f"{path}:{number}"
                try:
                    line = data.decode()
                except UnicodeDecodeError:
                    findings.add("not-utf-8", place)
                    continue
                if line.strip():
                    yield place, line.rstrip("\r\n")
    except _Unreadable as error:
        findings.add("damaged-file", str(path), str(error))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


class _Unreadable(Exception):  # noqa: N818  (a finding, and no error)
    pass


def documents(path: Path, findings: Findings) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each JSON object of a file, with the place where it begins; what else is there joins the findings.

    Raises:
        InputError: the file cannot be opened.
    """
    values = _Values(findings)
    for place, line in numbered_lines(path, findings):
        yield from values.feed(place, line)
        if values.finished:
            break
    yield from values.end()


class Repeated(dict[str, Any]):
    """A JSON object in which a key stands more than once; of its values the last one counts, as in Anserini."""

    key: str


class _Values:
    """Takes lines, gives objects. A value may go over many lines; whatever is not ended waits for the next one."""

    #: Whether something stands behind an array, where nobody reads on.
    finished = False

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse)
        self._waiting: list[str] = []
        self._size = self._tried = 0
        self._began = ""
        #: Until something is read, a bracket opens an array of documents.
        self._anything_read = self._in_array = self._array_ended = self._comma_due = self._fault = False

    def feed(self, place: str, line: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects that end in this line."""
        if self._waiting and not self._worth_trying(line):
            self._waiting.append(line)
        else:
            yield from self._look(place, line)

    def _look(self, place: str, line: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """At what waits, and at the line after it."""
        began = self._began if self._waiting else place
        text, at = "\n".join([*self._waiting, line]), 0
        several_lines, self._waiting, self._size = bool(self._waiting), [], 0
        first, last = len(text) - len(text.lstrip()), len(text.rstrip())
        while (at := self._next_value(text, at, place)) < len(text):
            try:
                value, end = self._decoder.raw_decode(text, at)
            except json.JSONDecodeError as error:
                if error.pos >= last:
                    self._waiting, self._began, self._size = [text[at:]], began, len(text) - at
                elif several_lines:
                    self._report(began, text[at : at + _SHOWN].partition("\n")[0])
                    yield from self.feed(place, line)
                else:
                    self._report(place, text[at : at + _SHOWN])
                return
            except (ValueError, RecursionError):
                self._report(began, text[at : at + _SHOWN])
                return
            self._comma_due, self._tried = self._in_array, 0
            if not isinstance(value, dict):
                self._report(began, text[at : min(end, at + _SHOWN)])
            else:
                if self._in_array or several_lines or at > first or end < last:
                    self._findings.add("not-a-line", began)
                yield began, value
            value = None  # a document may fill hundreds of megabytes: it is gone before the next one is made
            at, began, several_lines = end, place, False

    def _worth_trying(self, line: str) -> bool:
        """Whether the value that waits may end in this line. To try it after each would take time squared."""
        self._size += len(line) + 1
        if self._size > LONGEST_LINE:
            self._report(self._began, f"a document of more than {in_bytes(LONGEST_LINE)}, the most that is read")
            self._waiting = []
            return True
        if "}" not in line and "]" not in line:
            return False
        worth = self._tried < _FREELY_TRIED + _TRIED_AGAIN * self._size
        self._tried += self._size if worth else 0
        return worth

    def end(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What was not tried, and a word on what was left open."""
        if self._waiting:
            yield from self._look(self._began, "")
        if self._waiting:
            self._report(self._began, self._waiting[0])
        elif self._in_array and not self._array_ended and not self._fault:
            self._report(self._began, "the array is not closed")

    def _next_value(self, text: str, at: int, place: str) -> int:
        """Where the next value begins, behind blanks and an array's own characters; the length if there is none."""
        while at < len(text):
            character = text[at]
            if character not in " \t\r\n":
                if self._array_ended:
                    self._findings.add("after-array", place, text[at : at + _SHOWN])
                    self.finished = True
                    return len(text)
                if character == "[" and not self._anything_read:
                    self._in_array, self._began = True, place
                elif self._in_array and character == "]":
                    self._array_ended = True
                elif self._comma_due and character == ",":
                    self._comma_due = False
                else:
                    if self._comma_due:
                        self._report(place, text[at : at + _SHOWN])
                        self._comma_due = False
                    self._anything_read = True
                    return at
                self._anything_read = True
            at += 1
        return at

    def _report(self, place: str, what: str) -> None:
        self._fault, self._tried = True, 0
        self._findings.add("not-json", place, what)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        found = Repeated(found)
        found.key = first_repeated(key for key, _ in pairs)
    return found


def _refuse(constant: str) -> NoReturn:
    """NaN and Infinity are Python's idea of JSON, nobody else's."""
    raise ValueError(constant)
