"""`lexlip-train lexicon`: words, where they lie in a sentence encoder, and what WordNet says of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexlip_infer.errors import InputError, require
from lexlip_infer.files import new_folder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import scipy.sparse
    from tokenizers import Tokenizer

    from lexlip_training.lexicon.wordnet import WordNet

#: What a kind's words weigh against those of what it is a kind of, a step.
STEP_UP = 0.75

#: Words that are looked at, the most frequent of English.
FREQUENT = 60_000


def lexicon(
    output: Annotated[Path, typer.Argument(help="folder to write; must not exist")],
    captions: Annotated[list[Path], typer.Argument(help="captions.jsonl, one or more; split \"train\" is read")],
    wordnet: Annotated[Path, typer.Option(help="folder with data.noun and so on: /usr/share/wordnet of Debian's wordnet-base 3.0")],
    encoder: Annotated[Path, typer.Option(help="folder of a sentence encoder in Hugging Face's layout: all-MiniLM-L6-v2")],
) -> None:
    """Choose the words of a vocabulary and write down what they mean."""
    for module in ("torch", "timm", "transformers"):
        require(module, extra="train")
    require("wordfreq", extra="train")
    import wordfreq
    from timm.data import ImageNetInfo

    from lexlip_training.data import read_pairs
    from lexlip_training.data.config import SourceConfig
    from lexlip_training.lexicon.folder import Lexicon
    from lexlip_training.lexicon.word_list import choose_words, word_tokenizer
    from lexlip_training.lexicon.wordnet import WordNet

    net = WordNet(wordnet)
    classes = ImageNetInfo().label_names()
    texts = read_pairs([SourceConfig(path=str(path)) for path in captions], "train").captions
    frequent = [(word, wordfreq.zipf_frequency(word, "en")) for word in wordfreq.top_n_list("en", FREQUENT)]
    words = choose_words((texts[row] for row in range(len(texts))), classes, net, frequent)
    tokenizer = word_tokenizer(words)
    meanings = _meanings(net, tokenizer)
    record = {
        "captions": {path.name: _sha256(path) for path in captions},
        "wordnet": {name: _sha256(wordnet / name) for name in ("data.noun", "index.noun")},
        "encoder": {"model.safetensors": _sha256(encoder / "model.safetensors")},
        "wordfreq": _version("wordfreq"),
    }
    made = Lexicon(
        tokenizer,
        word_embeddings(encoder, _spelt_out(tokenizer)),
        kind_words(net, classes, tokenizer),
        [list(net.synsets[key].lemmas) for key in classes],
        kind_words(net, meanings, tokenizer),
        [(net.synsets[key].lemmas[0], net.synsets[key].gloss) for key in meanings],
        record,
    )
    with new_folder(output) as folder:
        made.save(folder)
    typer.echo(f"{output}: {tokenizer.get_vocab_size():,} terms, {len(classes):,} classes, {len(meanings):,} meanings")


def kind_words(net: WordNet, keys: Sequence[str], tokenizer: Tokenizer) -> scipy.sparse.csr_array:
    """Words (len(keys), V) of meanings and of what they are kinds of, by least distance; what is general left out.

    Args:
        net: WordNet.
        keys: of the meanings.
        tokenizer: of whole words; others are left out, and a plural counts as its word.
    """
    import numpy as np
    import scipy.sparse

    from lexlip_training.lexicon.wordnet import ABSTRACT, words_of

    vocabulary = tokenizer.get_vocab()
    rows, columns, values = [], [], []
    for row, key in enumerate(keys):
        weights: dict[int, float] = {}
        for steps, synset in net.kinds(key):
            for word, part in words_of(synset.lemmas):
                term = vocabulary.get(word)
                if term is not None and word not in ABSTRACT:
                    weights[term] = max(weights.get(term, 0.0), part * STEP_UP**steps)
        rows += [row] * len(weights)
        columns += weights.keys()
        values += weights.values()
    shape = (len(keys), len(vocabulary))
    return scipy.sparse.csr_array((np.array(values, np.float32), (rows, columns)), shape=shape)


def _meanings(net: WordNet, tokenizer: Tokenizer) -> list[str]:
    """Concrete nouns with a name or a kind, up to two steps away, that the vocabulary holds."""
    from lexlip_training.lexicon.wordnet import CONCRETE, words_of

    vocabulary = tokenizer.get_vocab()
    found = []
    for key, synset in net.synsets.items():
        if key.startswith("n") and synset.category in CONCRETE and not any(net.is_offensive(lemma, any_sense=True) for lemma in synset.lemmas):
            near = (word for steps, kind in net.kinds(key) if steps <= 2 for word, _ in words_of(kind.lemmas))
            if any(word in vocabulary for word in near):
                found.append(key)
    return found


def _spelt_out(tokenizer: Tokenizer) -> list[str]:
    vocabulary = tokenizer.get_vocab()
    return [term.removeprefix("##").strip("[]").lower() for term in sorted(vocabulary, key=vocabulary.__getitem__)]


def word_embeddings(encoder: Path, words: Iterable[str]) -> npt.NDArray[np.float32]:
    """Unit vectors (V, E) of single words: the mean over the tokens of a sentence encoder's last layer.

    Raises:
        InputError: the folder holds no such encoder.
    """
    import torch
    from tokenizers import Tokenizer as AnyTokenizer
    from transformers import AutoModel

    try:
        model = AutoModel.from_pretrained(str(encoder), local_files_only=True).eval()
        tokenizer = AnyTokenizer.from_file(str(encoder / "tokenizer.json"))
    except Exception as error:  # noqa: BLE001  (transformers and tokenizers raise what they like)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{encoder}: not a sentence encoder in Hugging Face's layout ({reason})") from None
    tokenizer.enable_padding()
    words, rows = list(words), []
    with torch.no_grad():
        for start in range(0, len(words), 256):
            encodings = tokenizer.encode_batch(words[start : start + 256])
            ids = torch.tensor([encoding.ids for encoding in encodings])
            mask = torch.tensor([encoding.attention_mask for encoding in encodings])
            states = model(input_ids=ids, attention_mask=mask).last_hidden_state * mask.unsqueeze(-1)
            rows.append(torch.nn.functional.normalize(states.sum(1), dim=1))
    embeddings: npt.NDArray[np.float32] = torch.cat(rows).numpy()
    return embeddings


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)
