"""What the linter found: every rule once, with its count, its first places, and what comes of it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Severity = Literal["error", "warning"]

#: Places that a report names; the rest is counted.
_PLACES = 3

#: By rule: how bad it is, and what an engine makes of it. An error changes or loses what was written.
RULES: dict[str, tuple[Severity, str]] = {
    "foreign-file": ("error", "Anserini parses every file below the folder, whatever its name; move it elsewhere"),
    "zst-file": ("error", "Anserini reads plain and gzip files here, no Zstandard; compress with gzip"),
    "damaged-file": ("error", "the file cannot be read to its end"),
    "not-utf-8": ("error", "JSON is UTF-8; Anserini puts U+FFFD for other bytes, in ids and terms too"),
    "not-json": ("error", "no JSON object, where one document is expected; Anserini stops reading this file"),
    "after-array": ("error", "a file that begins with an array holds that alone; Anserini drops what follows"),
    "repeated-key": ("error", "a key stands twice in one object, and only the last of its values counts"),
    "no-id": ("error", "a document needs an id, a non-empty string or a whole number; without one Anserini stops"),
    "duplicate-id": ("error", "both lines are kept under one id; results cannot tell them apart"),
    "no-vector": ("error", "a document needs a vector object; without one Anserini drops it, or stops"),
    "dense-vector": ("error", "an array is taken for a dense vector; Anserini stops reading this file"),
    "empty-document": ("error", "a document without terms is dropped without a word; give it a placeholder term"),
    "fraction": ("error", "fractions are cut off: 1.5 becomes 1, 0.9 vanishes with its term; scale and round first"),
    "not-positive": ("error", "a term with an impact of 0 or less vanishes"),
    "not-a-number": ("error", "an impact must be a whole number; Anserini takes 0, and the term vanishes"),
    "impact-overflow": ("error", "Anserini keeps 32 bits of an impact: from 2^31 on it becomes another number"),
    "empty-term": ("error", "an empty term vanishes"),
    "blank-in-term": ("error", "white space splits the term in two"),
    "long-term": ("error", "a term of more than 255 characters is cut into pieces"),
    "no-tab": ("error", "a topic is its id, a tab, and its terms"),
    "empty-query": ("error", "a query without terms finds nothing"),
    "too-many-terms": ("error", "Lucene refuses a query of more than 1,024 different terms; keep fewer"),
    "not-a-line": ("warning", "Anserini takes it; lexlip index, search and convert take one document a line"),
    "number-spelling": ("warning", 'Anserini takes 3.0, "3" and true for whole numbers; lexlip takes whole numbers'),
    "blank-in-id": ("warning", "run files and qrels part their columns at blanks"),
    "term-in-every-document": ("warning", "Pyserini drops it from queries unless min_idf is -1"),
    "impact-above-255": ("warning", "engines that keep an impact in a byte cannot load it"),
    "impact-above-65535": ("warning", "lexlip search cannot load it"),
    "inexact-score": ("warning", "a score can reach 2^24, beyond which Lucene's float32 sums are rounded"),
    "unknown-term": ("warning", "no document holds the term, so it adds nothing but time"),
}


class Finding(BaseModel):
    """One rule that was broken.

    Attributes:
        rule: its name.
        severity: an error changes or loses data; a warning restricts what can be done with them.
        count: how often.
        places: the first of them, as `file:line: what`.
        consequence: what comes of it.
    """

    model_config = ConfigDict(frozen=True)

    rule: str
    severity: Severity
    count: int
    places: tuple[str, ...]
    consequence: str


class LintReport(BaseModel):
    """What was read, and what is wrong with it.

    Attributes:
        path: what was checked.
        kind: what it was taken for.
        items: documents or queries.
        terms: different terms.
        postings: stored impacts; of topics, different terms summed over queries.
        impact_sum: sum of all impacts: Anserini's indexing time grows with it, since it repeats a term that often.
        largest_impact: of all.
        findings: errors first, then by rule.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    kind: Literal["collection", "topics"]
    items: int
    terms: int
    postings: int
    impact_sum: int
    largest_impact: int
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """Places where data would be changed or lost."""
        return sum(finding.count for finding in self.findings if finding.severity == "error")


class Findings:
    """Collects places by rule in constant memory."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._places: dict[str, list[str]] = {}

    def add(self, rule: str, place: str, what: str = "") -> None:
        """Record one place; `what` is quoted and cut."""
        self._counts[rule] = self._counts.get(rule, 0) + 1
        places = self._places.setdefault(rule, [])
        if len(places) < _PLACES:
            shown = what if len(what) <= 60 else what[:59] + "…"
            places.append(f"{place}: {shown!r}" if what else place)

    def report(self) -> tuple[Finding, ...]:
        """All of them, in the order of `RULES`."""
        return tuple(
            Finding(
                rule=rule,
                severity=severity,
                count=self._counts[rule],
                places=tuple(self._places[rule]),
                consequence=consequence,
            )
            for rule, (severity, consequence) in RULES.items()
            if rule in self._counts
        )
