"""`lexlip-export` as a user runs it: a checkpoint folder in, a bundle that encodes out."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tokenizers import Tokenizer

from lexlip_export.cli import run
from lexlip_export.graph_builder import IR_VERSION, OPSET
from lexlip_infer import Bundle, LexLIPEncoder
from lexlip_training import LexLIP, save_checkpoint
from lexlip_training.checkpoint import read_object

SCRIPT = Path(sys.executable).parent / "lexlip-export"
LOG = [{"epoch": 0, "seconds": 1.5, "loss": 9.25}]
RECORD = {"notice": "For tests only.", "seed": 3, "log": LOG}


def export(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False)


def export_here(*arguments: object) -> int | str | None:
    """The same in this process, which has imported everything; the exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lexlip-export", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run()
    return ended.value.code


@pytest.fixture(scope="module")
def checkpoint(random_model: LexLIP, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "best"
    save_checkpoint(folder, random_model, tokenizer, RECORD)
    return folder


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    figures = {f"r@{k}": float(k) for k in (1, 5, 10)}
    evaluation = {"top_k": {"image": 20, "text": 9}, "scale": 100.0, "text_to_image": figures, "image_to_text": figures}
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    (folder / "credits.md").write_text("Photographs by A. Müller.")
    options = ("--half-storage", "--image-top-k", 20, "--evaluation", folder / "evaluation.json")
    result = export(checkpoint, folder / "bundle", *options, "--attribution", folder / "credits.md")
    assert result.returncode == 0, result.stderr
    assert "MB" in result.stdout
    return folder / "bundle"


def test_bundle_is_complete_and_encodes(exported: Path, captions: list[str]) -> None:
    bundle = Bundle.open(exported)
    on_disk = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    assert on_disk == {*bundle.manifest.files, "lexlip.json"}
    for name in bundle.manifest.files:
        bundle.read(name)
    assert bundle.read("ATTRIBUTION.md").decode() == "Photographs by A. Müller."
    assert bundle.manifest.top_k.image == 20
    assert bundle.manifest.provenance["training"]["seed"] == 3
    assert LexLIPEncoder.from_pretrained(exported).encode_texts(captions).nnz > 0


def test_half_storage_moves_weights_by_its_rounding_only(
    exported: Path, bundle_folder: Path, captions: list[str]
) -> None:
    half = LexLIPEncoder.from_pretrained(exported).encode_texts(captions, top_k=150).to_dense()
    full = LexLIPEncoder.from_pretrained(bundle_folder).encode_texts(captions, top_k=150).to_dense()
    assert 0 < np.abs(half - full).max() < 0.02
    sizes = [(folder / "heads.safetensors").stat().st_size for folder in (exported, bundle_folder)]
    assert sizes[0] < 0.6 * sizes[1]


def test_graphs_are_of_the_format(exported: Path, bundle_folder: Path) -> None:
    for path in [*exported.glob("onnx/*.onnx"), *bundle_folder.glob("onnx/*.onnx")]:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        assert model.ir_version == IR_VERSION
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]


def test_graphs_do_not_tell_where_they_were_made(exported: Path) -> None:
    for path in exported.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"site-packages" not in data, path
            assert str(Path.home()).encode() + b"/" not in data, path


