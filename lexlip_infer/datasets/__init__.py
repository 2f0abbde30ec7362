"""The data sets of image-text retrieval, read from the files that people have, and how to count on them."""

from lexlip_infer.datasets.caption_files import default_split, read_captioned_images, read_captions_file
from lexlip_infer.datasets.captioned_images import PROTOCOLS, CaptionedImages, Protocol

__all__ = [
    "PROTOCOLS",
    "CaptionedImages",
    "Protocol",
    "default_split",
    "read_captioned_images",
    "read_captions_file",
]
