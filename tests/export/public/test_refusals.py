"""What is no public model, or not a whole one: one line that says so, and nothing written."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from public_models import D2S, LINES, VDR, Dense, write_vocabulary
from safetensors.torch import load_file, save_file

from lexlip_export import ExportSettings, ImportOptions, export_bundle
from lexlip_infer import BundleError, InputError
from lexlip_infer.errors import LexLIPError

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 870250000\n"


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("public")
    VDR(LINES).write(folder / "vdr", pickled=False)
    D2S(len(LINES)).write(folder / "d2s")
    dense = Dense(len(LINES))
    dense.write_folder(folder / "blip")
    dense.write_checkpoint(folder / "blip.pth")
    write_vocabulary(folder / "vocab.txt")
    return folder


@pytest.fixture
def folder(originals: Path, tmp_path: Path) -> Path:
    return shutil.copytree(originals, tmp_path / "public")


def refusal(folder: Path, name: str, settings: ExportSettings | None = None, **options: Any) -> str:
    given = {"tokenizer": folder / "vocab.txt", **({"dense": folder / "blip"} if name == "d2s" else {}), **options}
    with pytest.raises(LexLIPError) as refused:
        export_bundle(folder / name, folder / "out" / "bundle", settings, options=ImportOptions(**given))
    assert isinstance(refused.value, BundleError | InputError)
    assert not (folder / "out").exists()
    message = str(refused.value)
    assert "\n" not in message
    return message


def change(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.mark.parametrize("name", ["vdr", "d2s", "blip"])
def test_a_tensor_more_or_less(folder: Path, name: str) -> None:
    path, model = folder / name / "model.safetensors", "vdr" if name == "vdr" else "d2s"
    state = load_file(path)
    save_file(state | {"encoder_x.weight": torch.zeros(2)}, path)
    assert "has unknown tensor encoder_x.weight" in refusal(folder, model)
    missing = sorted(state)[3]
    save_file({key: values for key, values in state.items() if key != missing}, path)
    assert f"lacks tensor {missing}" in refusal(folder, model)


@pytest.mark.parametrize(("prefix", "name"), [("encoder_p.transformer.resblocks.1.", "vdr"), ("vision_model.", "d2s")])
def test_half_a_model(folder: Path, prefix: str, name: str) -> None:
    path = folder / ("vdr" if name == "vdr" else "blip") / "model.safetensors"
    save_file({key: v for key, v in load_file(path).items() if not key.startswith(f"{prefix}")}, path)
    if name == "d2s":
        assert "lacks" in refusal(folder, name)
    else:  # the last block is gone and nobody can know: it is the layers of config.json that tell
        assert "encoder_p.layers is 2; its tensors are of 1" in refusal(folder, name)


@pytest.mark.parametrize("name", ["vdr", "d2s", "blip"])
def test_unfinished_downloads(folder: Path, name: str) -> None:
    weights, model = folder / name / "model.safetensors", "vdr" if name == "vdr" else "d2s"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert f"{weights}: damaged" in refusal(folder, model)
    weights.write_text(POINTER)
    assert f"{weights}: is a pointer of Git LFS" in refusal(folder, model)
    weights.unlink()
    assert "holds no weights" in refusal(folder, model)
    (folder / name / ".cache").mkdir()
    (folder / name / ".cache" / "model.safetensors.incomplete").touch()
    assert "a download that has not ended" in refusal(folder, model)


def test_a_checkpoint_cut_short(folder: Path) -> None:
    path = folder / "blip.pth"
    path.write_bytes(path.read_bytes()[:50_000])
    assert f"{path}: damaged" in refusal(folder, "d2s", dense=path)
    path.write_text(POINTER)
    assert f"{path}: is a pointer of Git LFS" in refusal(folder, "d2s", dense=path)


class _Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["vdr", "d2s"])
def test_pickles_run_nothing(folder: Path, name: str) -> None:
    mark = folder / "was here"
    torch.save({"model": _Malicious(mark), "proj.weight": _Malicious(mark)}, folder / "evil.pth")
    if name == "vdr":
        (folder / "vdr" / "model.safetensors").unlink()
        shutil.copy(folder / "evil.pth", folder / "vdr" / "pytorch_model.bin")
        refusal(folder, "vdr")
        (folder / "vdr" / "pytorch_model.bin").write_bytes(pickle.dumps(_Malicious(mark)))
        refusal(folder, "vdr")
    else:
        refusal(folder, "d2s", dense=folder / "evil.pth")
    assert not mark.exists()


def test_other_architectures(folder: Path) -> None:
    change(folder / "blip" / "config.json", model_type="clip")
    assert "a model of type 'clip'; --dense takes" in refusal(folder, "d2s")
    change(folder / "vdr" / "config.json", encoder_p={"type": "vdr_text"})
    assert "encoder_p reads texts" in refusal(folder, "vdr")
    change(folder / "vdr" / "config.json", encoder_p={"type": "vdr_crossmodal_image", "resolution": 336, "heads": 2})
    assert "encoder_p.resolution is 336; its tensors are of 64" in refusal(folder, "vdr")
    change(folder / "vdr" / "config.json", encoder_p={"type": "vdr_crossmodal_image", "heads": "two"})
    assert "encoder_p.heads is 'two'; expected a positive whole number" in refusal(folder, "vdr")


def test_activations_other_than_gelu(folder: Path) -> None:
    config = json.loads((folder / "blip" / "config.json").read_text())
    change(folder / "blip" / "config.json", vision_config=config["vision_config"] | {"hidden_act": "relu"})
    assert "vision_config.hidden_act is 'relu'; expected 'gelu'" in refusal(folder, "d2s")


def test_preprocessing_of_images(folder: Path) -> None:
    path = folder / "blip" / "preprocessor_config.json"
    for settings, said in (
        ({"resample": 2}, "resample is 2; expected 3"),
        ({"do_rescale": False}, "do_rescale is False; expected True"),
        ({"image_mean": [0.5, 0.5, 0.5]}, "image_mean is [0.5, 0.5, 0.5]; expected [0.48"),
        ({"size": {"shortest_edge": 384}}, "size is {'shortest_edge': 384}; expected a height and a width"),
    ):
        whole = path.read_text()
        change(path, **settings)
        assert f"{path}: {said}" in refusal(folder, "d2s")
        path.write_text(whole)
    path.unlink()
    assert f"{path}: cannot be read (No such file or directory)" in refusal(folder, "d2s")


def test_a_head_without_its_towers(folder: Path) -> None:
    assert "give them: --dense" in refusal(folder, "d2s", dense=None)
    assert "does not exist; --dense takes" in refusal(folder, "d2s", dense=folder / "nowhere")
    D2S(len(LINES), dense_size=32).write(folder / "other" / "d2s")
    (folder / "other" / "vocab.txt").write_bytes((folder / "vocab.txt").read_bytes())
    assert "towers of 24 numbers a vector, a head for 32" in refusal(folder / "other", "d2s", dense=folder / "blip")


def test_tokenizers(folder: Path) -> None:
    for name in ("vdr", "d2s"):
        assert "no tokenizer; give that of bert-base-uncased: --tokenizer" in refusal(folder, name, tokenizer=None)
    (folder / "vocab.txt").write_text("\n".join(LINES[:-1]) + "\n")
    assert "the tokenizer has" in refusal(folder, "vdr")
    assert "the tokenizer has" in refusal(folder, "d2s")
    (folder / "vocab.txt").write_text("\n".join(LINES[:900]) + "\n")
    assert "no ASCII token from id 999 on" in refusal(folder, "vdr")


def test_options_of_others(folder: Path) -> None:
    assert "--dense is for D2S heads" in refusal(folder, "vdr", dense=folder / "blip")
    assert "--text-heads is for official checkpoint files" in refusal(folder, "d2s", text_heads=2)
    settings = ExportSettings(precisions=("f32", "fp16"))
    assert "fp16 cannot be made of VDR or D2S" in refusal(folder, "vdr", settings)


def test_weights_that_are_not_numbers(folder: Path) -> None:
    path = folder / "d2s" / "model.safetensors"
    state = load_file(path)
    state["proj.bias"][3] = float("nan")
    save_file(state, path)
    assert "holds NaN or infinity" in refusal(folder, "d2s")
