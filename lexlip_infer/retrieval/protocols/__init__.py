"""The data sets of image-text retrieval, read from the files that people have, and how to count on them."""

from lexlip_infer.retrieval.protocols.captioned_images import CaptionedImages
from lexlip_infer.retrieval.protocols.captions_jsonl import read_captioned_images
from lexlip_infer.retrieval.protocols.karpathy import read_karpathy
from lexlip_infer.retrieval.protocols.official_tsv import read_official_tsv
from lexlip_infer.retrieval.protocols.reading import default_split, read_captions_file
from lexlip_infer.retrieval.protocols.small_scale import PROTOCOLS, Protocol

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
