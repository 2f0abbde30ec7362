"""Decode and preprocess images on threads, ahead of whoever consumes them, in order and in bounded memory.

Pillow releases the interpreter lock while it decodes and resizes, so threads are enough to keep one CPU
session busy. A failed image takes its place in the stream as an error: nothing shifts.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import ImageError
from lexlip_infer.inputs.images import ImagePreprocessor, ImageSource, load_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Pixels", "decode_images"]

Pixels = npt.NDArray[np.float32]


def decode_images(
    sources: Iterable[ImageSource], preprocess: ImagePreprocessor, workers: int, ahead: int
) -> Iterator[Pixels | ImageError]:
    """Pixels (3, S, S) of each source, or the error that took its place, in order.

    Args:
        sources: consumed lazily, at most `ahead` items before they are asked for.
        preprocess: resize and normalisation.
        workers: decoding threads.
        ahead: images in flight; memory is bounded by this many decoded images.
    """

    def decode(source: ImageSource) -> Pixels | ImageError:
        try:
            return preprocess(load_image(source))
        except ImageError as error:
            return ImageError(str(error))  # without its traceback, which would keep the file's bytes alive

    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    waiting: deque[Future[Pixels | ImageError]] = deque()
    try:
        for source in sources:
            waiting.append(pool.submit(decode, source))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
