"""`lexlip-train lexicon`: words, where they lie in a sentence encoder, and what WordNet says of them."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexlip_infer.cli.shell import refuse_existing
from lexlip_infer.errors import InputError, require
from lexlip_infer.files import new_folder
from lexlip_training.lexicon.wordnet import ABSTRACT, CONCRETE, WordNet, words_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import scipy.sparse
    from tokenizers import Tokenizer

    from lexlip_training.lexicon.folder import Lexicon

#: What a kind's words weigh against those of what it is a kind of, a step.
STEP_UP = 0.6

#: Below it, on the Zipf scale, nobody calls a thing after its kind: "mammal", and not "placental".
SAID = 3.4

#: Steps up that a meaning may be from a word of the vocabulary.
NEAR = 2

#: Words that are looked at, the most frequent of English.
FREQUENT = 60_000

#: Texts that go through the sentence encoder at a time, and tokens that they are cut to.
_BATCH, _LENGTH = 256, 64


def lexicon(
    output: Annotated[Path, typer.Argument(help="folder to write; must not exist")],
    captions: Annotated[list[Path], typer.Argument(help='captions.jsonl, one or more; split "train" is read')],
    wordnet: Annotated[
        Path, typer.Option(help="folder with WordNet 3.0's data.noun and so on: /usr/share/wordnet of wordnet-base")
    ],
    encoder: Annotated[
        Path, typer.Option(help="folder of a sentence encoder in Hugging Face's layout: all-MiniLM-L6-v2")
    ],
) -> None:
    """Choose the words of a vocabulary and write down what they mean."""
    for module in ("torch", "timm", "transformers", "wordfreq"):
        require(module, extra="train")
    refuse_existing(output)
    from timm.data import ImageNetInfo

    from lexlip_training.data import read_pairs
    from lexlip_training.data.config import SourceConfig

    texts = read_pairs([SourceConfig(path=str(path)) for path in captions], "train").captions
    files = {f"{path.parent.name}/{path.name}": _sha256(path) for path in captions}
    every = [texts[row] for row in range(len(texts))]
    made = make_lexicon(every, ImageNetInfo().label_names(), WordNet(wordnet), encoder)
    made.record["captions"] = files
    with new_folder(output) as folder:
        made.save(folder)
    terms, classes = made.tokenizer.get_vocab_size(), len(made.class_names)
    typer.echo(f"{output}: {terms:,} terms, {classes:,} classes, {len(made.meanings):,} meanings")


def make_lexicon(captions: Sequence[str], classes: Sequence[str], net: WordNet, encoder: Path) -> Lexicon:
    """Words of captions, classes and frequent English, and what is known of them.

    Args:
        captions: training texts.
        classes: keys of the synsets that an image classifier knows, in its order.
        net: what words mean.
        encoder: folder of the sentence encoder.

    Raises:
        InputError: the classes are not those of this WordNet, or the folder holds no sentence encoder.
    """
    import numpy as np
    import wordfreq

    from lexlip_training.lexicon.folder import Lexicon
    from lexlip_training.lexicon.word_list import choose_words, word_tokenizer

    net.require(classes)
    frequent = [(word, wordfreq.zipf_frequency(word, "en")) for word in wordfreq.top_n_list("en", FREQUENT)]
    tokenizer = word_tokenizer(choose_words(captions, classes, net, frequent))
    said = {word for word, frequency in frequent if frequency >= SAID}
    meanings = _meanings(net, tokenizer)
    different = list(dict.fromkeys(captions))
    return Lexicon(
        tokenizer=tokenizer,
        embeddings=sentence_vectors(encoder, _spelt_out(tokenizer)),
        captions=different,
        caption_vectors=sentence_vectors(encoder, different).astype(np.float16),
        class_words=kind_words(net, classes, tokenizer, said),
        class_names=[list(net.synsets[key].lemmas) for key in classes],
        meaning_words=kind_words(net, meanings, tokenizer, said),
        meanings=[(net.synsets[key].lemmas[0], net.synsets[key].gloss) for key in meanings],
        record={
            "wordnet": {name: _sha256(net.folder / name) for name in ("data.noun", "index.noun")},
            "encoder": {"model.safetensors": _sha256(encoder / "model.safetensors")},
            "wordfreq": version("wordfreq"),
        },
    )


def kind_words(net: WordNet, keys: Sequence[str], tokenizer: Tokenizer, said: Container[str]) -> scipy.sparse.csr_array:
    """Words (len(keys), V) of meanings and of what they are kinds of, by least distance; what is general left out.

    Args:
        net: WordNet.
        keys: of the meanings.
        tokenizer: of whole words; others are left out, and a plural counts as its word.
        said: words that people call kinds by; a meaning's own names are words whether they are among them or not.
    """
    import numpy as np
    import scipy.sparse

    vocabulary = tokenizer.get_vocab()
    rows = [_weights(net, key, vocabulary, said) for key in keys]
    ends = np.cumsum([0, *(len(row) for row in rows)])
    columns = [term for row in rows for term in row]
    values = [weight for row in rows for weight in row.values()]
    shape = (len(keys), len(vocabulary))
    return scipy.sparse.csr_array((np.array(values, np.float32), np.array(columns, np.int32), ends), shape=shape)


def _weights(net: WordNet, key: str, vocabulary: dict[str, int], said: Container[str]) -> dict[int, float]:
    weights: dict[int, float] = {}
    for steps, synset in net.kinds(key):
        for word, part in words_of(synset.lemmas):
            term = vocabulary.get(word)
            if term is not None and word not in ABSTRACT and (steps == 0 or word in said):
                weights[term] = max(weights.get(term, 0.0), part * STEP_UP**steps)
    return dict(sorted(weights.items()))


def _meanings(net: WordNet, tokenizer: Tokenizer) -> list[str]:
    """Keys of concrete nouns with a name, or a kind not far up, that the vocabulary holds; offensive ones left out."""
    vocabulary = tokenizer.get_vocab()

    def is_near(key: str) -> bool:
        near = (kind.lemmas for steps, kind in net.kinds(key) if steps <= NEAR)
        return any(word in vocabulary for lemmas in near for word, _ in words_of(lemmas))

    return [
        key
        for key, synset in net.synsets.items()
        if key.startswith("n") and synset.category in CONCRETE
        if not any(net.is_offensive(lemma, any_sense=True) for lemma in synset.lemmas)
        if is_near(key)
    ]


def _spelt_out(tokenizer: Tokenizer) -> list[str]:
    """What each term reads like by itself, in the order of ids."""
    vocabulary = tokenizer.get_vocab()
    return [term.removeprefix("##").strip("[]").lower() for term in sorted(vocabulary, key=vocabulary.__getitem__)]


def sentence_vectors(encoder: Path, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Unit vectors (len(texts), E): the mean over the tokens of a sentence encoder's last layer.

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
    tokenizer.enable_truncation(_LENGTH)
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))  # those of a batch are about as long
    vectors = torch.empty(len(texts), model.config.hidden_size)
    with torch.no_grad():
        for start in range(0, len(texts), _BATCH):
            rows = order[start : start + _BATCH]
            encodings = tokenizer.encode_batch([texts[row] for row in rows])
            ids = torch.tensor([encoding.ids for encoding in encodings])
            mask = torch.tensor([encoding.attention_mask for encoding in encodings])
            states = model(input_ids=ids, attention_mask=mask).last_hidden_state * mask.unsqueeze(-1)
            vectors[rows] = torch.nn.functional.normalize(states.sum(1), dim=1)
    embeddings: npt.NDArray[np.float32] = vectors.numpy()
    return embeddings


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
