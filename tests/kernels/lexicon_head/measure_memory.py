"""Working memory of one call of the native lexicon_head in a process of its own; print one integer, bytes.

    measure_memory.py CPU_PATH MODE

A script, not a test: what a process that ran other tests has freed, and the next call takes again, would not be seen.
Counted is everything beyond hidden states, float32 weights and their packed int8 copy.
"""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

import numpy as np

from lexlip_kernels.lexicon_head import PackedDecoder, lexicon_head

BATCH, TOKENS, HIDDEN, VOCABULARY, TOP_K, THREADS = 16, 197, 768, 30522, 256, 2


def resident(name: str) -> int:
    """Bytes of this process in memory: now (VmRSS), or at most so far (VmHWM)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) << 10


def main() -> None:
    path, mode = sys.argv[1:]
    random = np.random.default_rng(0)
    weight = random.standard_normal((VOCABULARY, HIDDEN), dtype=np.float32)
    hidden = random.standard_normal((BATCH, TOKENS, HIDDEN), dtype=np.float32)
    decoder = PackedDecoder.pack(weight, np.zeros(VOCABULARY, np.float32), THREADS)
    before = resident("VmRSS")
    with contextlib.suppress(PermissionError):  # without it, the figure can only be too high
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    lexicon_head(hidden, decoder, k=TOP_K, mode=mode, threads=THREADS, cpu_path=path)
    print(resident("VmHWM") - before)


if __name__ == "__main__":
    main()
