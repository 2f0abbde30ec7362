"""What other rules of weights cost: elu1p, the norm over the vocabulary, own terms, beside LexLIP's own.

    python benchmarks/bench_lexicon_head_rules.py [--threads 2] [--output benchmarks/results/lexicon_head_rules.json]

Random hidden states and decoder of VDR's shapes. All rules run in turn, round after round, so that what else the
machine does hits all alike; medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from lexlip_kernels.lexicon_head import HeadRule, PackedDecoder, cpu_paths, lexicon_head

ROWS, HIDDEN, TERMS, K, OWN = 8, 768, 27_623, 768, 16
LENGTHS = (49, 128)
RULES = {
    "log1p_relu": HeadRule(),
    "elu1p": HeadRule("elu1p"),
    "log1p_relu, full_vocabulary": HeadRule("log1p_relu", normalise=True),
    "elu1p, full_vocabulary": HeadRule("elu1p", normalise=True),
}


def measure(decoder: PackedDecoder, length: int, rounds: int, threads: int) -> dict[str, Any]:
    """Milliseconds of each rule, and times that of the first."""
    random = np.random.default_rng(length)
    hidden = random.standard_normal((ROWS, length, HIDDEN), dtype=np.float32)
    own = random.integers(0, TERMS, (ROWS, OWN))
    taken: dict[str, list[float]] = {name: [] for name in (*RULES, "elu1p, own terms")}
    for turn in range(rounds + 1):
        for name, of_rule in taken.items():
            rule, kept = RULES.get(name, RULES["elu1p"]), None if name in RULES else own
            started = time.perf_counter()
            lexicon_head(hidden, decoder, k=K, rule=rule, own=kept, threads=threads)
            if turn:
                of_rule.append(1000 * (time.perf_counter() - started))
    medians = {name: statistics.median(values) for name, values in taken.items()}
    first = medians["log1p_relu"]
    return {name: {"ms": round(ms, 1), "times": round(ms / first, 2)} for name, ms in medians.items()}


def main() -> None:
    """Measure, print, and write the result if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    weight = random.standard_normal((TERMS, HIDDEN), dtype=np.float32) / np.float32(np.sqrt(HIDDEN))
    decoder = PackedDecoder.pack(weight, np.zeros(TERMS, np.float32), arguments.threads)
    result = {
        "rows": ROWS,
        "hidden": HIDDEN,
        "terms": TERMS,
        "k": K,
        "threads": arguments.threads,
        "cpu_path": cpu_paths()[0],
        "tokens": {str(n): measure(decoder, n, arguments.rounds, arguments.threads) for n in LENGTHS},
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if arguments.output:
        arguments.output.write_text(text)


if __name__ == "__main__":
    main()
