"""Checks documents, JSON lines `{"id", "contents", "vector": {term: impact}}`, as JsonVectorCollection reads them.

A term is looked at where it first stands; what is wrong with it there is wrong everywhere.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from lexlip_infer.impacts.lint.files import collection_files, numbered_lines
from lexlip_infer.impacts.lint.findings import Findings, LintReport
from lexlip_infer.impacts.terms import JAVA_WHITESPACE, LONGEST_TERM

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["EXACT_SCORE", "CollectionTerms", "lint_collection"]

#: Integers below it are exact in float32, the type of Lucene's scores.
EXACT_SCORE = 2**24
_LARGEST_BYTE, _LARGEST_SHORT = 255, 65_535

#: Largest impact of every term, for the bound of a query's score.
CollectionTerms = dict[str, int]


def lint_collection(path: Path) -> tuple[LintReport, CollectionTerms]:
    """Read every document once; memory grows with ids and terms, not with postings.

    Args:
        path: a file of JSON lines, plain or gzip, or a folder of such files.

    Returns:
        The report, and the largest impact of every term, for `lint_topics`.

    Raises:
        InputError: there is nothing to read.
    """
    check = _Check()
    for file in collection_files(path, check.findings):
        for place, line in numbered_lines(file, check.findings):
            check.line(place, line)
    return check.report(path), check.largest


class _Check:
    """What is known after the lines so far."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.largest: CollectionTerms = {}
        self._ids: set[str] = set()
        self._frequency: Counter[str] = Counter()
        self._documents = self._postings = self._impact_sum = 0

    def line(self, place: str, line: str) -> None:
        try:
            document = json.loads(line, parse_constant=_refuse)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            self.findings.add("not-json", place, line)
            return
        self._documents += 1
        self._id(place, document.get("id"))
        self._vector(place, document.get("vector"))

    def report(self, path: Path) -> LintReport:
        if self._documents > 1:
            for term, count in self._frequency.items():
                if count == self._documents:
                    self.findings.add("term-in-every-document", str(path), term)
        return LintReport(
            path=str(path),
            kind="collection",
            items=self._documents,
            terms=len(self._frequency),
            postings=self._postings,
            impact_sum=self._impact_sum,
            largest_impact=max(self.largest.values(), default=0),
            findings=self.findings.report(),
        )

    def _id(self, place: str, identifier: Any) -> None:
        if isinstance(identifier, bool) or not isinstance(identifier, str | int) or identifier == "":
            self.findings.add("no-id", place)
            return
        text = str(identifier)
        if text in self._ids:
            self.findings.add("duplicate-id", place, text)
        self._ids.add(text)
        if any(character.isspace() for character in text):
            self.findings.add("blank-in-id", place, text)

    def _vector(self, place: str, vector: Any) -> None:
        if not isinstance(vector, dict):
            self.findings.add("dense-vector" if isinstance(vector, list) else "no-vector", place)
            return
        for term in vector:
            if term not in self.largest:
                self._new_term(place, term)
        kept = {term: impact for term, impact in vector.items() if self._impact(place, term, impact)}
        if not kept:
            self.findings.add("empty-document", place)
        self._count(place, kept)

    def _new_term(self, place: str, term: str) -> None:
        self.largest[term] = 0
        if not term:
            self.findings.add("empty-term", place)
        elif JAVA_WHITESPACE.search(term):
            self.findings.add("blank-in-term", place, term)
        elif len(term.encode("utf-16-le", "surrogatepass")) // 2 > LONGEST_TERM:
            self.findings.add("long-term", place, term)

    def _impact(self, place: str, term: str, impact: Any) -> bool:
        """Whether the posting survives as it is."""
        if type(impact) is int:
            if impact > 0:
                return True
            self.findings.add("not-positive", place, f"{term}: {impact}")
        elif isinstance(impact, float):
            self.findings.add("fraction", place, f"{term}: {impact}")
        else:
            self.findings.add("not-a-number", place, f"{term}: {impact!r}")
        return False

    def _count(self, place: str, vector: dict[str, int]) -> None:
        for term, impact in vector.items():
            self.largest[term] = max(self.largest[term], impact)
        total, most = sum(vector.values()), max(vector.values(), default=0)
        self._frequency.update(vector.keys())
        self._postings += len(vector)
        self._impact_sum += total
        if most > _LARGEST_BYTE:
            self.findings.add("impact-above-255" if most <= _LARGEST_SHORT else "impact-above-65535", place, str(most))
        if total * _LARGEST_BYTE >= EXACT_SCORE:
            self.findings.add("inexact-score", place, f"{total} x {_LARGEST_BYTE}, the largest 8-bit query impact")


def _refuse(constant: str) -> None:
    """NaN and Infinity are Python's idea of JSON, nobody else's."""
    raise ValueError(constant)
