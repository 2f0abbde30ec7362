"""The vocabulary: term id to string and back. Word pieces stay as they are (`##ing`), as engines expect.

A tokenizer is a stranger's program over texts: rules rewrite a text before it is split, regular expressions split it.
One whose work on a text grows beyond measure is refused here, when it is read; `docs/security.md` lists the limits.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Tokenizer

from lexlip_infer.errors import BundleError

#: Bytes of a `tokenizer.json`; the largest vocabularies, of 256,000 pieces, take some 35 MB.
MOST_BYTES = 128_000_000
#: Times as long as it was, in characters: the most that all rules together may make a text.
MOST_GROWTH = 400
#: Characters of a word that WordPiece may search for pieces; its work grows with their third power, and BERT has 100.
MOST_CHARACTERS_OF_A_WORD = 256
#: Characters of a piece of a Unigram model, which tries all pieces at every place; SentencePiece makes them up to 16.
MOST_CHARACTERS_OF_A_PIECE = 128
#: Rules that rewrite and split a text.
MOST_RULES = 64
#: Tokens that a tokenizer may add to each text or pad it to.
MOST_ADDED = 65_536

#: What the rules that need no data make of a character at most: the ligature U+FDFA becomes 18, a byte a character.
_GROWTH = {"NFC": 3, "NFD": 4, "NFKC": 18, "NFKD": 18, "BertNormalizer": 6, "Lowercase": 2, "ByteLevel": 4}
#: Forms of Unicode; one after the other, they make of a text no more than the longest of them alone.
_FORMS = ("NFC", "NFD", "NFKC", "NFKD")
_LLAMA = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
#: Regular expressions that end soon on every text. Any other may need longer than anybody waits, so it is refused:
#: those that rewrite (CLIP, T5), those that split (CLIP, GPT-2, Llama 3, Qwen 2).
REGULAR_EXPRESSIONS = (
    *(r"\s", r"\s+", r" {2,}"),
    r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    *(_LLAMA % digits for digits in (r"\p{N}{1,3}", r"\p{N}")),
)


def read_tokenizer(data: bytes) -> Tokenizer:
    """The tokenizer in the contents of a `tokenizer.json`.

    Raises:
        BundleError: the data are not a tokenizer, or one whose work on a text has no bound.
    """
    if len(data) > MOST_BYTES:
        raise BundleError(f"tokenizer.json: holds {len(data):,} bytes; at most {MOST_BYTES:,} are read")
    with said_in_one_line("not a tokenizer"):
        tokenizer = Tokenizer.from_buffer(data)
        reason = _unbounded(tokenizer)
    if reason is not None:
        raise BundleError(f"tokenizer.json: {reason}")
    return tokenizer


@contextmanager
def said_in_one_line(what: str) -> Iterator[None]:
    """Whatever the tokenizer library raises: bare exceptions, and where it panics one that is no `Exception` at all.

    Raises:
        BundleError: instead.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BundleError(f"tokenizer.json: {what} ({reason[:200]})") from None


def _unbounded(tokenizer: Tokenizer) -> str | None:
    """Why a tokenizer is refused: what its rules could make of a text, or how long they could take."""
    rules = [rule for part in (tokenizer.normalizer, tokenizer.pre_tokenizer) for rule in _rules(part)]
    if len(rules) > MOST_RULES:
        return f"it has {len(rules):,} rules; expected at most {MOST_RULES}"
    for rule in rules:
        pattern = rule.get("pattern")
        if isinstance(pattern, Mapping) and "Regex" in pattern and pattern["Regex"] not in REGULAR_EXPRESSIONS:
            given = f"{rule['type']} with the regular expression {pattern['Regex'][:80]!r}"
            return f"{given}, which may take without end; expected one of those that docs/security.md lists, or none"
    growth = math.prod(_growth(rule) for rule in rules if rule["type"] not in _FORMS)
    growth *= max((_GROWTH[rule["type"]] for rule in rules if rule["type"] in _FORMS), default=1)
    if growth > MOST_GROWTH:
        return f"its rules may make a text {growth:,.0f} times as long; expected at most {MOST_GROWTH}"
    return _unbounded_model(tokenizer)


def _unbounded_model(tokenizer: Tokenizer) -> str | None:
    """The same of what makes tokens of a text, and of tokens that are added."""
    longest = getattr(tokenizer.model, "max_input_chars_per_word", 0)
    if longest > MOST_CHARACTERS_OF_A_WORD:
        return f"max_input_chars_per_word is {longest:,}; expected at most {MOST_CHARACTERS_OF_A_WORD}, as BERT's 100"
    if type(tokenizer.model).__name__ == "Unigram":
        longest = max(map(len, tokenizer.get_vocab(with_added_tokens=False)))
        if longest > MOST_CHARACTERS_OF_A_PIECE:
            return f"a piece of {longest:,} characters; expected at most {MOST_CHARACTERS_OF_A_PIECE}"
    padding = tokenizer.padding or {}
    lengths = (padding.get(name) or 0 for name in ("length", "pad_to_multiple_of"))
    added = max(tokenizer.num_special_tokens_to_add(False), *lengths)
    if added > MOST_ADDED:
        return f"it adds {added:,} tokens to a text, or pads it to them; expected at most {MOST_ADDED:,}"
    return None


def _rules(part: Any) -> Iterator[dict[str, Any]]:
    """The single rules of a normalizer or a pre-tokenizer, sequences in sequences taken apart."""
    waiting = [] if part is None else [json.loads(part.__getstate__())]
    while waiting:
        rule = waiting.pop()
        inner = rule.get("normalizers") or rule.get("pretokenizers")
        if inner:
            waiting += reversed(inner)
        else:
            yield rule


def _growth(rule: Mapping[str, Any]) -> float:
    """Times as long as it was, in characters, that a rule may make a text; a text that is empty counts as one."""
    kind = rule["type"]
    if kind == "Replace":
        (pattern,) = rule["pattern"].values()
        shortest = len(pattern) if "String" in rule["pattern"] else 1
        return max(1.0, len(rule["content"]) / shortest if shortest else math.inf)
    if kind == "Prepend":
        return 1.0 + len(rule["prepend"])
    if kind == "Precompiled":
        table = base64.b64decode(rule["precompiled_charsmap"])
        texts = table[4 + int.from_bytes(table[:4], "little") :]
        return float(max(1, *(len(text.decode("utf-8", "replace")) for text in texts.split(b"\0"))))
    return float(_GROWTH.get(kind, 1))


@dataclass(frozen=True, repr=False)
class Vocabulary:
    """V terms by id.

    Attributes:
        terms: the strings, position = id.
        ids: the way back.
    """

    terms: tuple[str, ...]
    ids: Mapping[str, int] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", {term: i for i, term in enumerate(self.terms)})

    @classmethod
    def from_tokenizer(cls, tokenizer: Tokenizer) -> Vocabulary:
        """The tokenizer's vocabulary, added tokens included.

        Raises:
            BundleError: ids are not 0 .. V-1, so that a column would have no name.
        """
        by_id = {i: term for term, i in tokenizer.get_vocab(with_added_tokens=True).items()}
        if sorted(by_id) != list(range(len(by_id))):
            raise BundleError(f"the tokenizer's {len(by_id)} terms do not have the ids 0 to {len(by_id) - 1}")
        return cls(tuple(by_id[i] for i in range(len(by_id))))

    def __len__(self) -> int:
        return len(self.terms)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} terms)"
