"""Settings of Hugging Face folders: each is applied, known to leave vectors as they are, or refused by name.

Files of JSON that may be missing, and what sentence-transformers and transformers say in them of texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer, normalizers

from lexlip_export.pretrained import read_settings
from lexlip_kernels.errors import BundleError

#: Of transformers' classes, those that make a normaliser of `tokenizer_config.json`, and those that make none.
_BERT_TOKENIZERS = (None, "BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "DistilBertTokenizerFast")
_PLAIN_TOKENIZERS = ("PreTrainedTokenizerFast", "TokenizersBackend")


class FolderSettings:
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


def tokenizer_settings(folder: Path) -> dict[str, Any]:
    """`tokenizer_config.json`, and under it the special tokens of `special_tokens_map.json`, its older home."""
    files = [folder / name for name in ("special_tokens_map.json", "tokenizer_config.json")]
    older, settings = (read_settings(path) if path.exists() else {} for path in files)
    return older | settings


def set_normaliser(tokenizer: Tokenizer, words: Mapping[str, Any], folder: Path) -> None:
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


def truncation_side(tokenizer: Tokenizer, words: Mapping[str, Any], folder: Path) -> Literal["left", "right"]:
    """Where a long text is cut; refuses padding on the left, which moves BERT's positions from batch to batch."""
    padding = words.get("padding_side") or (tokenizer.padding or {}).get("direction", "right")
    if padding != "right":
        raise BundleError(f"{folder}: padding_side is {padding!r}; a bundle can only pad on the right")
    side = words.get("truncation_side") or (tokenizer.truncation or {}).get("direction", "right")
    if side not in ("left", "right"):
        raise BundleError(f"{folder}: truncation_side is {side!r}; expected left or right")
    return "left" if side == "left" else "right"


def prompts_of(sparse: FolderSettings) -> tuple[dict[str, str], str | None]:
    """Prompts that are not empty, by name, and the name of the one that is used where none is asked for."""
    given, default = sparse.take("prompts", {}), sparse.take("default_prompt_name", None)
    if not all(isinstance(prompt, str | None) for prompt in given.values()):
        raise sparse.refusal("prompts", given, "expected texts by name")
    if default not in (None, "query", "document", *given):
        raise sparse.refusal("default_prompt_name", default, f"expected one of {', '.join(given)}")
    prompts = {name: prompt for name, prompt in given.items() if prompt}
    return prompts, default if default in prompts else None


def similarity_of(sparse: FolderSettings) -> Literal["cosine", "dot"]:
    """What texts are compared by; impacts are scored with no other."""
    name = sparse.take("similarity_fn_name", "dot")
    if name not in ("dot", "cosine"):
        raise sparse.refusal("similarity_fn_name", name, "expected dot or cosine: impacts are scored with no other")
    return "cosine" if name == "cosine" else "dot"


def top_k_of(sparse: FolderSettings) -> int | None:
    """Terms that are kept of a text; None where all are."""
    value = sparse.take("max_active_dims", None)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise sparse.refusal("max_active_dims", value, "expected a number of terms")
    return value
