"""Checks topics: lines of id, tab, and terms, each repeated as often as its impact says."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from lexlip_infer.impacts.lint.collection import EXACT_SCORE
from lexlip_infer.impacts.lint.files import numbered_lines
from lexlip_infer.impacts.lint.findings import Findings, LintReport
from lexlip_infer.impacts.terms import JAVA_WHITESPACE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["MAX_QUERY_TERMS", "lint_topics"]

#: Lucene's limit on the clauses of a query, which Anserini leaves as it is.
MAX_QUERY_TERMS = 1024


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
    if not identifier:
        findings.add("no-id", place)
    elif identifier in ids:
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
    if bound >= EXACT_SCORE:
        findings.add("inexact-score", place, f"up to {bound:,}")
