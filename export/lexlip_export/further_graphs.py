"""The graphs that a bundle holds only on request, made from backbones and heads.

- merged: backbone and lexicon head in one file, for whoever wants a single graph and no Python of ours around it;
- logits in float16, for GPUs before Ampere (V100), where Triton reaches no tensor cores: the decoder's product stays in
  cuBLAS, inside the graph, and `lexlip_kernels.lexicon_topk` takes the maximum, the saturation and the top-k from its
  output, which never leaves the device. (B, L, V) exists here, which is why the caller keeps batches small;
- anserini: the text tower as Anserini's own query encoder takes it (SpladeEncoder.java), so that Java encodes queries
  itself. The contract, read off Anserini 1.7.1 and checked by running it: inputs `input_ids`, `token_type_ids`,
  `attention_mask`, int64 (1, n), n up to 512; outputs of rank 1, `output_idx` int64 and `output_weights` float32, here
  the top-k positive terms by weight; ids are lines of a vocabulary file, and the ids 0, 101 and 102 are thrown away as
  [PAD], [CLS] and [SEP], whatever stands there. So terms are numbered anew where they have to be: special tokens get
  the numbers that they have in BERT, and the graph translates. Anserini 1.7.1 runs ONNX Runtime 1.17, which loads IR 9
  at most: this graph alone is of that version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto
from tokenizers import Tokenizer

from lexlip_export.graph_builder import GraphBuilder, check, to_half
from lexlip_export.settings import ExportSettings, FurtherGraph
from lexlip_infer.bundle import Modality, backbone_file
from lexlip_infer.errors import BundleError
from lexlip_infer.vocabulary import Vocabulary
from lexlip_training.config import ModelConfig
from lexlip_training.model import LexLIP

IR_VERSION = 9
#: Its line numbers are the ids of `onnx/text_anserini.onnx`, which may differ from the tokenizer's.
ANSERINI_VOCABULARY = "onnx/text_anserini_vocab.txt"
#: Where Anserini expects the special tokens.
BERT_IDS = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102}


def further_graphs(
    model: LexLIP,
    modality: Modality,
    graphs: Mapping[str, onnx.ModelProto],
    tokenizer: Tokenizer | None,
    settings: ExportSettings,
) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Graphs asked for that this modality has, one after the other, by path in the bundle.

    Args:
        model: in float32.
        modality: which tower.
        graphs: its backbones and heads, by path in the bundle; not changed.
        tokenizer: needed by "anserini".
        settings: what was asked for.

    Raises:
        BundleError: "anserini" without a tokenizer, or with one that Anserini cannot use.
    """
    backbone, head = graphs[backbone_file(modality, "f32")], graphs[f"onnx/{modality}_head.onnx"]
    if FurtherGraph.MERGED in settings.graphs:
        yield f"onnx/{modality}_merged.onnx", merged_graph(backbone, head)
    if FurtherGraph.LOGITS_FP16 in settings.graphs:
        half = graphs[backbone_file(modality, "fp16")]
        yield f"onnx/{modality}_logits_fp16.onnx", logits_graph(half, *decoder(model, modality))
    if FurtherGraph.ANSERINI in settings.graphs and modality == "text":
        assert model.config.text is not None
        order = anserini_order(_vocabulary_of(tokenizer).ids)
        yield "onnx/text_anserini.onnx", anserini_graph(backbone, head, model.config.text.max_length, order)


def decoder(model: LexLIP, modality: Modality) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Decoder (V, H) and bias (V,) of one tower, suppressed terms included."""
    head = getattr(model, f"{modality}_head")
    return head.weight.detach().float().numpy(), head.decoder_bias().detach().float().numpy()


def merged_graph(backbone: onnx.ModelProto, head: onnx.ModelProto) -> onnx.ModelProto:
    """Join the two; neither is changed.

    Args:
        backbone: `pixel_values`, or `input_ids` and `attention_mask`, to `hidden`.
        head: `hidden` (and `attention_mask`), `k` to `ids` and `weights`.

    Returns:
        A graph with the backbone's inputs and `k`, which keeps the head's default, to the head's outputs.

    Raises:
        BundleError: the result is not of the bundle's format.
    """
    graph = GraphBuilder()
    for part, prefix in ((backbone.graph, "backbone/"), (head.graph, "head/")):
        graph.append(part, prefix, {value.name: value.name for value in [*part.input, *part.output]})
    graph.inputs = [*backbone.graph.input, *(value for value in head.graph.input if value.name == "k")]
    graph.outputs = list(head.graph.output)
    return check(graph.model("merged"), "merged graph")


def logits_graph(
    backbone: onnx.ModelProto, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]
) -> onnx.ModelProto:
    """Append the decoder to a half-precision backbone, which is not changed.

    Args:
        backbone: gives `hidden` (B, L, H) in float16.
        weight: (V, H), the decoder.
        bias: (V,), suppressed terms at -1e4, which float16 can hold.

    Returns:
        A graph with the backbone's inputs to `logits` (B, L, V) float16. Padded tokens have logits too: the mask is
        `lexicon_topk`'s.

    Raises:
        BundleError: `hidden` is not float16, or the decoder holds values that float16 cannot.
    """
    (hidden,) = backbone.graph.output
    if hidden.type.tensor_type.elem_type != TensorProto.FLOAT16:
        raise BundleError("the logits graph needs a backbone whose `hidden` is float16; give it the fp16 backbone")
    graph = GraphBuilder()
    graph.append(backbone.graph, "backbone/", {value.name: value.name for value in [*backbone.graph.input, hidden]})
    columns = graph.constant("decoder", to_half(weight.T, "the decoder"))
    graph.node("MatMul", [hidden.name, columns], "products")
    graph.node("Add", ["products", graph.constant("bias", to_half(bias, "the decoder's bias"))], "logits")
    graph.inputs = list(backbone.graph.input)
    graph.output("logits", "float16", ["batch", "tokens", len(bias)])
    return check(graph.model("logits"), "logits graph")


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
    vocabulary = _vocabulary_of(tokenizer)
    return "".join(f"{vocabulary.terms[term]}\n" for term in anserini_order(vocabulary.ids)).encode()


def _vocabulary_of(tokenizer: Tokenizer | None) -> Vocabulary:
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
