"""The public API as a stranger would use it; type-checked by `make check`, never run."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from lexlip_infer import (
    Bundle,
    Hit,
    Index,
    LexLIPEncoder,
    LexLIPError,
    SparseBatch,
    Vocabulary,
    __version__,
    list_models,
)


def search(photographs: list[Path], query: str) -> list[tuple[Path, float]]:
    encoder = LexLIPEncoder.from_pretrained(threads=2)
    try:
        images: SparseBatch = encoder.encode_images(photographs, batch_size=8, top_k=128, show_progress_bar=False)
    except LexLIPError as error:
        raise SystemExit(str(error)) from None
    scores: npt.NDArray[np.float32] = encoder.similarity(encoder.encode_query([query]), images)
    return sorted(zip(photographs, scores[0].tolist(), strict=True), key=lambda pair: -pair[1])


def words(picture: Image.Image | bytes | npt.NDArray[np.uint8]) -> list[tuple[str, float]]:
    encoder = LexLIPEncoder.from_pretrained()
    return encoder.decode(encoder.encode_document([picture]), top_k=5)[0]


def one_of_each(picture: Path) -> dict[str, float]:
    encoder = LexLIPEncoder.from_pretrained(next(iter(list_models())), revision=None, token=None, cache_dir=None)
    query, image = encoder.encode_query("a dog"), encoder.encode_images(io.BytesIO(picture.read_bytes()))
    common: SparseBatch = query[0].intersection(image)
    heaviest = [row.top_k(5) for row in SparseBatch.concatenate([query, image])]
    print(encoder, encoder.bundle, encoder.manifest, encoder.vocabulary, common, heaviest, __version__)
    return image.sparsity()


def words_of_a_model(name: str) -> dict[str, int]:
    bundle: Bundle = Bundle.open(name, revision="main")
    vocabulary: Vocabulary = bundle.vocabulary()
    return {vocabulary.terms[term]: term for term in range(len(vocabulary))}


def stream(paths: list[str]) -> int:
    encoder = LexLIPEncoder.from_pretrained()
    return sum(batch.nnz for batch in encoder.iter_encode_images(paths, batch_size=4))


def search_a_folder(folder: Path, picture: Path) -> list[tuple[str, float, Path | None]]:
    with Index.from_images(folder, threads=2) as index:
        by_words: list[Hit] = index.search("a dog on the beach", k=5)
        both: list[list[Hit]] = index.search(["a dog", picture])
        return [(hit.id, hit.score, hit.path) for hits in (by_words, *both) for hit in hits]
