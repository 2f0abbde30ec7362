"""Encode the photographs beside this file, print their words, search them, and draw a picture of each.

    python examples/demo.py OUT

This is what `make demo` runs: the commands and the library as they are installed, with the model that ships with them.
The model was not trained on these photographs; `photographs/ATTRIBUTION.md` says where they come from.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from draw_hits import draw_hits
from draw_words import draw_words

from lexlip_infer import Index, LexLIPEncoder

PHOTOGRAPHS = Path(__file__).parent / "photographs"
#: The last one holds a name, which no vocabulary of ordinary words has.
QUERIES = (
    "children riding bicycles",
    "people around a fire at night",
    "a big yellow flower",
    "an Emirates airplane",
)
#: Words of a photograph, and hits of a query.
WORDS, HITS = 6, 3


def main(output: Path) -> None:
    """Run the whole path from photographs to a ranked list."""
    index = output / "index"
    run("lexlip-encode", "--images", str(PHOTOGRAPHS), "--output", str(index))
    encoder = LexLIPEncoder.from_pretrained()
    print_words(encoder)
    for query in QUERIES:
        run("lexlip", "search", str(index), query, "--hits", str(HITS))
        for word in unknown_words(encoder, query):
            print(f"{word!r} is no word of the model's vocabulary: it counts for nothing")
    print("\npictures of it:")
    draw_words(encoder, PHOTOGRAPHS, output / "words.jpg", WORDS)
    with Index.open(index) as opened:
        draw_hits(opened, QUERIES, output / "hits.jpg", HITS)


def print_words(encoder: LexLIPEncoder) -> None:
    """The heaviest terms of each photograph, through the Python API."""
    photographs = sorted(PHOTOGRAPHS.glob("*.jpg"))
    batch = encoder.encode_images(photographs, show_progress_bar=False)
    print("\nwords and weights")
    for path, words in zip(photographs, encoder.decode(batch, top_k=WORDS), strict=True):
        print(f"  {path.name:<16} " + "  ".join(f"{word} {weight:.2f}" for word, weight in words))


def unknown_words(encoder: LexLIPEncoder, query: str) -> list[str]:
    """Those for which the model's vocabulary has no term, in order."""
    words = query.split()
    placeholder = encoder.vocabulary.ids["[UNK]"]
    token_ids, _ = encoder.tokenize(words)
    return [word for word, row in zip(words, token_ids, strict=True) if placeholder in row]


def run(*command: str) -> None:
    """Show a command and run it: a console script of the environment that this interpreter belongs to."""
    print("\n$", *(f'"{word}"' if " " in word else word for word in command), flush=True)
    subprocess.run([Path(sys.executable).parent / command[0], *command[1:]], check=True)  # noqa: S603


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/demo.py OUT")
    main(Path(sys.argv[1]))
