"""Measures of a run file against relevance judgements, both in TREC's formats, through ir-measures (extra `eval`).

As trec_eval does, documents are ordered by score, read as 32-bit floats, and equal scores by document id, descending;
ranks in the file are not looked at. ir-measures leaves some measures to trec_eval and computes others (RR@k, Judged@k)
itself, in 64 bits and with ids ascending, so it is handed scores without ties. A judged query that the run leaves out
counts as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from lexlip_infer.errors import InputError, require
from lexlip_infer.inputs.lines import read_lines
from lexlip_infer.search.trec_run import read_trec_run

#: In ir-measures' notation. `Success` is what image-text retrieval calls recall: any relevant document counts.
DEFAULT_MEASURES = ("Success@1", "Success@5", "Success@10", "nDCG@10", "RR", "AP", "R@1000")

_Judgements = dict[str, dict[str, int]]


def measure_run(run: Path, judgements: Path, measures: Sequence[str] = DEFAULT_MEASURES) -> dict[str, dict[str, float]]:
    """Values of each judged query.

    Args:
        run: lines `query Q0 document rank score tag`.
        judgements: lines `query 0 document relevance`.
        measures: in ir-measures' notation.

    Returns:
        By measure, by query in the order of the judgements.

    Raises:
        MissingExtra: ir-measures is not installed.
        InputError: a file is missing or malformed, the two have no query in common, or a measure is unknown or cannot
            be computed.
    """
    ir_measures = require("ir_measures", extra="eval")
    asked = [_parse(ir_measures, name) for name in measures]
    qrels = _read_judgements(judgements)
    scored = {query: _without_ties(scores) for query, scores in read_trec_run(run).items()}
    if not qrels.keys() & scored.keys():
        raise InputError(f"{run} answers no query that {judgements} judges; expected the same query ids")
    found: dict[str, dict[str, float]] = {str(measure): dict.fromkeys(qrels, 0.0) for measure in asked}
    try:
        for value in ir_measures.iter_calc(asked, qrels, scored):
            found[str(value.measure)][value.query_id] = float(value.value)
    except Exception as error:  # noqa: BLE001  (a measure that cannot be computed fails in its own way)
        reason = " ".join(str(error).split())
        raise InputError(f"{', '.join(map(str, asked))}: cannot be computed by ir-measures here ({reason})") from None
    return found


def _parse(ir_measures: ModuleType, name: str) -> Any:
    try:
        measure = ir_measures.parse_measure(name)
    except (NameError, ValueError, SyntaxError) as error:
        raise InputError(
            f"measure {name!r} is unknown to ir-measures ({error}); for example nDCG@10 or R@100"
        ) from None
    # trec_eval ends the whole process over a cutoff of 0, and keeps it in 32 bits.
    if not 1 <= measure.params.get("cutoff", 1) < 2**31:
        raise InputError(f"measure {name!r}: expected a cutoff from 1 to {2**31 - 1:,}")
    return measure


def _without_ties(scores: dict[str, float]) -> dict[str, float]:
    """The same documents, best first in trec_eval's order, with whole numbers that decrease by one as scores."""
    with np.errstate(over="ignore"):  # beyond 32 bits lies infinity, for trec_eval too
        values = np.array(list(scores.values())).astype(np.float32).tolist()
    # By code points, which is the order of the bytes of UTF-8.
    ranked = sorted(zip(values, scores, strict=True), reverse=True)
    return {document: float(len(ranked) - place) for place, (_, document) in enumerate(ranked)}


def _read_judgements(file: Path) -> _Judgements:
    qrels: _Judgements = {}
    for number, line in read_lines(file):
        try:
            query, _, document, relevance = line.split()
            qrels.setdefault(query, {})[document] = int(relevance)
        except ValueError:
            raise InputError(f"{file}:{number}: expected `query 0 document relevance`, found {line[:80]!r}") from None
    return qrels
