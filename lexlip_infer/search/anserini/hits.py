"""Many queries in one call into Java, many hits in one answer: JSON both ways, read and written by Java's Jackson.

pyserini makes one call for each term of a query and for each field of a hit, and every call has its price.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from lexlip_infer.errors import BackendUnavailable, InputError, require
from lexlip_infer.search.anserini.java import java_class
from lexlip_infer.search.engine import Ranking

__all__ = ["search_batch"]

#: Queries of one call, and about as many hits as it may bring, each some 100 bytes of text.
_BATCH, _BATCH_HITS = 1_000, 100_000


def search_batch(searcher: Any, queries: Sequence[object], k: int, threads: int) -> Ranking:
    """Ask Anserini; scores come as it gives them.

    Args:
        searcher: an object of Anserini's with the method `batch_search`.
        queries: what it takes, as JSON values.
        k: hits of a query.
        threads: queries are spread over them.

    Raises:
        InputError: k or threads is below 1.
        BackendUnavailable: Anserini failed, or left a query without an answer.
    """
    for name, value in (("k", k), ("threads", threads)):
        if value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")
    ranking = Ranking([], [])
    depth = min(k, max(searcher.get_total_num_docs(), 1))  # Lucene makes room for all k
    step = max(threads, min(_BATCH, _BATCH_HITS // depth))
    for first in range(0, len(queries), step):
        batch = queries[first : first + step]
        answer = _ask(searcher, batch, depth, threads)
        for number in range(len(batch)):
            hits = answer.get(str(number))
            if hits is None:
                raise BackendUnavailable(f"Anserini gave no answer to query {first + number}; is there enough memory?")
            ranking.ids.append([hit["docid"] for hit in hits])
            ranking.scores.append(np.array([hit["score"] for hit in hits], np.float64))
    return ranking


def _ask(searcher: Any, queries: Sequence[object], k: int, threads: int) -> dict[str, list[dict[str, Any]]]:
    names = [str(number) for number in range(len(queries))]
    java_exception = require("jnius", "anserini").JavaException
    mapper = java_class("com.fasterxml.jackson.databind.ObjectMapper")()
    java_list = java_class("java.lang.Class").forName("java.util.ArrayList")
    try:
        asked, called = (mapper.readValue(json.dumps(value), java_list) for value in (queries, names))
        answer = mapper.writeValueAsString(searcher.batch_search(asked, called, k, threads))
    except java_exception as error:
        raise BackendUnavailable(f"Anserini's search failed: {error}") from None
    result: dict[str, list[dict[str, Any]]] = json.loads(answer)
    return result
