"""Vectors of a dense checkpoint on disk: in the readers' order, of length 1, whole or not there."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from lexlip_infer.inputs.images import load_image
from lexlip_infer.inputs.preprocessing import ImagePreprocessor
from lexlip_kernels.errors import OutputError
from lexlip_training import ModelConfig, encode_dense
from lexlip_training.checkpoint import save_checkpoint
from lexlip_training.encode_dense import new_vector_folder
from lexlip_training.model import DenseConfig, DenseModel

Command = Callable[..., tuple[int | str | None, str]]


@pytest.fixture(scope="module")
def dense(model_config: ModelConfig) -> DenseModel:
    torch.manual_seed(0)
    towers = model_config.model_copy(update={"suppressed_ids": ()})
    return DenseModel(DenseConfig(towers=towers)).eval()


@pytest.fixture(scope="module")
def checkpoint(dense: DenseModel, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dense")
    save_checkpoint(folder, dense, tokenizer, {})
    return folder


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: object) -> tuple[int | str | None, str]:
        monkeypatch.setattr(sys, "argv", ["encode_dense", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            encode_dense.run()
        return ended.value.code, capsys.readouterr().err

    return run


def test_images(command: Command, checkpoint: Path, dense: DenseModel, photographs: Path, tmp_path: Path) -> None:
    output = tmp_path / "deep" / "out"
    status, stderr = command(checkpoint, "--images", photographs, output, "--batch-size", 2)
    assert (status, stderr) == (0, f"{output}: 5 vectors of 32 numbers\n")
    vectors, ids = np.load(output / "vectors.npy"), (output / "ids.txt").read_text().splitlines()
    assert ids == ["a.jpg", "b.png", "sub/c.JPG", "sub/deeper/d.webp", "z.bmp"]
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    preprocess = ImagePreprocessor(64, "squash", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    pixels = torch.from_numpy(np.stack([preprocess(load_image(photographs / name)) for name in ids]))
    with torch.inference_mode():
        assert np.allclose(vectors, dense.image_vectors(pixels).numpy(), atol=1e-5)
    assert sorted(path.name for path in output.parent.iterdir()) == ["out"]


def test_texts(command: Command, checkpoint: Path, tmp_path: Path) -> None:
    rows = [{"id": "one", "text": "a dog"}, {"id": "a\nb", "text": "a cat"}, {"id": 3, "text": "a dog"}]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "{}\n")
    output = tmp_path / "out"
    status, stderr = command(checkpoint, "--texts", tmp_path / "t.jsonl", output)
    assert status == 3
    assert "2 inputs failed" in stderr
    assert (output / "ids.txt").read_text() == "one\n3\n"
    first, second = np.load(output / "vectors.npy", mmap_mode="r")
    assert np.array_equal(first, second)
    failed = [json.loads(line) for line in (output / "failures.jsonl").read_text().splitlines()]
    assert [failure["stage"] for failure in failed] == ["read", "read"]


def test_a_damaged_image_is_listed(command: Command, checkpoint: Path, photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"")
    (tmp_path / "in" / "b.png").write_bytes((photographs / "b.png").read_bytes())
    assert command(checkpoint, "--images", tmp_path / "in", tmp_path / "out")[0] == 3
    assert np.load(tmp_path / "out" / "vectors.npy").shape == (1, 32)
    failure = json.loads((tmp_path / "out" / "failures.jsonl").read_text())
    assert (failure["id"], failure["stage"]) == ("a.jpg", "decode")


def test_refusals(command: Command, checkpoint: Path, photographs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for arguments, message in (
        ((checkpoint, output), "give either --images SRC or --texts FILE"),
        ((tmp_path, output, "--images", photographs), "not a checkpoint"),
        ((checkpoint, photographs, "--images", photographs), "exists, and nothing is written over"),
        ((checkpoint, output, "--images", tmp_path), "no images"),
        ((checkpoint, output, "--images", photographs, "--device", "tpu"), "device 'tpu' is not to be had here"),
    ):
        status, stderr = command(*arguments)
        assert status == 2
        assert message in stderr
        assert stderr.count("\n") == 1
        assert not output.exists()
        assert not list(tmp_path.glob(".*"))


def test_nothing_remains_of_a_folder_that_was_not_finished(tmp_path: Path) -> None:
    def fill_the_disk() -> None:
        with new_vector_folder(tmp_path / "out", 4) as folder:
            folder.append(["a"], np.ones((1, 4), np.float32))
            raise OSError(28, "disk is full")

    with pytest.raises(OutputError, match="disk is full"):
        fill_the_disk()
    assert not list(tmp_path.iterdir())
    with new_vector_folder(tmp_path / "empty", 4):
        pass
    assert np.load(tmp_path / "empty" / "vectors.npy").shape == (0, 4)
