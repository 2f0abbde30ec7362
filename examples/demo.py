"""Encode the sample photographs that scikit-image carries, print their words, run one search, and draw a picture of it.

    python examples/demo.py OUT

This is what `make demo` runs. It uses the installed package alone, and the model that ships with it.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from draw_words import main as draw_words

#: Photographs among scikit-image's files; the rest are test patterns and scientific images.
SAMPLES = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
QUERY = "a person in a uniform smiles"


def main(output: Path) -> None:
    """Run the whole path from photographs to a ranked list."""
    photographs = output / "photographs"
    photographs.mkdir(parents=True, exist_ok=True)
    for name in SAMPLES:
        shutil.copy(sample_folder() / name, photographs / name)
    run("lexlip-encode", "--images", str(photographs), "--output", str(output / "index"))
    print_words(sorted(photographs.iterdir()))
    print(f"\nlexlip search {output / 'index'} {QUERY!r}")
    run("lexlip", "search", str(output / "index"), QUERY)
    draw_words(photographs, output / "words.png")


def sample_folder() -> Path:
    """Where scikit-image keeps its sample images, without importing it."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        sys.exit("scikit-image is not installed; it comes with: pip install 'lexlip-infer[demo]'")
    return Path(spec.origin).parent / "data"


def print_words(photographs: list[Path]) -> None:
    """The heaviest terms of each photograph, through the Python API."""
    from lexlip_infer import LexLIPEncoder

    encoder = LexLIPEncoder.from_pretrained()
    batch = encoder.encode_images(photographs)
    print("\nwords and weights")
    for path, words in zip(photographs, encoder.decode(batch, top_k=8), strict=True):
        print(f"  {path.name:<20} " + "  ".join(f"{word} {weight:.2f}" for word, weight in words))


def run(*command: str) -> None:
    """Run a console script of the environment this interpreter belongs to."""
    subprocess.run([Path(sys.executable).parent / command[0], *command[1:]], check=True)  # noqa: S603


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/demo.py OUT")
    main(Path(sys.argv[1]))
