"""What is looked at: documents `{"id", "contents", "vector": {term: impact}}`, and topics, an id, a tab and terms.

Documents are taken as JsonVectorCollection takes them. A term is looked at where it first stands; what is wrong with it
there is wrong everywhere. In topics each term is repeated as often as its impact says.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lexlip_infer.impacts.lint.files import Repeated, collection_files, documents, numbered_lines
from lexlip_infer.impacts.lint.findings import Findings, LintReport
from lexlip_infer.impacts.terms import JAVA_WHITESPACE, LONGEST_TERM

#: Integers below it are exact in float32, the type of Lucene's scores.
_EXACT_SCORE = 2**24
_LARGEST_BYTE, _LARGEST_SHORT, _LARGEST_INT = 255, 65_535, 2**31 - 1
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

#: Lucene's limit on the clauses of a query, which Anserini leaves as it is.
MAX_QUERY_TERMS = 1024

#: Largest impact of every term, for the bound of a query's score.
CollectionTerms = dict[str, int]


def lint_collection(path: Path) -> tuple[LintReport, CollectionTerms]:
    """Read every document once; memory grows with ids and terms, not with postings.

    Args:
        path: a file of JSON, plain or gzip, or a folder of such files.

    Returns:
        The report, and the largest impact of every term, for `lint_topics`.

    Raises:
        InputError: there is nothing to read.
    """
    check = _Documents()
    for file in collection_files(path, check.findings):
        for place, document in documents(file, check.findings):
            check.document(place, document)
            del document  # which is large, perhaps: the next one is made after it
    return check.report(path), check.largest


class _Documents:
    """What is known after the documents so far."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.largest: CollectionTerms = {}
        self._ids: set[str] = set()
        self._frequency: Counter[str] = Counter()
        self._documents = self._postings = self._impact_sum = 0

    def document(self, place: str, document: dict[str, Any]) -> None:
        """Look at one more."""
        self._documents += 1
        vector = document.get("vector")
        for part in (document, vector):
            if isinstance(part, Repeated):
                self.findings.add("repeated-key", place, part.key)
        self._id(place, document.get("id"))
        if isinstance(vector, dict):
            self._vector(place, vector)
        else:
            self.findings.add("dense-vector" if isinstance(vector, list) else "no-vector", place)

    def report(self, path: Path) -> LintReport:
        """All of it."""
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
        _check_id(str(identifier), self._ids, place, self.findings)

    def _vector(self, place: str, vector: dict[str, Any]) -> None:
        kept = {}
        for term, impact in vector.items():
            if term not in self.largest:
                self._new_term(place, term)
            if (value := self._impact(place, term, impact)) > 0:
                kept[term] = value
                self.largest[term] = max(self.largest[term], value)
        if not kept:
            self.findings.add("empty-document", place)
        total, most = sum(kept.values()), max(kept.values(), default=0)
        self._frequency.update(kept.keys())
        self._postings += len(kept)
        self._impact_sum += total
        if most > _LARGEST_BYTE:
            self.findings.add("impact-above-255" if most <= _LARGEST_SHORT else "impact-above-65535", place, str(most))
        if total * _LARGEST_BYTE >= _EXACT_SCORE:
            self.findings.add("inexact-score", place, f"{total} x {_LARGEST_BYTE}, the largest 8-bit query impact")

    def _new_term(self, place: str, term: str) -> None:
        self.largest[term] = 0
        if not term:
            self.findings.add("empty-term", place)
        elif JAVA_WHITESPACE.search(term):
            self.findings.add("blank-in-term", place, term)
        elif len(term.encode("utf-16-le", "surrogatepass")) // 2 > LONGEST_TERM:
            self.findings.add("long-term", place, term)

    def _impact(self, place: str, term: str, impact: Any) -> int:
        """The posting that Anserini makes of it, by Jackson's `asInt`; the term vanishes unless it is above 0."""
        if type(impact) is int and 0 < impact <= _LARGEST_INT:
            return impact
        number = _number(impact)
        if number is None:
            rule = "not-a-number"
        elif number <= 0:
            rule = "not-positive"
        elif number > _LARGEST_INT:
            rule = "impact-overflow"
        else:
            rule = "number-spelling" if number == int(number) else "fraction"
        self.findings.add(rule, place, f"{term}: {impact!r}" if isinstance(impact, str) else f"{term}: {impact}")
        if type(impact) is int:  # which loses its upper bits
            return (impact + 2**31) % 2**32 - 2**31
        return 0 if number is None else int(max(0, min(number, _LARGEST_INT)))


def _number(impact: Any) -> float | None:
    """Of a number, of true and false, and of text that reads as a number; nothing else is one to Jackson."""
    if isinstance(impact, int | float):
        return impact
    text = impact.strip() if isinstance(impact, str) else ""
    if not _NUMBER.fullmatch(text) or (text.isdecimal() and int(text) > _LARGEST_INT):
        return None
    return float(text)


def lint_topics(path: Path, collection: Mapping[str, int] | None = None) -> LintReport:
    """Read every query once.

    Args:
        path: a TSV file, plain or gzip.
        collection: largest impact of every term, as `lint_collection` gives it; without it, scores and unknown terms
            are not checked.

    Raises:
        InputError: the file cannot be opened.
    """
    findings = Findings()
    ids: set[str] = set()
    terms: set[str] = set()
    queries = postings = impact_sum = largest = 0
    for place, line in numbered_lines(path, findings):
        identifier, tab, text = line.partition("\t")
        if not tab:
            findings.add("no-tab", place, line)
            continue
        impacts = Counter(filter(None, JAVA_WHITESPACE.split(text)))
        queries += 1
        if not identifier:
            findings.add("no-id", place)
        _check_id(identifier, ids, place, findings)
        _check_query(impacts, collection, place, findings)
        terms.update(impacts)
        postings += len(impacts)
        impact_sum += impacts.total()
        largest = max(largest, *impacts.values(), 0)
    return LintReport(
        path=str(path),
        kind="topics",
        items=queries,
        terms=len(terms),
        postings=postings,
        impact_sum=impact_sum,
        largest_impact=largest,
        findings=findings.report(),
    )


def _check_id(identifier: str, ids: set[str], place: str, findings: Findings) -> None:
    if identifier and identifier in ids:
        findings.add("duplicate-id", place, identifier)
    ids.add(identifier)
    if any(character.isspace() for character in identifier):
        findings.add("blank-in-id", place, identifier)


def _check_query(impacts: Counter[str], collection: Mapping[str, int] | None, place: str, findings: Findings) -> None:
    if not impacts:
        findings.add("empty-query", place)
    if len(impacts) > MAX_QUERY_TERMS:
        findings.add("too-many-terms", place, f"{len(impacts):,} terms")
    if collection is None:
        return
    for term in impacts:
        if not collection.get(term):
            findings.add("unknown-term", place, term)
    bound = sum(count * collection.get(term, 0) for term, count in impacts.items())
    if bound >= _EXACT_SCORE:
        findings.add("inexact-score", place, f"up to {bound:,}")
