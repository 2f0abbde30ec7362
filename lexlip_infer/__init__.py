"""lexlip_infer: images and texts become sparse word vectors for an inverted index.

    from lexlip_infer import LexLIPEncoder

    encoder = LexLIPEncoder.from_pretrained()            # the model that ships with the package
    images = encoder.encode_images(["dog.jpg", "harbour.png"])
    texts = encoder.encode_texts(["a dog runs on grass"])
    encoder.similarity(texts, images)                    # (1, 2)
    encoder.decode(images, top_k=5)                      # words and weights

    from lexlip_infer import Index

    index = Index.from_images("photographs")             # a folder, encoded and indexed
    index.search("a dog on the beach")[0].path

Names are loaded on first use, so that `import lexlip_infer` and the commands' `--help` cost next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lexlip_infer.bundle import Bundle, Manifest, list_models
    from lexlip_infer.collection.collection import Collection
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.errors import (
        BackendUnavailable,
        BundleError,
        ImageError,
        InputError,
        LexLIPError,
        MissingExtra,
        OutputError,
    )
    from lexlip_infer.pipeline.encode import encode_folder, encode_texts_file
    from lexlip_infer.search.engine import Hit
    from lexlip_infer.search.index import Index
    from lexlip_infer.vectors.sparse_batch import SparseBatch
    from lexlip_infer.vocabulary import Vocabulary

    __version__: str

__all__ = [
    "BackendUnavailable",
    "Bundle",
    "BundleError",
    "Collection",
    "Hit",
    "ImageError",
    "Index",
    "InputError",
    "LexLIPEncoder",
    "LexLIPError",
    "Manifest",
    "MissingExtra",
    "OutputError",
    "SparseBatch",
    "Vocabulary",
    "__version__",
    "encode_folder",
    "encode_texts_file",
    "list_models",
]

_HOMES = {
    "Bundle": "bundle",
    "Collection": "collection.collection",
    "Hit": "search.engine",
    "Index": "search.index",
    "LexLIPEncoder": "encoder",
    "Manifest": "bundle",
    "SparseBatch": "vectors.sparse_batch",
    "Vocabulary": "vocabulary",
    "encode_folder": "pipeline.encode",
    "encode_texts_file": "pipeline.encode",
    "list_models": "bundle",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("lexlip-infer")
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
