"""From vectors to the lines that are written: quantised, empty ones filled, as JSON."""

from __future__ import annotations

from lexlip_infer.collection.part_file import Lines
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.impacts import JsonLinesWriter, QuantisationSettings, fill_empty, quantise
from lexlip_infer.pipeline.encoded_batch import EncodedBatch
from lexlip_infer.pipeline.timings import Timings

__all__ = ["LineMaker"]


class LineMaker:
    """Makes lines of one model's vectors.

    Args:
        encoder: whose vocabulary the lines are in.
        quantisation: of the run.

    Raises:
        InputError: a term of the vocabulary cannot stand in an index.
    """

    def __init__(self, encoder: LexLIPEncoder, quantisation: QuantisationSettings) -> None:
        placeholder_id = encoder.manifest.placeholder_id
        assert placeholder_id is not None, "where there is a vocabulary, the manifest names a placeholder"
        self._placeholder_id = placeholder_id
        self._quantisation = quantisation
        self._writer = JsonLinesWriter(encoder.vocabulary.terms)

    def __call__(self, batch: EncodedBatch, timings: Timings) -> Lines:
        """Lines of a batch, and its failures."""
        if batch.vectors is None:
            return Lines(b"", 0, 0, 0, batch.failures)
        with timings.working("quantise"):
            impacts, empty = fill_empty(quantise(batch.vectors, self._quantisation), self._placeholder_id)
        with timings.working("write"):
            data = self._writer.encode(batch.ids, impacts)
        return Lines(data, len(batch.ids), empty, len(impacts.indices), batch.failures, batch.truncated)
