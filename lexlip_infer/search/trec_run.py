"""Run files as TREC's tools read them: `query Q0 document rank score tag`, one result a line.

trec_eval reads scores as 32-bit floats, sorts by them, and puts equal ones in an order of its own. Scores are therefore
written strictly decreasing: one that is not below the one before it, as 32-bit floats, becomes the next smaller such
number. That keeps the order of the ranking and moves a score by as many of its last places as there are ties before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import InputError
from lexlip_infer.files import new_file
from lexlip_infer.inputs.lines import read_lines
from lexlip_infer.search.engine import Ranking


def write_trec_run(file: Path, query_ids: Sequence[str], ranking: Ranking, tag: str) -> None:
    """Write a new file, which appears whole or not at all.

    Args:
        file: must not exist.
        query_ids: of the ranking's queries; one without results leaves no line.
        ranking: best first.
        tag: names the system.

    Raises:
        InputError: an id or the tag is empty or holds white space, which a run file cannot.
        OutputError: the file exists or cannot be written.
    """
    with new_file(file) as run:
        run.writelines(line.encode() for line in trec_lines(query_ids, ranking, tag))


def trec_lines(query_ids: Sequence[str], ranking: Ranking, tag: str) -> Iterator[str]:
    """The lines of a run file, each with its end.

    Raises:
        InputError: as `write_trec_run`.
    """
    _check("tag", tag)
    for query_id, ids in zip(query_ids, ranking.ids, strict=True):  # before a line is out, which may go to a pipe
        _check("query id", query_id)
        for name in ids:
            _check("document id", name)
    for query_id, ids, scores in zip(query_ids, ranking.ids, ranking.scores, strict=True):
        for rank, (name, score) in enumerate(zip(ids, decreasing(scores).tolist(), strict=True), start=1):
            yield f"{query_id} Q0 {name} {rank} {score:.9g} {tag}\n"


def decreasing(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Scores that never increase, as 32-bit floats that strictly decrease."""
    result = scores.astype(np.float32)
    tied = np.flatnonzero(result[1:] >= result[:-1]) + 1
    for first in tied.tolist():
        # A score that moved may have met the next one, so each is followed as far as it pushes.
        at = first
        while at < len(result) and result[at] >= result[at - 1]:
            result[at] = np.nextafter(result[at - 1], np.float32(-np.inf))
            at += 1
    return result


def read_trec_run(file: Path) -> dict[str, dict[str, float]]:
    """Read any system's run: the score of each document of each query, in the order of the lines.

    Raises:
        InputError: the file cannot be read, a line has not six fields with a finite number as the fifth, or a document
            stands twice under a query.
    """
    run: dict[str, dict[str, float]] = {}
    for number, line in read_lines(file):
        try:
            query, _, document, _, score, _ = line.split()
            value = float(score)
            if not math.isfinite(value):
                raise ValueError
        except ValueError:
            raise InputError(
                f"{file}:{number}: expected `query Q0 document rank score tag`, found {line[:80]!r}"
            ) from None
        documents = run.setdefault(query, {})
        if document in documents:
            raise InputError(f"{file}:{number}: document {document!r} stands twice under query {query!r}")
        documents[document] = value
    return run


def _check(what: str, text: str) -> None:
    if not text or text.split() != [text]:
        raise InputError(
            f"{what} {text!r} is empty or holds white space, and cannot stand in a TREC run; rename it, or use --json"
        )
