"""Documents as dense unit vectors: real ones where a dense model has encoded the collection, synthetic ones elsewhere.

Without a dense model all are synthetic, the queries too: as many and as large as a dense model's, they say how fast and
how large a dense index is, and have no recall.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lexlip_infer.bench.large_scale.impacts import synthetic_unit_vectors
from lexlip_infer.bench.large_scale.settings import DenseSources, Settings
from lexlip_infer.bench.large_scale.texts import QuerySet
from lexlip_infer.errors import InputError

Floats = npt.NDArray[np.float32]
Batch = tuple[list[str], Floats]


def write_vectors(folder: Path, queries: Path, questions: QuerySet, others: int, settings: Settings) -> dict[str, int]:
    """Write `vectors.npy` (N, D) and `ids.txt` into `folder`, and the queries (Q, D).

    Args:
        folder: is made.
        queries: .npy file of the queries.
        questions: the test collection.
        others: documents beside the test photographs: real vectors as far as there are any, else synthetic ones.
        settings: of the experiment.

    Returns:
        `documents`, `synthetic` ones among them, `dimension`.

    Raises:
        InputError: real vectors are missing, malformed, or not those of the collection.
    """
    if settings.dense is None:
        count, size = len(questions.image_ids) + others, settings.dense_size
        documents = _synthetic(count, size, settings.seed)
        asked = np.concatenate(list(synthetic_unit_vectors(len(questions.texts), size, settings.seed + 1)))
        synthetic = count
    else:
        batches, asked = _real(settings.dense, questions)
        real = sum(len(ids) for ids, _ in batches) - len(questions.image_ids)
        synthetic = max(0, others - real)
        like = np.concatenate([vectors for _, vectors in batches])
        documents = _chain(batches, synthetic, settings.seed, like)
        count, size = len(like) + synthetic, like.shape[1]
    folder.mkdir(parents=True)
    _write(folder, documents, count, size)
    np.save(queries, asked)
    return {"documents": count, "synthetic": synthetic, "dimension": size}


def _synthetic(count: int, size: int, seed: int, like: Floats | None = None) -> Iterator[Batch]:
    done = 0
    for batch in synthetic_unit_vectors(count, size, seed, like):
        yield [f"synthetic/{done + row:09d}" for row in range(len(batch))], batch
        done += len(batch)


def _chain(batches: Sequence[Batch], synthetic: int, seed: int, like: Floats) -> Iterator[Batch]:
    yield from batches
    yield from _synthetic(synthetic, like.shape[1], seed, like)


def _real(sources: DenseSources, questions: QuerySet) -> tuple[list[Batch], Floats]:
    """Documents, the test photographs first, and queries."""
    ids, vectors = _read(Path(sources.images))
    row = {name: i for i, name in enumerate(ids)}
    missing = [name for name in questions.image_ids if name not in row]
    if missing:
        raise InputError(f"{sources.images}: no vector of {missing[0]!r}; its ids must be those of the captions file")
    batches = [(list(questions.image_ids), vectors[[row[name] for name in questions.image_ids]])]
    for number, folder in enumerate(sources.distractors):
        names, found = _read(Path(folder))
        batches.append(([f"distractor-{number}/{name}" for name in names], found))
    names, texts = _read(Path(sources.texts))
    if len(names) != len(questions.image_ids) + len(questions.texts):
        captions = len(questions.image_ids) + len(questions.texts)
        raise InputError(
            f"{sources.texts}: {len(names)} vectors for {captions} captions; one a caption, in their order"
        )
    sizes = {found.shape[1] for _, found in batches} | {texts.shape[1]}
    if len(sizes) > 1:
        raise InputError(f"dense vectors of {', '.join(map(str, sorted(sizes)))} dimensions; expected one model's")
    return batches, texts[questions.caption_rows]


def _read(folder: Path) -> Batch:
    """Ids and unit vectors of a folder."""
    try:
        vectors = np.load(folder / "vectors.npy")
        ids = (folder / "ids.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: expected vectors.npy and ids.txt ({error})") from None
    if vectors.ndim != 2 or vectors.dtype != np.float32 or len(vectors) != len(ids):
        raise InputError(
            f"{folder}: {len(ids)} ids, vectors of {vectors.dtype} {vectors.shape}; expected float32 (rows, D)"
        )
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.all():
        raise InputError(f"{folder / 'vectors.npy'}: holds a vector that is zero or not finite")
    return ids, vectors / norms


def _write(folder: Path, documents: Iterator[Batch], count: int, size: int) -> None:
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (count, size))
    done = 0
    with (folder / "ids.txt").open("w", encoding="utf-8") as lines:
        for ids, batch in documents:
            vectors[done : done + len(batch)] = batch
            lines.writelines(f"{name}\n" for name in ids)
            done += len(batch)
    vectors.flush()
