"""The text tower as Anserini's own query encoder takes it (SpladeEncoder.java), so that Java encodes queries itself.

The contract, read off Anserini 1.7.1 and checked by running it:

- inputs `input_ids`, `token_type_ids`, `attention_mask`, int64 (1, n), n up to 512; outputs of rank 1, `output_idx`
  int64 and `output_weights` float32, here the top-k positive terms by weight;
- ids are lines of a vocabulary file, and the ids 0, 101 and 102 are thrown away as [PAD], [CLS] and [SEP], whatever
  stands there. So terms are numbered anew where they have to be: special tokens get the numbers that they have in
  BERT, and the graph translates;
- Anserini 1.7.1 runs ONNX Runtime 1.17, which loads IR 9 at most. This graph alone is of that version.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from tokenizers import Tokenizer

from lexlip_export.graph_builder import GraphBuilder, check
from lexlip_infer.errors import BundleError
from lexlip_infer.vocabulary import Vocabulary
from lexlip_training.config import ModelConfig

IR_VERSION = 9
#: Its line numbers are the ids of `onnx/text_anserini.onnx`, which may differ from the tokenizer's.
ANSERINI_VOCABULARY = "onnx/text_anserini_vocab.txt"
#: Where Anserini expects the special tokens.
BERT_IDS = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102}


def anserini_order(vocabulary: Mapping[str, int]) -> npt.NDArray[np.int64]:
    """Our term ids in Anserini's order: the identity for BERT's vocabulary, a few exchanges for others.

    Args:
        vocabulary: term to id, the ids being 0 to V - 1.

    Returns:
        (V,) a permutation: line i of Anserini's vocabulary file is our term `order[i]`.

    Raises:
        BundleError: a special token is missing, or a line of the file cannot hold a term.
    """
    if missing := BERT_IDS.keys() - vocabulary.keys():
        raise BundleError(f"the tokenizer has no {', '.join(sorted(missing))}, which Anserini's encoder needs")
    for term in vocabulary:
        if term.strip().splitlines() != [term]:
            raise BundleError(f"the term {term!r} does not fit a line of Anserini's vocabulary file")
    order = np.arange(len(vocabulary), dtype=np.int64)
    for token, line in BERT_IDS.items():
        if line < len(order):  # in a smaller vocabulary nothing else can stand there
            now = int(np.flatnonzero(order == vocabulary[token])[0])
            order[[line, now]] = order[[now, line]]
    return order


def anserini_vocabulary(config: ModelConfig, tokenizer: Tokenizer | None) -> bytes:
    """Contents of `ANSERINI_VOCABULARY`: a term a line, in Anserini's order.

    Raises:
        BundleError: the model has no text tower, no tokenizer, or one that Anserini cannot use.
    """
    if config.text is None:
        raise BundleError(f"the graph 'anserini' encodes texts, and {config.name} has no text tower")
    vocabulary = vocabulary_of(tokenizer)
    return "".join(f"{vocabulary.terms[term]}\n" for term in anserini_order(vocabulary.ids)).encode()


def vocabulary_of(tokenizer: Tokenizer | None) -> Vocabulary:
    """Terms and ids of a tokenizer that there must be."""
    if tokenizer is None:
        raise BundleError("the graph 'anserini' needs a vocabulary, and this model has no tokenizer")
    return Vocabulary.from_tokenizer(tokenizer)


def anserini_graph(
    backbone: onnx.ModelProto, head: onnx.ModelProto, max_length: int, order: npt.NDArray[np.int64]
) -> onnx.ModelProto:
    """Join text backbone and head behind Anserini's names; neither is changed.

    Args:
        backbone: `input_ids`, `attention_mask` to `hidden`.
        head: `hidden`, `attention_mask`, `k` to `ids`, `weights`; the default of `k` becomes a constant.
        max_length: longer queries are cut as the engine's tokenizer cuts them: the last token, [SEP], stays.
        order: (V,), our term ids in Anserini's order.

    Returns:
        A graph of IR 9 with the inputs and outputs of the contract.

    Raises:
        BundleError: the result is not of the format.
    """
    graph = GraphBuilder()
    for name in ("input_ids", "token_type_ids", "attention_mask"):
        graph.input(name, "int64", [1, "length"])
    moved = not np.array_equal(order, np.arange(len(order)))
    _cut(graph, "input_ids", max_length, "cut_ids")
    _cut(graph, "attention_mask", max_length, "mask")
    tokens = graph.node("Gather", [graph.constant("order", order), "cut_ids"], "tokens") if moved else "cut_ids"
    values = {"input_ids": tokens, "attention_mask": "mask", "hidden": "hidden", "ids": "ids", "weights": "weights"}
    graph.append(backbone.graph, "backbone/", values)
    graph.append(head.graph, "head/", values)
    _flatten(graph, np.argsort(order) if moved else None)
    return check(graph.model("anserini"), "Anserini graph", IR_VERSION)


def _cut(graph: GraphBuilder, name: str, max_length: int, result: str) -> None:
    """The first max_length - 1 of (1, n) and the last one: all of them where n is no more than that."""
    ends = {"start": 0, "last": -1, "limit": max_length - 1, "beyond": np.iinfo(np.int64).max, "tokens_axis": 1}
    start, last, limit, beyond, axis = (
        graph.constant(f"{result}/{key}", np.array([value], np.int64)) for key, value in ends.items()
    )
    graph.node("Slice", [name, start, last, axis], f"{result}/all_but_last")
    graph.node("Slice", [f"{result}/all_but_last", start, limit, axis], f"{result}/first")
    graph.node("Slice", [name, last, beyond, axis], f"{result}/final")
    graph.node("Concat", [f"{result}/first", f"{result}/final"], result, axis=1)


def _flatten(graph: GraphBuilder, lines: npt.NDArray[np.int64] | None) -> None:
    """The positive terms of the only row, as two lists; `lines` are Anserini's numbers of our ids."""
    graph.node("Squeeze", ["weights", graph.constant("row_axis", np.array([0], np.int64))], "row_weights")
    graph.node("Squeeze", ["ids", "row_axis"], "row_ids")
    graph.node("Greater", ["row_weights", graph.constant("nothing", np.array(0, np.float32))], "positive")
    graph.node("Compress", ["row_weights", "positive"], "output_weights", axis=0)
    if lines is None:
        graph.node("Compress", ["row_ids", "positive"], "output_idx", axis=0)
    else:
        graph.node("Compress", ["row_ids", "positive"], "term_ids", axis=0)
        graph.node("Gather", [graph.constant("lines", lines), "term_ids"], "output_idx")
    graph.output("output_idx", "int64", ["terms"])
    graph.output("output_weights", "float32", ["terms"])
