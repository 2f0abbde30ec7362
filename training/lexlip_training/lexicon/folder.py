"""A lexicon on disk: what `lexlip-train lexicon` makes once and a run of the recipe reads.

tokenizer.json      whole words
words.safetensors   `embeddings` (V, E): where the words lie in a public sentence encoder
classes.npz         (C, V) CSR: the words of each class and of what it is a kind of
meanings.npz        (M, V) CSR: the same of concrete nouns
lexicon.json        names of the classes, names and definitions of the meanings, what all of it was made of
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import scipy.sparse
from safetensors import SafetensorError
from safetensors.numpy import load, save_file
from tokenizers import Tokenizer

from lexlip_infer.files import read_json, read_regular
from lexlip_kernels.errors import BundleError
from lexlip_training.wordpiece import read_tokenizer_file

#: Bytes of a file; the words' vectors take 16 million.
MOST_BYTES = 256_000_000


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words and their meanings; V words, C classes of an image classifier, M meanings of nouns.

    Attributes:
        tokenizer: of V terms.
        embeddings: (V, E) float32.
        class_words: (C, V) float32, the word that a class is called by 1, a kind's less with each step up.
        class_names: what each class is called, in every way that WordNet knows.
        meaning_words: (M, V), the same of meanings.
        meanings: name and definition of each.
        record: what it was made of.
    """

    tokenizer: Tokenizer
    embeddings: npt.NDArray[np.float32]
    class_words: scipy.sparse.csr_array
    class_names: list[list[str]]
    meaning_words: scipy.sparse.csr_array
    meanings: list[tuple[str, str]]
    record: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write the files into a folder that exists."""
        (folder / "tokenizer.json").write_text(self.tokenizer.to_str(pretty=True), "utf-8")
        save_file({"embeddings": self.embeddings}, folder / "words.safetensors")
        scipy.sparse.save_npz(folder / "classes.npz", self.class_words)
        scipy.sparse.save_npz(folder / "meanings.npz", self.meaning_words)
        texts = {"class_names": self.class_names, "meanings": self.meanings, "record": self.record}
        (folder / "lexicon.json").write_text(json.dumps(texts, ensure_ascii=False), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Lexicon:
        """Read the files.

        Raises:
            BundleError: one is missing or damaged, or they do not belong together.
        """
        tokenizer = read_tokenizer_file(folder / "tokenizer.json")
        try:
            texts = read_json(folder / "lexicon.json", refuse=ValueError, limit=MOST_BYTES)
            made = cls(
                tokenizer,
                load(read_regular(folder / "words.safetensors", MOST_BYTES, refuse=ValueError))["embeddings"],
                _read_rows(folder / "classes.npz"),
                texts["class_names"],
                _read_rows(folder / "meanings.npz"),
                [(name, gloss) for name, gloss in texts["meanings"]],
                texts["record"],
            )
            made.check()
        except (OSError, ValueError, KeyError, TypeError, SafetensorError, BadZipFile, EOFError) as error:
            raise BundleError(f"{folder}: not a lexicon ({error}); `lexlip-train lexicon` makes one") from None
        return made

    def check(self) -> None:
        """Refuse parts that do not belong together.

        Raises:
            ValueError: shapes differ, or a class has no name.
        """
        terms = self.tokenizer.get_vocab_size()
        expected = {
            "words": (self.embeddings.shape[:1], (terms,)),
            "classes": (self.class_words.shape, (len(self.class_names), terms)),
            "meanings": (self.meaning_words.shape, (len(self.meanings), terms)),
        }
        for part, (shape, wanted) in expected.items():
            if shape != wanted or 0 in wanted:
                raise ValueError(f"{part} has the shape {shape}, expected {wanted} and nothing empty")
        if self.embeddings.ndim != 2 or not all(self.class_names):
            raise ValueError("vectors of words are no matrix, or a class has no name")


def _read_rows(file: Path) -> scipy.sparse.csr_array:
    # Not by its path: scipy leaves a damaged file open.
    return scipy.sparse.csr_array(scipy.sparse.load_npz(BytesIO(read_regular(file, MOST_BYTES, refuse=ValueError))))
