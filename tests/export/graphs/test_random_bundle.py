"""A random bundle is a bundle like any other, and its vectors look like a trained model's to a benchmark."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lexlip_export.random_bundle import SHARE, app, random_model, sized_config, synthetic_tokenizer
from lexlip_infer import Bundle, LexLIPEncoder
from lexlip_infer.cli.shell import run_application
from lexlip_infer.errors import InputError
from lexlip_training import ModelConfig, preset

VOCAB_SIZE = 1000


def run(*arguments: object) -> int:
    """The command in this process: torch is imported already. Returns its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["random_bundle", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            run_application(app, "random_bundle")
    return int(end.value.code or 0)


def narrow(_name: str = "lexlip-tiny") -> ModelConfig:
    """The preset with a small backbone and few layers, which exports in seconds."""
    config = preset("lexlip-tiny")
    image = config.image.model_copy(update={"backbone": "test_efficientnet", "backbone_options": {}})
    text = config.text.model_copy(update={"layers": 1, "intermediate_size": 64})
    sizes = {"vocab_size": VOCAB_SIZE, "hidden_size": 64, "image": image, "text": text}
    return config.model_copy(update=sizes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("random") / "tiny"
    options = ("--image-size", 64, "--seed", 3, "--graph", "merged", "--precision", "all")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lexlip_export.random_bundle.preset", narrow)
        assert run("lexlip-tiny", folder, *options) == 0
    return folder


def test_it_is_complete_and_says_what_it_is(folder: Path) -> None:
    bundle = Bundle.open(folder)
    on_disk = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert on_disk == {*bundle.manifest.files, "lexlip.json"}
    for name in bundle.manifest.files:
        bundle.read(name)
    assert bundle.precisions("image") == bundle.precisions("text") == ("f32", "fp16", "int8")
    assert bundle.manifest.name == "lexlip-tiny-random-weights"
    assert bundle.manifest.vocab_size == VOCAB_SIZE
    assert bundle.manifest.image is not None
    assert bundle.manifest.image.size == 64
    assert bundle.manifest.provenance["training"]["seed"] == 3
    assert "# lexlip-tiny-random-weights" in (folder / "README.md").read_text()
    assert "Random weights and an invented vocabulary" in (folder / "README.md").read_text()


def test_it_encodes_images_and_texts(folder: Path, photographs: Path, captions: list[str]) -> None:
    encoder = LexLIPEncoder.from_pretrained(folder, threads=1)
    images = encoder.encode_images([photographs / "a.jpg", photographs / "b.png"], top_k=VOCAB_SIZE)
    texts = encoder.encode_texts(captions, top_k=VOCAB_SIZE)
    for batch in (images, texts):
        batch.validate()
        share = np.diff(batch.indptr) / VOCAB_SIZE
        assert (share > SHARE / 10).all()
        assert (share < SHARE * 5).all()
        assert not batch.to_dense()[:, list(encoder.manifest.suppressed_ids)].any()
    assert not np.array_equal(texts.to_dense()[0], texts.to_dense()[1])


def test_a_seed_decides_the_weights_and_nothing_else() -> None:
    torch.manual_seed(17)
    state = torch.get_rng_state()
    first, again, other = (random_model(sized_config(narrow(), 64), seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["text_head.weight"], other["text_head.weight"])


@pytest.mark.parametrize("size", [300, 4096, 30522])
def test_the_tokenizer_is_of_the_size_asked_for_and_laid_out_as_berts(size: int) -> None:
    tokenizer = synthetic_tokenizer(size)
    vocabulary = tokenizer.get_vocab()
    assert sorted(vocabulary.values()) == list(range(size))
    special = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    assert {name: vocabulary[name] for name in special} == special
    encoded = tokenizer.encode("Zebra, 2nd! quay?")
    assert (encoded.tokens[0], encoded.tokens[-1]) == ("[CLS]", "[SEP]")
    assert "[UNK]" not in encoded.tokens


def test_a_vocabulary_too_small_for_the_alphabet_is_refused() -> None:
    with pytest.raises(InputError, match="10 terms was asked for; expected at least 256"):
        synthetic_tokenizer(10)


def test_clear_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep")
    for name, output, message in [
        ("lexlip-huge", "out", "no preset is called 'lexlip-huge'; there are lexlip-base, lexlip-tiny"),
        ("lexlip-tiny", "notes", "exists and is not a bundle"),
    ]:
        assert run(name, tmp_path / output) == 2
        assert message in (said := capsys.readouterr().err)
        assert len(said.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]
    assert (tmp_path / "notes" / "mine.txt").read_text() == "keep"


def test_it_runs_as_a_module(tmp_path: Path) -> None:
    """All of it, up to the folder that it may not replace."""
    command = [sys.executable, "-m", "lexlip_export.random_bundle", "lexlip-tiny", str(tmp_path), "--image-size", "32"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 2
    assert "exists and is not a bundle" in outcome.stderr