def test_model_card_says_what_was_recorded(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    assert "For tests only." in card
    assert "| this bundle: integer impacts x100, image top-20, text top-9, exact search | 1.0/5.0/10.0" in card
    assert "| 0 | 1.5 | 9.25 |" in card


def test_exporting_twice_gives_the_same_bytes(exported: Path, checkpoint: Path, tmp_path: Path) -> None:
    options = ("--half-storage", "--image-top-k", 20, "--evaluation", exported.parent / "evaluation.json")
    options += ("--attribution", exported.parent / "credits.md")
    assert export_here(checkpoint, tmp_path / "again", *options) == 0  # and not in the same process
    assert (tmp_path / "again" / "lexlip.json").read_bytes() == (exported / "lexlip.json").read_bytes()


def test_clear_errors(checkpoint: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep")
    shutil.copytree(exported, tmp_path / "bundle")
    (tmp_path / "bundle" / "thoughts.txt").write_text("keep")
    for arguments, message in [
        ((tmp_path / "nothing", tmp_path / "out"), "not a checkpoint"),
        ((checkpoint, tmp_path / "notes"), "exists and is not a bundle"),
        ((checkpoint, tmp_path / "bundle"), "thoughts.txt: not part of the bundle"),
        ((checkpoint, tmp_path / "out", "--evaluation", tmp_path / "no.json"), "not the output of lexlip eval"),
        ((checkpoint, tmp_path / "out", "--half-storage", "--int8-storage"), "leave one out"),
        ((checkpoint, tmp_path / "out", "--attribution", tmp_path / "no.md"), "no.md: cannot be read"),
        ((checkpoint, tmp_path / "out", "--attribution", exported / "heads.safetensors"), "expected a text"),
    ]:
        assert export_here(*arguments) == 2
        assert message in (said := capsys.readouterr().err)
        assert len(said.splitlines()) == 1
    assert (tmp_path / "notes" / "mine.txt").read_text() == "keep"
    assert (tmp_path / "bundle" / "thoughts.txt").read_text() == "keep"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "notes"]


class TestStrangers:
    """Checkpoints from other people."""

    @pytest.fixture
    def taken(self, checkpoint: Path, tmp_path: Path) -> Path:
        return shutil.copytree(checkpoint, tmp_path / "copy")

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_what_is_no_number_is_not_exported(
        self,
        value: float,
        random_model: LexLIP,
        tokenizer: Tokenizer,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        model = copy.deepcopy(random_model)
        with torch.no_grad():
            model.text_tower.bert.encoder.layer[0].attention.self.query.weight[3, 4] = value
        save_checkpoint(tmp_path / "c", model, tokenizer, RECORD)
        assert export_here(tmp_path / "c", tmp_path / "b") == 2
        said = capsys.readouterr().err
        assert "c: text_tower.bert.encoder.layer.0.attention.self.query.weight holds NaN or infinity; nothing" in said
        assert len(said.splitlines()) == 1
        assert not (tmp_path / "b").exists()

    @pytest.mark.parametrize("text", ["[" * 200_000, '{"a": 1', "\0"])
    def test_a_configuration_that_is_none(self, text: str, taken: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (taken / "config.json").write_text(text)
        assert export_here(taken, taken.parent / "b") == 2
        said = capsys.readouterr().err
        assert "copy: config.json is no JSON" in said
        assert len(said.splitlines()) == 1

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"selected": {"dev_sum": 1e30}}, "training.json: a line of the log with dev_sum: "),
            ({"selected": {"dev_sum": 1, "t2i_1": 2}}, "a line of the log with dev_sum: 't2i_5' is missing"),
            ({"record_version": 1e30}, "training.json: record_version: "),
            ({"log": [{"step": 1, "epoch": [1]}]}, None),
            ({"log": [1]}, "training.json: log.0: "),
            ({"average_of": "x"}, "training.json: average_of: "),
        ],
    )
    def test_records(
        self, changes: dict[str, object], said: str | None, taken: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        record = read_object(taken / "training.json") | changes
        (taken / "training.json").write_text(json.dumps(record))
        assert export_here(taken, taken.parent / "b") == (0 if said is None else 2)
        message = capsys.readouterr().err
        assert (said or "") in message
        assert len(message.splitlines()) <= 1

    @pytest.mark.parametrize("text", ["[" * 200_000, "[]", '{"top_k": 3}', '{"top_k": {}, "scale": "x"}'])
    def test_an_evaluation_that_is_none(
        self, text: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "e.json").write_text(text)
        assert export_here(checkpoint, tmp_path / "b", "--evaluation", tmp_path / "e.json") == 2
        said = capsys.readouterr().err
        assert "not the output of lexlip eval --json" in said
        assert len(said.splitlines()) == 1

    def test_links_in_the_place_of_a_bundle(
        self, checkpoint: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Nothing that they lead to is written or removed."""
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "mine").write_text("mine")
        bundle = shutil.copytree(exported, tmp_path / "bundle")
        (bundle / "more").symlink_to(outside)
        assert export_here(checkpoint, bundle) == 2
        assert "more: not part of the bundle that would be replaced" in capsys.readouterr().err
        (bundle / "more").unlink()
        (tmp_path / ".bundle.partial").symlink_to(outside)
        assert export_here(checkpoint, bundle) == 2
        assert ".bundle.partial: is a symbolic link" in capsys.readouterr().err
        (tmp_path / ".bundle.partial").unlink()
        shutil.move(bundle, tmp_path / "elsewhere")
        bundle.symlink_to(tmp_path / "elsewhere")
        assert export_here(checkpoint, bundle) == 2
        assert "bundle: is a symbolic link" in capsys.readouterr().err
        assert (outside / "mine").read_text() == "mine"
        assert Bundle.open(tmp_path / "elsewhere").fingerprint == Bundle.open(exported).fingerprint
