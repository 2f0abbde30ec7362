"""A WordNet of a few invented entries, in WordNet's own format (wndb(5WN))."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

LICENCE = "  1 This stands in the place of WordNet's licence, whose lines begin with blanks.  \n"

#: Number, lexicographers' file, names, pointers, gloss.
_Entry = tuple[int, int, str, str, str]

NOUNS: list[_Entry] = [
    (1, 3, "entity", "", "what there is"),
    (100, 5, "animal beast", "@ 1", "what moves by itself"),
    (200, 5, "dog domestic_dog", "@ 100", 'a barker; "the dog barked"'),
    (210, 5, "spotted_hound dog", "@ 200 @ 100", "a dog with spots"),
    (220, 5, "Rex", "@i 200", "one dog of that name"),
    (300, 5, "pony", "@ 100", "a small horse"),
    (400, 6, "artifact", "@ 1", "what is made"),
    (410, 6, "glass", "@ 400", "what is drunk from"),
    (420, 6, "glasses", "@ 400", "what is seen through"),
    (430, 6, "soccer_ball", "@ 440", "a ball for soccer"),
    (440, 6, "ball", "@ 400", "what is thrown"),
    (500, 10, "news", "@ 1", "what is new"),
    (510, 10, "disparagement", "@ 1", "a way to belittle"),
    (520, 18, "oaf", "@ 1 ;u 510", "somebody belittled"),
    (530, 18, "clown", "@ 1", "somebody funny"),
    (540, 18, "clown oaf", "@ 1 ;u 510", "somebody belittled, again"),
]
VERBS: list[_Entry] = [(100, 38, "run", "", "move fast")]
ADJECTIVES: list[_Entry] = [(100, 0, "red(a)", "", "of a colour"), (110, 0, "Red-Hot", "& 100", "very warm")]
ADVERBS: list[_Entry] = [(100, 2, "fast", "", "at once")]


def write_wordnet(folder: Path) -> Path:
    """The files of all four parts of speech; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for letter, name, entries in (("n", "noun", NOUNS), ("v", "verb", VERBS), ("a", "adj", ADJECTIVES)):
        _write(folder, letter, name, entries)
    _write(folder, "r", "adv", ADVERBS)
    return folder


def _write(folder: Path, letter: str, name: str, entries: Iterable[_Entry]) -> None:
    data, senses = LICENCE, dict[str, list[int]]()
    for number, category, names, pointers, gloss in entries:
        fields = [f"{number:08d}", f"{category:02d}", letter, f"{len(names.split()):02x}"]
        fields += [field for word in names.split() for field in (word, "0")]
        pairs = list(zip(pointers.split()[::2], pointers.split()[1::2], strict=True))
        fields += [f"{len(pairs):03d}"]
        for symbol, target in pairs:
            part = letter if symbol == "&" else "n"
            fields += [symbol, f"{int(target):08d}", part, "0000"]
        fields += ["01", "+", "02", "00"] if letter == "v" else []
        data += f"{' '.join(fields)} | {gloss}  \n"
        for word in names.split():
            senses.setdefault(word.partition("(")[0].lower(), []).append(number)
    index = LICENCE
    for word, numbers in sorted(senses.items()):
        offsets = " ".join(f"{number:08d}" for number in numbers)
        index += f"{word} {letter} {len(numbers)} 1 @ {len(numbers)} 0 {offsets}  \n"
    (folder / f"data.{name}").write_text(data)
    (folder / f"index.{name}").write_text(index)
