"""Collections of images and texts as streams: folders, patterns, lists, tar shards, Parquet, text files, URLs."""

from lexlip_infer.inputs.readers.opening import open_images, open_texts

__all__ = ["open_images", "open_texts"]
