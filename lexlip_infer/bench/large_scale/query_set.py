"""The questions of the experiment: captions that look for their photograph.

As in the paper, whose queries are 4,000 of the 5,000 captions of its 1,000 photographs, one caption of each photograph
(the first) is set aside: it is the photograph's document where texts are searched (BM25, bag of words). All others are
queries, the same ones for every system.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lexlip_infer.datasets import CaptionedImages
from lexlip_infer.errors import InputError

__all__ = ["QuerySet"]


@dataclass(frozen=True, slots=True)
class QuerySet:
    """Queries and documents of a test collection.

    Attributes:
        image_ids: N, the document of each photograph.
        image_captions: N, the caption that was set aside for it.
        texts: Q queries.
        caption_rows: (Q,), where each query stands among all captions of the collection.
        relevant: for each query, the id of its photograph.
    """

    image_ids: tuple[str, ...]
    image_captions: tuple[str, ...]
    texts: tuple[str, ...]
    caption_rows: npt.NDArray[np.int64]
    relevant: tuple[str, ...]

    @classmethod
    def of(cls, data: CaptionedImages, image_ids: tuple[str, ...]) -> QuerySet:
        """Set a caption of each photograph aside.

        Raises:
            InputError: no photograph has a second one.
        """
        owner = np.array(data.owner)
        first = np.flatnonzero(np.diff(owner, prepend=-1))
        rows = np.setdiff1d(np.arange(len(owner)), first)
        if not len(rows):
            raise InputError(
                f"each of the {len(data.images)} photographs has one caption, which is its document where texts are "
                "searched; queries are further captions: give at least two for some photographs"
            )
        return cls(
            image_ids,
            tuple(data.captions[row] for row in first),
            tuple(data.captions[row] for row in rows),
            rows,
            tuple(image_ids[owner[row]] for row in rows),
        )
