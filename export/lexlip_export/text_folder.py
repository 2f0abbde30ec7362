"""A SPLADE model, or any BERT masked language model, as a text tower without an image tower.

SPLADE pools as LexLIP does, max over tokens of log(1 + relu(logit)), but scores with the dot product. The folder is one
of `BertForMaskedLM`, or of sentence-transformers with that model and max pooling in it; queries may be looked up in a
table beside it. Every setting of every file in
it is applied, known to leave vectors as they are, or refused by name: a bundle encodes as sentence-transformers does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, normalizers

from lexlip_export.folder_settings import (
    FolderSettings,
    prompts_of,
    set_normaliser,
    similarity_of,
    tokenizer_settings,
    top_k_of,
    truncation_side,
)
from lexlip_export.licence import licence_notice
from lexlip_export.official.names import built, load
from lexlip_export.pretrained import read_bert, text_length
from lexlip_export.sentence_modules import Modules, read_modules
from lexlip_export.static_weights import query_weights
from lexlip_infer.bundle import TextSettings
from lexlip_kernels.errors import BundleError
from lexlip_training.config import ModelConfig
from lexlip_training.model import LexLIP
from lexlip_training.wordpiece import read_tokenizer_file

#: The modules of a SPLADE model.
_SPLADE = (["MLMTransformer", "SpladePooling"], ["Transformer", "SpladePooling"])

#: Arguments that say how a model is loaded, not what it computes.
_LOADING = {"attn_implementation", "dtype", "torch_dtype", "trust_remote_code"}


class TextFolder(NamedTuple):
    """What a folder holds; see `sources.Source`."""

    model: LexLIP
    tokenizer: Tokenizer
    record: dict[str, Any]
    similarity: Literal["cosine", "dot"]
    text: TextSettings
    text_top_k: int | None
    static_weight: npt.NDArray[np.float32] | None


def load_text_folder(folder: Path, tokenizer_file: Path | None = None) -> TextFolder:
    """Read a text-only sparse encoder.

    Args:
        folder: of `transformers` or of sentence-transformers.
        tokenizer_file: another tokenizer than the folder's.

    Raises:
        BundleError: a file is missing or damaged, there is no masked-language-model head, or a setting of the folder
            cannot be kept; the message names it.
    """
    modules = read_modules(folder)
    inner, transformer = _transformer(folder, modules)
    bert = read_bert(inner)
    if not bert.has_head:
        raise BundleError(f"{folder}: a BERT without a masked-language-model head; its words would get no weights")
    sparse = FolderSettings(folder / "config_sentence_transformers.json", "__version__", "requirements")
    sparse.expect(model_type="SparseEncoder")
    loading = {**transformer.take("tokenizer_args", {}), **transformer.take("processor_kwargs", {})}
    words = tokenizer_settings(inner) | loading
    tokenizer = read_tokenizer_file(tokenizer_file or inner)
    if tokenizer_file is None:
        _check_tokens(tokenizer, words, inner)
        set_normaliser(tokenizer, words, inner)
    if transformer.take("do_lower_case", False):
        _lower_case(tokenizer)
    # In the order in which sentence-transformers lets one win over the other.
    lengths = (_call_length(transformer), loading.get("model_max_length"), text_length(inner, bert.sizes.max_positions))
    length = next(length for length in lengths if length is not None)
    if not isinstance(length, int | float):
        raise transformer.refusal("model_max_length", length, "expected a number of tokens")
    length = int(min(length, bert.sizes.max_positions))
    config = ModelConfig(
        name=folder.resolve().name,
        vocab_size=bert.sizes.vocab_size,
        hidden_size=bert.sizes.hidden_size,
        image=None,
        text=bert.sizes.config(bert.heads, length),
        layer_norm_eps=bert.layer_norm_eps,
    )
    prompts, default = prompts_of(sparse)
    side = truncation_side(tokenizer, words, inner)
    text = TextSettings(max_length=length, prompts=prompts, default_prompt=default, truncation_side=side)
    static = query_weights(folder, modules, tokenizer)
    if static is not None:
        text = text.model_copy(update={"static": "once", "query_mode": "lookup"})
    similarity, top_k = similarity_of(sparse), top_k_of(sparse)
    sparse.refuse_rest()
    transformer.refuse_rest()
    tensors = bert.collect(str(folder))
    model = load(built(config, tensors, str(folder)), tensors, str(folder))
    notice = licence_notice(folder, "Converted from a Hugging Face folder, whose terms of use apply.")
    record = {"notice": notice, "source": config.name}
    return TextFolder(model, tokenizer, record, similarity, text, top_k, static)


def _transformer(folder: Path, modules: Modules | None) -> tuple[Path, FolderSettings]:
    """Where BERT is, and its settings in sentence-transformers, after a check that it would pool as we do."""
    inner, kind = folder, "MLMTransformer"
    if modules is not None:
        if [module.kind for module in modules.documents] not in _SPLADE:
            expected = "a masked language model, then SpladePooling, no other layers; of queries the same, or a table"
            raise BundleError(f"{folder}: made of {modules}; expected {expected}")
        (kind, inner), (_, pooling) = modules.documents
        sizes = ("embedding_dimension", "word_embedding_dimension", "chunk_size")  # read off the weights, or of memory
        settings = FolderSettings(pooling / "config.json", *sizes)
        settings.expect(pooling_strategy="max", activation_function="relu")
        settings.refuse_rest()
    settings = FolderSettings(inner / "sentence_bert_config.json", "max_seq_length", "unpad_inputs")  # see text_length
    if kind == "Transformer" and settings.take("transformer_task", None) != "fill-mask":
        raise settings.refusal("transformer_task", None, "expected 'fill-mask', or the module MLMTransformer")
    settings.expect(
        transformer_task="fill-mask",
        modality_config={"text": {"method": "forward", "method_output_name": "logits"}},
        module_output_name="token_embeddings",
    )
    for name in ("model_args", "model_kwargs"):
        if changed := sorted(settings.take(name, {}).keys() - _LOADING):
            raise settings.refusal(name, changed, "a bundle can only compute as config.json says")
    return inner, settings


def _check_tokens(tokenizer: Tokenizer, words: Mapping[str, Any], folder: Path) -> None:
    """Refuse special and added tokens of `tokenizer_config.json` that the tokenizer does not have where it says so."""
    first, *_, last = tokenizer.encode("").tokens or ("", "")
    for name, used in (("cls_token", first), ("sep_token", last), ("unk_token", tokenizer.model.unk_token)):
        given = words.get(name)
        token = given.get("content") if isinstance(given, dict) else given
        if token is not None and token != used:
            raise BundleError(f"{folder}: {name} is {token!r}; the tokenizer has {used!r}")
    added = words.get("added_tokens_decoder") or {}
    try:
        missing = [token["content"] for i, token in added.items() if tokenizer.token_to_id(token["content"]) != int(i)]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise BundleError(f"{folder}: added_tokens_decoder is {added!r}; expected tokens by their ids") from None
    if missing:
        raise BundleError(f"{folder}: added_tokens_decoder has {missing[0]!r}, which the tokenizer lacks")


def _lower_case(tokenizer: Tokenizer) -> None:
    """What `do_lower_case` of sentence-transformers does: lower case first, then as the tokenizer would."""
    now: Any = tokenizer.normalizer
    steps = list(now) if isinstance(tokenizer.normalizer, normalizers.Sequence) else [] if now is None else [now]
    if not any(isinstance(step, normalizers.Lowercase) for step in steps):
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *steps])


def _call_length(transformer: FolderSettings) -> int | None:
    """Tokens that the tokenizer is told to cut to with each call; whatever else it is told is refused."""
    settings = transformer.take("processing_kwargs", {})
    usual = {"truncation": (True, "longest_first"), "padding": (True, "longest")}
    text = settings.get("text") or {}
    others = [name for name in settings if name != "text" and settings[name]]
    if isinstance(text, dict):
        others += [name for name in text if name != "max_length" and text[name] not in usual.get(name, ())]
        length = text.get("max_length")
        if not others and isinstance(length, int | None):
            return length
    raise transformer.refusal("processing_kwargs", settings, "a bundle can only have a max_length of texts")
