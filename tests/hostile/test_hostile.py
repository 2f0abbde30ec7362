"""A few of the trials of `make fuzz`, always the same ones: what docs/security.md promises holds in each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).parent / "run.py"


def test_folders_of_strangers(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, RUN, "--trials", "200", "--seed", "0", "--keep", tmp_path / "kept", "--report", report]
    # Measuring which lines thousands of short processes reach would take longer than all of them.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert report.exists(), ended.stderr
    result = json.loads(report.read_text())
    assert ended.returncode == 0, ended.stdout
    assert result["failures"] == []
    assert {kind: row["trials"] for kind, row in result["kinds"].items()} == dict.fromkeys(result["kinds"], 50)
    # Damage that is never seen, or always, would say nothing.
    assert all(row["refused"] > 10 and row["done"] > 5 for row in result["kinds"].values())
