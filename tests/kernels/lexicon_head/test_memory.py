"""The native head of a ViT-B/16 with BERT's vocabulary works in a few megabytes, where logits would take gigabytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "measure_memory.py"
#: Bytes: 8 MiB of quantised tokens and bounds, a panel and a stack for each of two threads, and what malloc rounds up.
LIMIT = 16_000_000

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc: peak memory is not to be had")


@pytest.mark.parametrize("mode", ["exact", "f32"])
def test_a_batch_of_16_takes_little_beyond_its_inputs(mode: str, cpu_path: str) -> None:
    command = [sys.executable, str(SCRIPT), cpu_path, mode]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert 0 < int(finished.stdout) <= LIMIT
