"""One small benchmark, which all tests of this folder read."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lexlip_infer.bench import run as bench_run
from lexlip_infer.bench.ceilings import Ceilings, measure_ceilings
from lexlip_infer.cli.bench import app


@pytest.fixture(scope="session")
def record(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Measured once, small."""
    path = tmp_path_factory.mktemp("bench") / "report.json"
    options = ["--model", str(bundle_folder), "--synthetic", "2", "--items", "4", "--rounds", "1", "--threads", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_run, "measure_ceilings", _small_ceilings)
        done = CliRunner().invoke(app, [*options, "--batch-sizes", "2", "--stages", "--save", str(path)])
    assert done.exit_code == 0, done.output
    assert "backbone" in done.output
    assert "x floor" in done.output
    return path


def _small_ceilings(device: str, threads: int, _width: int) -> Ceilings:
    return measure_ceilings(device, threads, 64, 2**16)
