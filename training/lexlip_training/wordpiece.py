"""Tokenizers of text towers, read from a local file or trained on captions, and the terms that never get a weight.

Nothing is downloaded, and no tokenizer is guessed.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from lexlip_infer.files import read_json, read_regular
from lexlip_infer.vocabulary import MOST_BYTES, read_tokenizer
from lexlip_kernels.errors import BundleError

_EXPECTED = "expected a tokenizer.json, a vocab.txt, or a folder that holds one of them"


def read_tokenizer_file(path: Path) -> Tokenizer:
    """Read a `tokenizer.json`, a BERT `vocab.txt`, or the folder of either.

    A `vocab.txt` lower-cases, unless `do_lower_case` in a `tokenizer_config.json` beside it says otherwise.

    Raises:
        BundleError: there is no such file, or it is no tokenizer.
    """
    if path.is_dir():
        found = [path / name for name in ("tokenizer.json", "vocab.txt") if (path / name).exists()]
        if not found:
            raise BundleError(f"{path}: holds no tokenizer; {_EXPECTED}")
        path = found[0]
    try:
        data = read_regular(path, MOST_BYTES, refuse=BundleError)
        if path.suffix == ".json":
            return read_tokenizer(data)
        settings = path.with_name("tokenizer_config.json")
        said = read_json(settings, refuse=BundleError) if settings.exists() else {}
        lowercase = said.get("do_lower_case", True) if isinstance(said, dict) else True
        return bert_tokenizer(data.decode(), bool(lowercase))
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); {_EXPECTED}") from None
    except BundleError as error:
        raise BundleError(f"{path}: {str(error).removeprefix(f'{path.name}: ')}; {_EXPECTED}") from None
    except UnicodeDecodeError as error:
        raise BundleError(f"{path}: not a tokenizer ({error}); {_EXPECTED}") from None


def bert_tokenizer(vocabulary: str, lowercase: bool = True) -> Tokenizer:
    """BERT's WordPiece tokenizer.

    Special tokens written out in a text are ordinary text, as in LexLIP, which lower-cases before it tokenises.

    Args:
        vocabulary: the contents of a `vocab.txt`, one word piece a line, the line number from 0 its id.
        lowercase: also strips accents, as BERT does.

    Raises:
        BundleError: a special token is missing, or a piece stands there twice.
    """
    pieces = [line.removesuffix("\r") for line in vocabulary.removesuffix("\n").split("\n")]
    ids = {piece: number for number, piece in enumerate(pieces)}
    missing = [token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if token not in ids]
    if missing or len(ids) != len(pieces):
        reason = f"lacks {', '.join(missing)}" if missing else "holds a word piece twice"
        raise BundleError(f"the vocabulary {reason}; expected BERT's vocab.txt")
    return wordpiece_tokenizer(whole_or_unknown(ids), lowercase)


def whole_or_unknown(ids: dict[str, int]) -> models.WordPiece:
    """The model of a finished vocabulary: a word that its pieces do not make up is [UNK]."""
    return models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100)  # noqa: S106  (a token of text)


def wordpiece_tokenizer(model: models.WordPiece, lowercase: bool = True) -> Tokenizer:
    """BERT's tokenizer, [CLS] and [SEP] included, around a model that holds them."""
    return _with_ends(_bert(model, lowercase))


def _bert(model: models.WordPiece, lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _with_ends(tokenizer: Tokenizer) -> Tokenizer:
    ids = tokenizer.get_vocab()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    return tokenizer


SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

#: Of a plural, and of a verb's third person: pieces of a vocabulary of whole words that say nothing by themselves.
ENDINGS = ("s", "es")

#: Words that stand in almost every caption and say nothing about a picture. As index terms they would only make
#: long posting lists.
FUNCTION_WORDS = """
    a an the is are was were be being been am of and or to in on at by for from with as it its his her their them he she
    they this that these those there while who which has have s t
""".split()  # noqa: SIM905  (one string a word would hide the words)


def train_wordpiece(captions: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train BERT's kind of tokenizer: lower case, punctuation split off, `##` continues a word.

    Args:
        captions: training texts.
        vocab_size: V, special tokens included.
    """
    tokenizer = _bert(models.WordPiece(unk_token="[UNK]"), lowercase=True)  # noqa: S106  (a token of text)
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=list(string.ascii_lowercase + string.digits),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    return _with_ends(tokenizer)


def suppressed_terms(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Ids of special tokens, punctuation, function words and endings of a plural, ascending."""
    words = {*SPECIAL_TOKENS, *FUNCTION_WORDS, *(f"##{ending}" for ending in ENDINGS)}
    vocabulary = tokenizer.get_vocab()
    return tuple(sorted(i for term, i in vocabulary.items() if term in words or not any(c.isalnum() for c in term)))
