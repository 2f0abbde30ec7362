"""Queries in the form that an engine takes: encoded here, or read as they were encoded beforehand.

An output of lexlip-encode, Anserini's JSON lines, and its topics can be read. A term that the index does not know has
no postings; it is left out of the query and counted. The placeholder of an empty vector is left out as well: it stands
in for no term at all, and would find the documents that hold none either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import InputError
from lexlip_infer.impacts import drop_placeholders, quantise, read_json_lines
from lexlip_infer.impacts.terms import JAVA_WHITESPACE
from lexlip_infer.inputs.lines import read_lines
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_infer.vocabulary import Vocabulary
from lexlip_kernels import ImpactMatrix

if TYPE_CHECKING:
    from lexlip_infer.collection.manifest import EncodedWith
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.inputs.images import ImageSource


class QueryEncoder:
    """The model of an index's queries, loaded when the first one is encoded.

    Args:
        place: of the index.
        encoded_with: of its documents, if known.
        model: where that model is now, if it has moved.
        threads: of the model.
    """

    def __init__(self, place: Path, encoded_with: EncodedWith | None, model: str | None, threads: int) -> None:
        self._place, self._encoded_with = place, encoded_with
        self._model, self._threads = model, threads

    @cached_property
    def encoder(self) -> LexLIPEncoder:
        """The model, on the CPU: a few queries are encoded long before a GPU is ready for them.

        Raises:
            InputError: the index does not say which model that is, or the one given is another.
            BundleError: the model is not there.
        """
        from lexlip_infer.encoder import LexLIPEncoder

        if self._encoded_with is None:
            raise InputError(
                f"{self._place} does not say which model encodes its queries; encode them, and give --query-vectors"
            )
        model = self._encoded_with.model if self._model is None else self._model
        encoder = LexLIPEncoder.from_pretrained(model, "cpu", threads=self._threads)
        self._encoded_with.check_model(str(self._place), encoder.manifest.name, encoder.bundle.fingerprint)
        return encoder

    def weights(self, queries: Sequence[Any], mode: str | None = None) -> SparseBatch:
        """Un-normalised weights (Q, V) of texts, images and batches, in order; a row of each text or image.

        Args:
            queries: any of these.
            mode: of texts; see `LexLIPEncoder.encode_texts`.

        Raises:
            BundleError: the model has no weights for this mode.
            ImageError: an image cannot be decoded.
            InputError: something is none of these, there is no such mode, or the model is not known.
        """
        parts = [query if isinstance(query, SparseBatch) else None for query in queries]
        texts = [i for i, query in enumerate(queries) if isinstance(query, str)]
        if texts or not queries:
            encoded = self.encoder.encode_query([queries[i] for i in texts], show_progress_bar=False, mode=mode)
            if len(texts) == len(queries):
                return encoded
            for row, i in enumerate(texts):
                parts[i] = encoded[[row]]
        for i, part in enumerate(parts):
            if part is None:
                parts[i] = self._image(queries[i])
        return SparseBatch.concatenate([part for part in parts if part is not None])

    def _image(self, image: ImageSource) -> SparseBatch:
        from lexlip_infer.inputs.images import load_image

        # Not encode_images, whose messages count positions in a list.
        return self.encoder.encode_pixels(self.encoder.preprocess(load_image(image))[None])

    def impacts(self, weights: SparseBatch) -> ImpactMatrix:
        """Weights quantised as the documents were.

        Raises:
            InputError: the index does not say how that was, or another model has made the weights.
        """
        if self._encoded_with is None:
            raise InputError(f"{self._place} does not say how its documents were quantised; search it with impacts")
        if weights.fingerprint not in (None, self._encoded_with.model_fingerprint):
            raise InputError(
                f"{self._place} was encoded with {self._encoded_with.model_name} "
                f"({self._encoded_with.model_fingerprint[:12]}), the query with another model "
                f"({weights.fingerprint[:12]}); encode both with one"
            )
        return quantise(weights, self._encoded_with.quantisation)


def check_texts(queries: Sequence[Any], place: Path) -> list[str]:
    """Queries of an engine that takes words alone.

    Raises:
        InputError: one is something else.
    """
    for query in queries:
        if not isinstance(query, str):
            raise InputError(
                f"{place} is for the engine bm25, which takes words; a {type(query).__name__} was given: "
                "look for it in an index of impacts"
            )
    return list(queries)


def stack_vectors(queries: Sequence[Any], place: Path) -> npt.NDArray[np.float32]:
    """Queries of an engine that takes dense vectors, (D,) or (Q, D) each, as one array.

    Raises:
        InputError: one is something else, or they differ in length.
    """
    for query in queries:
        if not isinstance(query, np.ndarray) or query.dtype.kind != "f" or query.ndim not in (1, 2):
            raise InputError(
                f"{place} is for the engine faiss, which holds dense vectors; a {type(query).__name__} was given: "
                "encode it with the dense model of the index, and give unit vectors, (D,) or (Q, D) float32"
            )
    try:
        return np.concatenate([np.atleast_2d(query) for query in queries]).astype(np.float32)
    except ValueError as error:
        raise InputError(f"queries do not stack ({error}); expected one or more vectors of one length") from None


@dataclass(frozen=True, slots=True)
class QueryVectors:
    """Encoded queries.

    Attributes:
        ids: (Q,).
        impacts: (Q, V).
        unknown: number of postings left out because the vocabulary does not have their term.
    """

    ids: list[str]
    impacts: ImpactMatrix
    unknown: int


def read_query_vectors(path: Path, vocabulary: Vocabulary) -> QueryVectors:
    """Read all queries.

    Args:
        path: output folder of lexlip-encode, a file of JSON lines, or topics (`.tsv`: id, tab, and each term as often
            as its impact says).
        vocabulary: of the index.

    Raises:
        InputError: it is none of these, cannot be read, holds no query or a malformed line, or a query id occurs twice.
        OutputError: a part file of the output has changed since it was written.
    """
    terms = _GrowingTerms(vocabulary.ids)
    if path.is_dir():
        ids, impacts = _read_output(path, terms)
    elif path.suffix == ".tsv":
        ids, impacts = _read_topics(path, terms)
    else:
        lines = ((number, line.encode()) for number, line in read_lines(path))
        ids, impacts = _rows([read_json_lines([line], terms, str(path), number) for number, line in lines])
    if not ids:
        raise InputError(f"{path}: no queries")
    for name, count in Counter(ids).items():
        if count > 1:
            raise InputError(f"{path}: query id {name!r} occurs {count} times; every query needs an id of its own")
    impacts = drop_placeholders(impacts, tuple(terms))
    known = impacts.indices < len(vocabulary)
    return QueryVectors(ids, impacts.where(known, len(vocabulary)), int((~known).sum()))


def read_dense_queries(path: Path) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Queries of a dense model, and ids for them: their numbers, from 1.

    Args:
        path: `.npy` of (Q, D) unit vectors.

    Raises:
        InputError: it cannot be read as such.
    """
    from lexlip_infer.search.dense import open_vectors

    vectors = stack_vectors([open_vectors(path)], path)
    return [str(number) for number in range(1, len(vectors) + 1)], vectors


