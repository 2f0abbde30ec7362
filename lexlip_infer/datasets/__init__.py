"""The data sets of image-text retrieval, read from the files that people have, and how to count on them."""

from lexlip_infer.datasets.captioned_images import CaptionedImages
from lexlip_infer.datasets.captions_jsonl import read_captioned_images
from lexlip_infer.datasets.karpathy import read_karpathy
from lexlip_infer.datasets.official_tsv import read_official_tsv
from lexlip_infer.datasets.reading import default_split, read_captions_file
from lexlip_infer.datasets.small_scale import PROTOCOLS, Protocol

__all__ = [
    "PROTOCOLS",
    "CaptionedImages",
    "Protocol",
    "default_split",
    "read_captioned_images",
    "read_captions_file",
    "read_karpathy",
    "read_official_tsv",
]
