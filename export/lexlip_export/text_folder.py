"""A SPLADE model, or any BERT masked language model, as a text tower without an image tower.

SPLADE pools as LexLIP does, max over tokens of log(1 + relu(logit)), but scores with the dot product. The folder is one
of `BertForMaskedLM`, or of sentence-transformers with that model and max pooling in it. Every setting of every file in
it is applied, known to leave vectors as they are, or refused by name: a bundle encodes as sentence-transformers does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tokenizers import Tokenizer, normalizers

from lexlip_export.official.names import built, load
from lexlip_export.pretrained import read_bert, read_settings, text_length
from lexlip_infer.bundle import TextSettings
from lexlip_infer.files import read_json
from lexlip_kernels.errors import BundleError
from lexlip_training.config import ModelConfig
from lexlip_training.model import LexLIP
from lexlip_training.wordpiece import read_tokenizer_file

#: Of transformers' classes, those that make a normaliser of `tokenizer_config.json`, and those that make none.
_BERT_TOKENIZERS = (None, "BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "DistilBertTokenizerFast")
_PLAIN_TOKENIZERS = ("PreTrainedTokenizerFast", "TokenizersBackend")

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


class _Settings:
    """The settings of a JSON file, which may be missing: each is taken once, and what is left over in the end refused.

    Args:
        path: of the file.
        without_effect: settings that change no vector.
    """

    def __init__(self, path: Path, *without_effect: str) -> None:
        self.path = path
        values = read_settings(path) if path.exists() else {}
        self._left = {name: value for name, value in values.items() if name not in without_effect}

    def take(self, name: str, default: Any = None) -> Any:
        """The value of a setting, `default` where it is absent or null; of the default's type, if that has one."""
        value = self._left.pop(name, None)
        if value is None:
            return default
        if default is not None and not isinstance(value, type(default)):
            raise self.refusal(name, value, f"expected {type(default).__name__}")
        return value

    def expect(self, **values: object) -> None:
        """Refuse settings that are there and differ from these."""
        for name, value in values.items():
            if (given := self.take(name)) is not None and given != value:
                raise self.refusal(name, given, f"a bundle can only have {value!r}")

    def refuse_rest(self) -> None:
        """Refuse what nobody took and is not empty."""
        for name, value in self._left.items():
            if value:
                raise self.refusal(name, value, "it is not known here, so it cannot be kept; remove it if it is idle")

    def refusal(self, name: str, value: object, reason: str) -> BundleError:
        """The error of a setting that cannot be kept."""
        return BundleError(f"{self.path}: {name} is {value!r}; {reason}")


def load_text_folder(folder: Path, tokenizer_file: Path | None = None) -> TextFolder:
    """Read a text-only sparse encoder.

    Args:
        folder: of `transformers` or of sentence-transformers.
        tokenizer_file: another tokenizer than the folder's.

    Raises:
        BundleError: a file is missing or damaged, there is no masked-language-model head, or a setting of the folder
            cannot be kept; the message names it.
    """
    inner, transformer = _transformer(folder)
    bert = read_bert(inner)
    if not bert.has_head:
        raise BundleError(f"{folder}: a BERT without a masked-language-model head; its words would get no weights")
    sparse = _Settings(folder / "config_sentence_transformers.json", "__version__", "requirements")
    sparse.expect(model_type="SparseEncoder")
    loading = {**transformer.take("tokenizer_args", {}), **transformer.take("processor_kwargs", {})}
    words = _tokenizer_settings(inner) | loading
    tokenizer = read_tokenizer_file(tokenizer_file or inner)
    if tokenizer_file is None:
        _check_tokens(tokenizer, words, inner)
        _normalise(tokenizer, words, inner)
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
    prompts, default = _prompts(sparse)
    side = _truncation_side(tokenizer, words, inner)
    text = TextSettings(max_length=length, prompts=prompts, default_prompt=default, truncation_side=side)
    similarity, top_k = _similarity(sparse), _top_k(sparse)
    sparse.refuse_rest()
    transformer.refuse_rest()
    tensors = bert.collect(str(folder))
    model = load(built(config, tensors, str(folder)), tensors, str(folder))
    record = {"notice": "Converted from a Hugging Face folder, whose terms of use apply.", "source": config.name}
    return TextFolder(model, tokenizer, record, similarity, text, top_k)


