"""The public API as a stranger would use it; type-checked by `make check`, never run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from lexlip_infer import LexLIPEncoder, LexLIPError, SparseBatch


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


def stream(paths: list[str]) -> int:
    encoder = LexLIPEncoder.from_pretrained()
    return sum(batch.nnz for batch in encoder.iter_encode_images(paths, batch_size=4))
