"""An encoded collection, read back and made searchable: the output folder of `lexlip-encode` as an exact index.

Rows are stored in document-id order, so that ties come out by id, ascending, as in Anserini.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from lexlip_infer.collection.manifest import RunManifest
from lexlip_infer.collection.written_output import VECTORS, check_shards, read_manifest, read_shard
from lexlip_infer.errors import InputError
from lexlip_infer.impacts import read_json_lines
from lexlip_infer.vocabulary import Vocabulary
from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_dot import ImpactIndex

__all__ = ["Collection", "Hit"]


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of a search.

    Attributes:
        rank: from 1.
        score: integer dot product of the impacts of query and document.
        id: of the document.
        terms: (term, its share of the score) of each term they have in common, largest first.
    """

    rank: int
    score: int
    id: str
    terms: tuple[tuple[str, int], ...]


class Collection:
    """Documents of an output folder.

    Args:
        folder: as `lexlip-encode` wrote it.
        vocabulary: of the model it was encoded with.

    Raises:
        OutputError: the folder is no such output, or a shard is missing, changed or added.
        InputError: a shard is malformed, or holds terms that the vocabulary does not have.
    """

    def __init__(self, folder: Path, vocabulary: Vocabulary) -> None:
        self.manifest: RunManifest = read_manifest(folder)
        check_shards(folder, self.manifest)
        ids: list[str] = []
        shards: list[ImpactMatrix] = []
        for record in self.manifest.shards:
            lines = io.BytesIO(read_shard(folder, record))
            shard_ids, shard = read_json_lines(lines, vocabulary.ids, str(folder / VECTORS / record.name))
            ids += shard_ids
            shards.append(shard)
        if not ids:
            reason = "every input failed, see failures.jsonl"
            if not self.manifest.complete:
                reason = "the run was interrupted early; the same lexlip-encode command continues it"
            raise InputError(f"{folder}: no documents to search; {reason}")
        order = sorted(range(len(ids)), key=ids.__getitem__)
        self.ids = [ids[row] for row in order]
        self.matrix = ImpactMatrix.concatenate(shards, len(vocabulary))[order]
        self.index = ImpactIndex.build(self.matrix)
