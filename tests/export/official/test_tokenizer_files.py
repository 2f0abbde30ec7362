"""A tokenizer built from a `vocab.txt` gives the ids of BERT's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lexlip_kernels.errors import BundleError
from lexlip_training.wordpiece import bert_tokenizer, read_tokenizer_file

AWKWARD = ["", "Ünïcödé  naïve\tcafé", "犬 runs", "don't!! 3.5%", "a" * 300, "\u200bzero\x00width", "e\u0301 İstanbul"]


def test_ids_are_berts(data: Path) -> None:
    from transformers import BertTokenizer

    vocabulary = data / "bert-base-uncased" / "vocab.txt"
    ours = read_tokenizer_file(vocabulary)
    theirs = BertTokenizer.from_pretrained(vocabulary.parent, local_files_only=True)
    with (data / "flickr8k" / "captions.jsonl").open() as lines:
        captions = [
            caption for line, _ in zip(lines, range(200), strict=False) for caption in json.loads(line)["captions"]
        ]
    assert ours.get_vocab_size() == 30522
    for text in [*captions, *AWKWARD]:
        assert ours.encode(text).ids == theirs(text)["input_ids"], text


def test_special_tokens_written_out_are_text() -> None:
    tokenizer = bert_tokenizer("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n[\n]\nmask\n")
    assert tokenizer.encode("[MASK]").tokens == ["[CLS]", "[", "mask", "]", "[SEP]"]


def test_line_ends_of_windows_make_no_difference() -> None:
    tokenizer = bert_tokenizer("[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\ndog\r\n")
    assert tokenizer.encode("Dog").ids == [2, 4, 3]


def test_a_piece_must_stand_there_once() -> None:
    with pytest.raises(BundleError, match="holds a word piece twice"):
        bert_tokenizer("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\na\n")