def _transformer(folder: Path) -> tuple[Path, _Settings]:
    """Where BERT is, and its settings in sentence-transformers, after a check that it would pool as we do."""
    modules = folder / "modules.json"
    inner, kind = folder, "MLMTransformer"
    if modules.exists():
        try:
            content = read_json(modules, refuse=ValueError)
            listed = [(str(module["type"]).rsplit(".", 1)[-1], str(module["path"])) for module in content]
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise BundleError(f"{modules}: not sentence-transformers' list of modules") from None
        kinds = [kind for kind, _ in listed]
        if kinds not in (["MLMTransformer", "SpladePooling"], ["Transformer", "SpladePooling"]):
            expected = "a masked language model, then SpladePooling: one way for queries and documents, no other layers"
            raise BundleError(f"{folder}: made of {', '.join(kinds)}; expected {expected}")
        (kind, transformer), (_, pooling) = listed
        inner = folder / transformer
        sizes = ("embedding_dimension", "word_embedding_dimension", "chunk_size")  # read off the weights, or of memory
        settings = _Settings(folder / pooling / "config.json", *sizes)
        settings.expect(pooling_strategy="max", activation_function="relu")
        settings.refuse_rest()
    settings = _Settings(inner / "sentence_bert_config.json", "max_seq_length", "unpad_inputs")  # see text_length
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


def _tokenizer_settings(folder: Path) -> dict[str, Any]:
    """`tokenizer_config.json`, and under it the special tokens of `special_tokens_map.json`, its older home."""
    files = [folder / name for name in ("special_tokens_map.json", "tokenizer_config.json")]
    older, settings = (read_settings(path) if path.exists() else {} for path in files)
    return older | settings


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


def _normalise(tokenizer: Tokenizer, words: Mapping[str, Any], folder: Path) -> None:
    """The normaliser that transformers makes of `tokenizer_config.json`, whatever stands in `tokenizer.json`."""
    kind = words.get("tokenizer_class")
    if kind not in (*_BERT_TOKENIZERS, *_PLAIN_TOKENIZERS):
        raise BundleError(f"{folder}: tokenizer_class is {kind!r}; expected one of BERT's, or a general one")
    if words.get("never_split") or words.get("split_special_tokens") or words.get("do_basic_tokenize") is False:
        raise BundleError(f"{folder}: never_split, split_special_tokens or do_basic_tokenize is set; a bundle cannot")
    if kind in _PLAIN_TOKENIZERS:
        return
    choices = {name: words.get(name) for name in ("tokenize_chinese_chars", "strip_accents", "do_lower_case")}
    for name, choice in choices.items():
        if not isinstance(choice, bool | None):
            raise BundleError(f"{folder}: {name} is {choice!r}; expected true, false or null")
    wanted = {
        "clean_text": True,
        "handle_chinese_chars": words.get("tokenize_chinese_chars", True),
        "strip_accents": words.get("strip_accents"),
        "lowercase": words.get("do_lower_case", True),
    }
    now = tokenizer.normalizer
    if not isinstance(now, normalizers.BertNormalizer) or any(getattr(now, k) != v for k, v in wanted.items()):
        tokenizer.normalizer = normalizers.BertNormalizer(**wanted)


def _lower_case(tokenizer: Tokenizer) -> None:
    """What `do_lower_case` of sentence-transformers does: lower case first, then as the tokenizer would."""
    now: Any = tokenizer.normalizer
    steps = list(now) if isinstance(tokenizer.normalizer, normalizers.Sequence) else [] if now is None else [now]
    if not any(isinstance(step, normalizers.Lowercase) for step in steps):
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *steps])


def _call_length(transformer: _Settings) -> int | None:
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


def _truncation_side(tokenizer: Tokenizer, words: Mapping[str, Any], folder: Path) -> Literal["left", "right"]:
    """Where a long text is cut; refuses padding on the left, which moves BERT's positions from batch to batch."""
    padding = words.get("padding_side") or (tokenizer.padding or {}).get("direction", "right")
    if padding != "right":
        raise BundleError(f"{folder}: padding_side is {padding!r}; a bundle can only pad on the right")
    side = words.get("truncation_side") or (tokenizer.truncation or {}).get("direction", "right")
    if side not in ("left", "right"):
        raise BundleError(f"{folder}: truncation_side is {side!r}; expected left or right")
    return "left" if side == "left" else "right"


def _prompts(sparse: _Settings) -> tuple[dict[str, str], str | None]:
    """Prompts that are not empty, by name, and the name of the one that is used where none is asked for."""
    given, default = sparse.take("prompts", {}), sparse.take("default_prompt_name", None)
    if not all(isinstance(prompt, str | None) for prompt in given.values()):
        raise sparse.refusal("prompts", given, "expected texts by name")
    if default not in (None, "query", "document", *given):
        raise sparse.refusal("default_prompt_name", default, f"expected one of {', '.join(given)}")
    prompts = {name: prompt for name, prompt in given.items() if prompt}
    return prompts, default if default in prompts else None


def _similarity(sparse: _Settings) -> Literal["cosine", "dot"]:
    name = sparse.take("similarity_fn_name", "dot")
    if name not in ("dot", "cosine"):
        raise sparse.refusal("similarity_fn_name", name, "expected dot or cosine: impacts are scored with no other")
    return "cosine" if name == "cosine" else "dot"


def _top_k(sparse: _Settings) -> int | None:
    value = sparse.take("max_active_dims", None)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise sparse.refusal("max_active_dims", value, "expected a number of terms")
    return value