def _read_output(folder: Path, terms: _GrowingTerms) -> tuple[list[str], ImpactMatrix]:
    from lexlip_infer.collection.collection import read_finished, read_part

    blocks = (lines for part in read_finished(folder).shards for lines in read_part(folder, part))
    return _rows([read_json_lines(lines.data.splitlines(), terms, lines.source, lines.first) for lines in blocks])


def _read_topics(path: Path, terms: _GrowingTerms) -> tuple[list[str], ImpactMatrix]:
    ids, rows = [], []
    for number, line in read_lines(path):
        name, tab, text = line.partition("\t")
        if not name or not tab:
            raise InputError(f"{path}:{number}: expected a query id, a tab, and terms")
        counts = Counter(filter(None, JAVA_WHITESPACE.split(text)))
        ids.append(name)
        rows.append([(terms[term], count) for term, count in counts.items()])
    return ids, ImpactMatrix.from_rows(rows, len(terms))


def _rows(parts: list[tuple[list[str], ImpactMatrix]]) -> tuple[list[str], ImpactMatrix]:
    size = max((part.vocab_size for _, part in parts), default=0)
    return [name for ids, _ in parts for name in ids], ImpactMatrix.concatenate([part for _, part in parts], size)


class _GrowingTerms(dict[str, int]):
    """Term to id; a term that is not there yet gets the next id."""

    def __missing__(self, term: str) -> int:
        self[term] = len(self)
        return self[term]
