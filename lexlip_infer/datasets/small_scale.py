"""The small-scale protocols of the literature: how many photographs, captions and folds a figure stands for."""

from __future__ import annotations

from dataclasses import dataclass

from lexlip_infer.datasets.captioned_images import CaptionedImages
from lexlip_infer.errors import InputError

__all__ = ["PROTOCOLS", "Protocol"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """What makes a figure comparable with those of papers.

    Attributes:
        name: of the protocol.
        images: photographs of the test split.
        folds: parts that are searched each for itself; figures are averaged over them.
        captions: of a photograph; further ones are left out.
    """

    name: str
    images: int
    folds: int = 1
    captions: int = 5

    def apply(self, data: CaptionedImages) -> CaptionedImages:
        """The captions that count.

        Raises:
            InputError: the number of photographs is another.
        """
        if len(data.images) != self.images:
            raise InputError(
                f"{self.name} is measured on {self.images:,} photographs, the file's split has {len(data.images):,}; "
                "give the test split, or leave --protocol out"
            )
        return data.first_captions(self.captions)


#: By name. COCO 1k is the average over five folds of the 5,000.
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("coco-5k", 5000),
        Protocol("coco-1k", 5000, folds=5),
        Protocol("flickr30k", 1000),
        Protocol("flickr8k", 1000),
    )
}
