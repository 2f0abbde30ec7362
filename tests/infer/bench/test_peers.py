"""`lexlip-bench --peers` and the scripts behind it, on a model of a few thousand weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lexlip_infer.cli.bench import app
from lexlip_infer.errors import LexLIPError

SCRIPTS = Path(__file__).parents[3] / "benchmarks" / "peers"


def run_script(model: Path, checkpoint: Path, output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The runner, on two images at a time."""
    command = [sys.executable, str(SCRIPTS / "run.py"), "--model", str(model), "--checkpoint", str(checkpoint)]
    small = ["--batch-sizes", "2", "--items", "4", "--words", "5", "--rounds", "2", "--threads", "1"]
    return subprocess.run(
        [*command, *small, "--output", str(output), *options],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


@pytest.fixture(scope="session")
def checkpoint(random_model, tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:  # type: ignore[no-untyped-def]
    from lexlip_training.checkpoint import save_checkpoint

    folder = tmp_path_factory.mktemp("checkpoint") / "random"
    save_checkpoint(folder, random_model, tokenizer, {})
    return folder


def test_a_peer_of_equal_output_is_compared_and_timed(bundle_folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "peers.json"
    done = run_script(bundle_folder, checkpoint, output, "--modality", "text", "--only", "onnxruntime", "eager")
    assert done.returncode == 0, done.stderr
    record = json.loads(output.read_text())
    assert json.loads(done.stdout.splitlines()[-1]) == record
    assert [row["peer"].split()[0] for row in record["results"]] == ["lexlip-infer", "torch", "onnxruntime"]
    for row in record["results"]:
        assert (row["modality"], row["batch_size"], row["output"]) == ("text", 2, "equal")
        assert len(row["seconds_per_item"]) == 2
        assert 0 < row["low"] <= row["items_per_s"] <= row["high"]
        assert row["peak_mb"] > 50
    assert done.stdout.count("lexlip-infer f32") == 2  # table and record


def test_a_peer_with_another_output_stops_the_run(bundle_folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    """The checkpoint of another model: nothing is timed, and no record is left."""
    from safetensors.torch import load_file, save_file

    other = tmp_path / "other"
    other.mkdir()
    for path in checkpoint.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    weights = load_file(other / "model.safetensors")
    weights["image_head.bias"] += 0.1
    save_file(weights, other / "model.safetensors")
    output = tmp_path / "peers.json"
    done = run_script(bundle_folder, other, output, "--modality", "image", "--only", "eager")
    assert done.returncode == 1
    assert "promises the vectors" in done.stderr.splitlines()[-1]
    assert not output.exists()


def test_a_peer_that_cannot_run_is_named_with_its_reason(bundle_folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "peers.json"
    options = ("--modality", "text", "--precisions", "int8", "--only", "ours int8")
    done = run_script(bundle_folder, checkpoint, output, *options)
    assert done.returncode == 0, done.stderr
    (line,) = json.loads(output.read_text())["skipped"]
    assert line.startswith("ours int8, texts:")
    assert "int8" in line.partition(":")[2]
    assert f"not measured: {line}" in done.stderr


def test_the_runner_knows_only_engines_that_there_are() -> None:
    code = (
        "import run, engines; names = [*run.ENGINES['image'], *run.ENGINES['text'], *sum(run.ROUNDED.values(), [])]\n"
    )
    code += "print({name.split()[0] for name in [run.OURS, *names]} == set(engines.ENGINES))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=SCRIPTS)
    assert done.stdout == "True\n", done.stderr


def test_a_model_is_named_or_made(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "run.py"), "--model", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "error: give --preset NAME, or both --model BUNDLE and --checkpoint DIR\n"


def test_outside_of_a_checkout_the_command_says_where_the_script_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    error = runner_error("--peers", "--preset", "lexlip-tiny", "--random-weights")
    assert "clone" in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--peers"], "--preset NAME --random-weights"),
        (["--peers", "--preset", "lexlip-tiny", "--random-weights", "--threads", "1,2"], "one number of threads"),
        (["--peers", "--preset", "lexlip-tiny", "--random-weights", "--stages"], "leave out --stages"),
    ],
)
def test_what_peers_need_is_asked_for_before_anything_is_made(
    options: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(SCRIPTS.parents[1])
    assert said in runner_error(*options)


def runner_error(*options: str) -> str:
    error = CliRunner().invoke(app, list(options)).exception
    assert isinstance(error, LexLIPError)
    return str(error)


@pytest.mark.parametrize(("ending", "status"), [("", 0), ("sys.exit('error: no torch here')", 2)])
def test_the_command_hands_its_options_to_the_script(
    ending: str, status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "benchmarks" / "peers" / "run.py"
    script.parent.mkdir(parents=True)
    script.write_text(f"import pathlib, sys\npathlib.Path('given').write_text(' '.join(sys.argv[1:]))\n{ending}\n")
    monkeypatch.chdir(tmp_path)
    options = ["--peers", "--preset", "lexlip-tiny", "--random-weights", "--precision", "f32,openvino:int8", "--json"]
    done = CliRunner().invoke(app, [*options, "--batch-sizes", "1,4", "--threads", "1", "--rounds", "2"])
    assert done.exit_code == status
    expected = "--preset lexlip-tiny --modality both --precision f32,openvino:int8 --batch-sizes 1,4 --threads 1"
    assert (tmp_path / "given").read_text() == f"{expected} --words 12 --rounds 2 --json"
