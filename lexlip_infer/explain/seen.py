"""What a model sees in one image: the photograph and its words, decoded once for both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexlip_infer.explain.sheets import PANEL, Caption, Cell
from lexlip_infer.explain.style import fit_picture
from lexlip_infer.inputs.images import load_image

if TYPE_CHECKING:
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.inputs.images import ImageSource

__all__ = ["caption_seen", "image_seen"]


def image_seen(encoder: LexLIPEncoder, source: ImageSource, name: str, terms: int) -> Cell:
    """A photograph, as large as the largest sheet shows it, with the heaviest of the terms that an index keeps of it.

    Raises:
        ImageError: it cannot be decoded.
    """
    photograph = load_image(source)
    words = encoder.decode(encoder.encode_pixels(encoder.preprocess(photograph)[None]), terms)[0]
    return Cell(name, fit_picture(photograph, PANEL), words)


def caption_seen(encoder: LexLIPEncoder, text: str, terms: int) -> Caption:
    """A text with the heaviest of the terms that a query keeps of it."""
    return Caption(text, encoder.decode(encoder.encode_texts([text], show_progress_bar=False), terms)[0])
