"""Write the checkpoint of a bundle of random weights: `make_checkpoint.py PRESET DIR`, for the peers that run torch.

The same function and seed as `lexlip_export.random_bundle`, so the weights are the same; the runner compares the
vectors before it times anything.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lexlip_export.random_bundle import random_parts
from lexlip_training.checkpoint import save_checkpoint


def main() -> None:
    """Make the model again, and save it."""
    parser = argparse.ArgumentParser(description="Write the checkpoint of a bundle of random weights.")
    parser.add_argument("preset")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    model, tokenizer = random_parts(given.preset)
    save_checkpoint(given.folder, model, tokenizer, {"notice": "Random weights: for benchmarks."})


if __name__ == "__main__":
    main()
