"""Files to check, and what is in them: plain or gzip, damaged or not, each line and each document with its place.

JsonVectorCollection (Anserini 1.7.1, tried out) reads a file as Jackson does, lines mean nothing to it: one JSON value
after the other, or one array of them where the file begins with a bracket. It stops at the first fault. `documents`
reads the same, but goes on behind a fault, since all of them are wanted at once.
"""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any, NoReturn

from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lexlip_infer.impacts.lint.findings import Findings

_SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
_ZSTANDARD = (".zst", ".zstd")


def collection_files(path: Path, findings: Findings) -> Iterator[Path]:
    """The JSON files that Anserini would index below `path`, in order of their names; others are findings.

    Raises:
        InputError: there is nothing at `path`, or no file.
    """
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder; give a collection of JSON lines or a file of topics")
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


def numbered_lines(path: Path, findings: Findings) -> Iterator[tuple[str, str]]:
    """Each line that is not blank and is UTF-8, with its place `path:number`.

    Raises:
        InputError: the file cannot be opened.
    """
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as lines:
            for number, data in enumerate(lines, start=1):
                place = f"{path}:{number}"
                try:
                    line = data.decode()
                except UnicodeDecodeError:
                    findings.add("not-utf-8", place)
                    continue
                if line.strip():
                    yield place, line.rstrip("\r\n")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        findings.add("damaged-file", str(path), str(error))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


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
    values.end()


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
        self._began = ""
        #: Until something is read, a bracket opens an array of documents.
        self._anything_read = self._in_array = self._array_ended = self._comma_due = self._fault = False

    def feed(self, place: str, line: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects that end in this line."""
        if self._waiting and "}" not in line and "]" not in line:
            self._waiting.append(line)  # it cannot end here, and trying costs time
            return
        began = self._began if self._waiting else place
        text, at = "\n".join([*self._waiting, line]), 0
        several_lines, self._waiting = bool(self._waiting), []
        while (at := self._next_value(text, at, place)) < len(text):
            try:
                value, end = self._decoder.raw_decode(text, at)
            except json.JSONDecodeError as error:
                if error.pos >= len(text.rstrip()):
                    self._waiting, self._began = [text[at:]], began
                elif several_lines:
                    self._report(began, text[at:].partition("\n")[0])
                    yield from self.feed(place, line)
                else:
                    self._report(place, text[at:])
                return
            except (ValueError, RecursionError):
                self._report(began, text[at:])
                return
            self._comma_due = self._in_array
            if not isinstance(value, dict):
                self._report(began, text[at:end])
            else:
                if self._in_array or several_lines or text[:at].strip() or text[end:].strip():
                    self._findings.add("not-a-line", began)
                yield began, value
            at, began, several_lines = end, place, False

    def end(self) -> None:
        """Say what was left open."""
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
                    self._findings.add("after-array", place, text[at:])
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
                        self._report(place, text[at:])
                        self._comma_due = False
                    self._anything_read = True
                    return at
                self._anything_read = True
            at += 1
        return at

    def _report(self, place: str, what: str) -> None:
        self._fault = True
        self._findings.add("not-json", place, what)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        found = Repeated(found)
        keys = [key for key, _ in pairs]
        found.key = next(key for number, key in enumerate(keys) if key in keys[:number])
    return found


def _refuse(constant: str) -> NoReturn:
    """NaN and Infinity are Python's idea of JSON, nobody else's."""
    raise ValueError(constant)
