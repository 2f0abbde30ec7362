"""WordNet's database files (format of WordNet 3.0: man pages wndb(5WN) and wninput(5WN)), as much as a lexicon needs.

No package on PyPI brings WordNet 3.0 whose offsets are ImageNet's class numbers; Debian's `wordnet-base` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lexlip_kernels.errors import InputError

#: Parts of speech and their files.
_FILES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}

#: Numbers of the lexicographers' files of nouns whose things can be seen in a photograph.
CONCRETE = frozenset({4, 5, 6, 8, 11, 13, 14, 15, 17, 18, 19, 20, 25, 27})

#: What a word weighs that only narrows a name, as "soccer" in "soccer ball".
PARTIAL = 0.6

#: Kinds so general that they say nothing about a picture.
ABSTRACT = frozenset(
    """entity object whole unit artifact instrumentality abstraction matter thing cause attribute relation part physical
    psychological causal organism being instrumentation artefact living animate conveyance covering device mechanism
    mechanical equipment brute beast fauna creature structure construction person individual someone somebody mortal
    soul""".split()  # noqa: SIM905  (one string a word would hide the words)
)


@dataclass(frozen=True, slots=True)
class Synset:
    """One meaning.

    Attributes:
        key: part of speech and offset, for example "n02084071".
        category: number of the lexicographers' file.
        lemmas: its names, lower case, blanks between words.
        kinds: keys of what it is a kind or an instance of.
        named: whether it is one person, place or thing, not a kind of them.
        usage: keys of what marks its use, for example "vulgarism".
        gloss: its definition, examples cut off.
    """

    key: str
    category: int
    lemmas: tuple[str, ...]
    kinds: tuple[str, ...]
    named: bool
    usage: tuple[str, ...]
    gloss: str


class WordNet:
    """All of it.

    Args:
        folder: with data.noun, index.noun and so on.

    Attributes:
        synsets: meanings by key.
        senses: keys of a lemma's meanings, nouns first, those of each part of speech by frequency.

    Raises:
        InputError: a file is missing, or is not WordNet's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.synsets: dict[str, Synset] = {}
        self.senses: dict[str, tuple[str, ...]] = {}
        for letter, name in _FILES.items():
            try:
                self.synsets |= {synset.key: synset for synset in _synsets(folder / f"data.{name}")}
                for lemma, keys in _index(folder / f"index.{name}", letter):
                    self.senses[lemma] = self.senses.get(lemma, ()) + keys
            except (OSError, ValueError, IndexError) as error:
                raise InputError(f"{folder}: not the files of WordNet 3.0 ({error}); see docs/training.md") from None
        self.require(key for synset in self.synsets.values() for key in synset.kinds)
        self.require(key for keys in self.senses.values() for key in keys)

    def require(self, keys: Iterable[str]) -> None:
        """Refuse a database without these meanings.

        Raises:
            InputError: it is damaged, or another version, where every meaning has another number.
        """
        missing = next((key for key in keys if key not in self.synsets), None)
        if missing is not None:
            raise InputError(f"{self.folder}: has no meaning {missing}; expected the files of WordNet 3.0, all of them")

    def kinds(self, key: str) -> Iterator[tuple[int, Synset]]:
        """The meaning itself (0), what it is a kind of (1), and so on; each once, at its least distance."""
        level, seen = [key], {key}
        steps = 0
        while level:
            for each in level:
                yield steps, self.synsets[each]
            above = dict.fromkeys(kind for each in level for kind in self.synsets[each].kinds if kind not in seen)
            seen |= above.keys()
            level, steps = list(above), steps + 1

    def first_is_concrete(self, lemma: str) -> bool:
        """Whether the most frequent meaning of a noun is a kind of thing that can be seen, and no proper name."""
        first = next(iter(self.senses.get(lemma, ())), "")
        return first.startswith("n") and self.synsets[first].category in CONCRETE and not self.synsets[first].named

    def is_offensive(self, lemma: str, any_sense: bool) -> bool:
        """Whether its first meaning, or any, is marked as a slur or as vulgar."""
        senses = self.senses.get(lemma, ())
        looked_at = senses if any_sense else senses[:1]
        return any(not self._offences.isdisjoint(self.synsets[key].usage) for key in looked_at)

    @cached_property
    def _offences(self) -> frozenset[str]:
        names = ("ethnic slur", "disparagement", "obscenity", "vulgarism", "smut")
        return frozenset(key for name in names for key in self.senses.get(name, ()))


def _synsets(file: Path) -> Iterator[Synset]:
    for fields, gloss in _lines(file):
        offset, category, letter, count = fields[:4]
        words = int(count, 16)
        lemmas = tuple(_plain(word) for word in fields[4 : 4 + 2 * words : 2])
        at = 4 + 2 * words
        pointers = [fields[start : start + 4] for start in range(at + 1, at + 1 + 4 * int(fields[at]), 4)]
        kinds, usage = (
            tuple(f"{pos}{target}" for symbol, target, pos, _ in pointers if symbol in symbols)
            for symbols in (("@", "@i"), (";u",))
        )
        named = any(symbol == "@i" for symbol, *_ in pointers)
        key = f"{'a' if letter == 's' else letter}{offset}"
        yield Synset(key, int(category), lemmas, kinds, named, usage, gloss.split('; "')[0].strip())


def _index(file: Path, letter: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for fields, _ in _lines(file):
        count = int(fields[2])
        yield _plain(fields[0]), tuple(f"{letter}{offset}" for offset in fields[-count:])


def _lines(file: Path) -> Iterator[tuple[list[str], str]]:
    """Fields and gloss of each line below the licence, which is set off by blanks."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith(" "):
                fields, _, gloss = line.partition("|")
                yield fields.split(), gloss


def _plain(word: str) -> str:
    """Without the mark of an adjective's place, as in `galore(ip)`."""
    return word.partition("(")[0].replace("_", " ").lower()


def words_of(lemmas: Iterable[str]) -> Iterator[tuple[str, float]]:
    """Words of names and how much of the name each is: the last, which says what it is, all; others `PARTIAL`."""
    for lemma in lemmas:
        *first, last = lemma.replace("-", " ").split() or [lemma]
        yield last, 1.0
        yield from ((word, PARTIAL) for word in first)
