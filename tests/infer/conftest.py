"""A small tokenizer and encoder, trained in process: no test needs the network or a shipped model."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from lexlip_infer import LexLIPEncoder

CAPTIONS = [
    "a dog runs on the green grass",
    "two dogs play with a red ball in the park",
    "a harbour at sunset with small fishing boats",
    "a woman in a blue coat crosses the street",
    "children running along the beach, kites above them",
    "a cat sleeps on a wooden chair near the window",
]


@pytest.fixture(scope="session")
def tokenizer_json() -> bytes:
    """`tokenizer.json` of a lower-casing WordPiece tokenizer of at most 200 terms, [PAD] first, as BERT's."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        CAPTIONS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer.to_str().encode()


@pytest.fixture(scope="session")
def encoder(bundle_folder: Path) -> LexLIPEncoder:
    """Of the random model, on one thread."""
    return LexLIPEncoder.from_pretrained(bundle_folder, threads=1)


@pytest.fixture(scope="session")
def paths(photographs: Path) -> list[Path]:
    """Of all photographs, in order."""
    return sorted(path for path in photographs.rglob("*") if path.is_file())
