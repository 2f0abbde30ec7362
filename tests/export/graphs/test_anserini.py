"""The graph for Anserini's query encoder: read as SpladeEncoder.java reads it, then by SpladeEncoder.java itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import anserini  # tests/support/anserini.py
import numpy as np
import onnx
import pytest
from tokenizers import Tokenizer

from lexlip_export.further_graphs import anserini_order, anserini_vocabulary
from lexlip_infer import LexLIPEncoder
from lexlip_infer.errors import BackendUnavailable, BundleError, MissingExtra
from lexlip_training import ModelConfig

GRAPH, VOCABULARY = "onnx/text_anserini.onnx", "onnx/text_anserini_vocab.txt"
#: Cut at the model's 16 tokens; of nothing known; of accents and capitals; empty.
QUERIES = ["dog " * 40, "x" * 150, "Ein Café MIT Pferd", "", "two dogs, one ball"]


class JavaReading:
    """What SpladeEncoder.java does with a model and a vocabulary file, line by line; words come from our tokenizer."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, session: Any) -> None:
        self.session = session((folder / GRAPH).read_bytes())
        self.terms = (folder / VOCABULARY).read_text().splitlines()
        self.lines = {term: line for line, term in enumerate(self.terms)}
        self.tokenizer = tokenizer

    def __call__(self, text: str) -> dict[str, int]:
        tokens = ["[CLS]", *self.tokenizer.encode(text, add_special_tokens=False).tokens]
        tokens = [*tokens[:510], "[SEP]"]
        ids = np.array([[self.lines.get(token, self.lines["[UNK]"]) for token in tokens]])
        output = self.session({"input_ids": ids, "token_type_ids": 0 * ids, "attention_mask": 0 * ids + 1})
        index, weights = output["output_idx"], output["output_weights"]
        assert (index.ndim, index.dtype, weights.ndim, weights.dtype) == (1, np.int64, 1, np.float32)
        pairs = zip(index.tolist(), weights, strict=True)
        return {self.terms[i]: rounded(weight) for i, weight in pairs if i not in (0, 101, 102)}


def rounded(weight: Any) -> int:
    """Math.round of Java, half up, of weight / 5 * 256 in float32."""
    return math.floor(np.float32(weight) / np.float32(5) * np.float32(256) + np.float32(0.5))


@pytest.fixture(scope="module")
def java_reading(graphs_folder: Path, tokenizer: Tokenizer, session: Any) -> JavaReading:
    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.no_truncation()
    return JavaReading(graphs_folder, plain, session)


@pytest.fixture(scope="module")
def expected(graphs_folder: Path, captions: list[str]) -> list[dict[str, int]]:
    """Impacts of the engine's own vectors; an empty one stays empty."""
    encoder = LexLIPEncoder.from_pretrained(graphs_folder, threads=1)
    rows = encoder.encode_texts([*captions, *QUERIES])
    return [{term: rounded(weight) for term, weight in row} for row in encoder.decode(rows)]


def assert_close(actual: list[dict[str, int]], expected: list[dict[str, int]]) -> None:
    """Equal terms; impacts may differ by one, where two float32 sums fall on two sides of a half."""
    for ours, theirs in zip(expected, actual, strict=True):
        assert theirs.keys() == ours.keys()
        assert all(abs(theirs[term] - ours[term]) <= 1 for term in ours)
    assert sum(map(len, actual)) > 20


def test_read_as_java_reads_it(java_reading: JavaReading, captions: list[str], expected: list[dict[str, int]]) -> None:
    assert_close([java_reading(text) for text in [*captions, *QUERIES]], expected)


def test_anserinis_own_encoder(graphs_folder: Path, captions: Any, expected: Any, tmp_path: Path) -> None:
    try:
        anserini.check_installed()
    except (MissingExtra, BackendUnavailable) as error:
        pytest.skip(str(error))
    paths = graphs_folder / GRAPH, graphs_folder / VOCABULARY
    assert_close(anserini.encode_in_new_process(*paths, [*captions, *QUERIES], tmp_path), expected)


def test_names_shapes_and_version(graphs_folder: Path) -> None:
    model = onnx.load(graphs_folder / GRAPH)
    assert model.ir_version == 9  # of ONNX Runtime 1.17, which Anserini brings
    assert [value.name for value in model.graph.input] == ["input_ids", "token_type_ids", "attention_mask"]
    assert [value.name for value in model.graph.output] == ["output_idx", "output_weights"]


def test_every_term_has_a_line_and_none_stands_where_anserini_looks_away(tokenizer: Tokenizer) -> None:
    vocabulary = tokenizer.get_vocab()
    order = anserini_order(vocabulary)
    terms = {i: term for term, i in vocabulary.items()}
    assert sorted(order) == list(range(len(vocabulary)))
    assert [terms[order[i]] for i in (0, 100, 101, 102)] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    moved = np.flatnonzero(order != np.arange(len(order)))
    assert set(moved) <= {0, 1, 2, 3, 100, 101, 102}


def test_berts_own_layout_stays_as_it_is() -> None:
    from lexlip_export.random_bundle import synthetic_tokenizer

    np.testing.assert_array_equal(anserini_order(synthetic_tokenizer(300).get_vocab()), np.arange(300))


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2}, r"no \[SEP\], which Anserini's encoder needs"),
        ({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a\nb": 4}, r"'a\\nb' does not fit a line"),
        ({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a\n": 4}, r"'a\\n' does not fit a line"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_refused(vocabulary: dict[str, int], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        anserini_order(vocabulary)


def test_no_tokenizer_or_no_texts_no_graph(model_config: ModelConfig, tokenizer: Tokenizer) -> None:
    with pytest.raises(BundleError, match="needs a vocabulary, and this model has no tokenizer"):
        anserini_vocabulary(model_config, None)
    images_alone = model_config.model_copy(update={"text": None})
    with pytest.raises(BundleError, match="encodes texts, and random has no text tower"):
        anserini_vocabulary(images_alone, tokenizer)
