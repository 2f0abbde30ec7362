"""`lexlip-encode` on bad input: one line on stderr, status 2, no traceback, nothing written."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer import encoder
from lexlip_infer.errors import BundleError
from lexlip_infer.runtime.machine import Machine


@pytest.fixture
def refused(lexlip: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """Run, expect one line and no output folder, and return the line."""

    def command(*arguments: object) -> str:
        output = tmp_path / "out"
        outcome = lexlip("encode", "--output", output, *arguments)
        assert (outcome.status, outcome.stdout) == (2, "")
        assert not output.exists()
        (line,) = outcome.stderr.splitlines()
        name, text = line.split(": ", 1)
        assert name == "lexlip-encode"
        return str(text)

    return command


@pytest.fixture
def bundle(bundle_folder: Path, tmp_path: Path) -> Path:
    """A bundle to damage."""
    return Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))


def change_manifest(bundle: Path, **changes: object) -> None:
    manifest = json.loads((bundle / "lexlip.json").read_bytes())
    (bundle / "lexlip.json").write_text(json.dumps(manifest | changes))


def put(bundle: Path, name: str, data: bytes) -> None:
    """Replace a file, hash included."""
    (bundle / name).write_bytes(data)
    files = json.loads((bundle / "lexlip.json").read_bytes())["files"]
    files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    change_manifest(bundle, files=files)


def test_missing_folder(refused: Callable[..., str], tmp_path: Path) -> None:
    assert refused("--images", tmp_path / "none") == f"{tmp_path / 'none'}: no such file or folder"


def test_empty_folder(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert "looked for .apng" in refused("--images", tmp_path / "in")
    (tmp_path / "in" / "a.svg").touch()
    assert refused("--images", tmp_path / "in").endswith("saw 1 x .svg")


def test_what_is_no_collection(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "a.doc").touch()
    assert "a.doc: images are read from a folder, " in refused("--images", tmp_path / "a.doc")
    assert "a.doc: texts are read from a folder of captioned images, " in refused("--texts", tmp_path / "a.doc")


def test_neither_and_both(refused: Callable[..., str], photographs: Path) -> None:
    assert refused() == "give either --images IN or --texts IN"
    assert refused("--images", photographs, "--texts", "x.txt") == "give either --images IN or --texts IN"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--compress", "zst"], "--compress zst: Anserini reads plain and gzip files, no Zstandard; use gz"),
        (["--compress", "xz"], "--compress is 'xz'; expected none or gz"),
        (["--shard-id", "2", "--shard-num", "2"], "--shard-id is 2 of --shard-num 2; expected 0 to 1, one for each"),
        (["--text-column", "t"], "--text-column goes with --texts; leave it out"),
        (["--device", "cpu,cpu"], "the devices are cpu, cpu; expected each of them once"),
        (["--device", "cpu,"], "device is ''; expected"),
        (["--frames", "some"], "frames is 'some'; expected first or all"),
        (["--background", "plaid"], "background is 'plaid'; expected an opaque colour"),
    ],
)
def test_choices(
    options: list[str], said: str, refused: Callable[..., str], photographs: Path, bundle_folder: Path
) -> None:
    assert refused("--images", photographs, "--model", bundle_folder, *options).startswith(said)


def test_refused_in_json(lexlip: Any, tmp_path: Path) -> None:
    outcome = lexlip("encode", "--images", tmp_path / "none", "--output", tmp_path / "out", "--log-json")
    assert (outcome.status, outcome.stdout) == (2, "")
    (line,) = outcome.stderr.splitlines()
    assert json.loads(line)["message"] == f"{tmp_path / 'none'}: no such file or folder"
    assert json.loads(line)["event"] == "error"


@pytest.mark.parametrize("scale", ["nan", "-1", "0", "inf", "1e300"])
def test_scale(scale: str, refused: Callable[..., str], photographs: Path, bundle_folder: Path) -> None:
    line = refused("--images", photographs, "--model", bundle_folder, "--quant-scale", scale)
    assert line.startswith(f"quantisation scale is {float(scale)!r}; expected a positive, finite")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--bogus"], "No such option: --bogus"),
        (["--top-k", "0"], "Invalid value for '--top-k'"),
        (["--batch-size", "0"], "Invalid value for '--batch-size'"),
        (["--threads", "0"], "Invalid value for '--threads'"),
        (["--threads", "100000"], "Invalid value for '--threads'"),
        (["--batch-size", "1" + "0" * 30], "Invalid value for '--batch-size'"),
        (["--items-per-shard", "0"], "Invalid value for '--items-per-shard'"),
        (["--quant-scale", "much"], "Invalid value for '--quant-scale'"),
        (["--lanes", "0"], "Invalid value for '--lanes'"),
        (["--decode-workers", "-1"], "Invalid value for '--decode-workers'"),
        (["--decode-timeout", "0"], "Invalid value for '--decode-timeout'"),
        (["--shard-num", "0"], "Invalid value for '--shard-num'"),
    ],
)
def test_options(options: list[str], said: str, lexlip: Any, photographs: Path, tmp_path: Path) -> None:
    outcome = lexlip("encode", "--images", photographs, "--output", tmp_path / "out", *options)
    assert outcome.status == 2
    assert said in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not (tmp_path / "out").exists()


def test_output_is_required(lexlip: Any, photographs: Path) -> None:
    outcome = lexlip("encode", "--images", photographs)
    assert outcome.status == 2
    assert "Missing option '--output'" in outcome.stderr


def test_model_missing(refused: Callable[..., str], photographs: Path, tmp_path: Path) -> None:
    line = refused("--images", photographs, "--model", tmp_path / "none")
    assert line == f"{tmp_path / 'none'}: not a model bundle, lexlip.json cannot be read (No such file or directory)"


@pytest.mark.parametrize("name", ["onnx/image_backbone.onnx", "onnx/image_head.onnx", "tokenizer.json"])
def test_model_with_a_wrong_hash(name: str, refused: Callable[..., str], photographs: Path, bundle: Path) -> None:
    data = bytearray((bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / name).write_bytes(data)
    line = refused("--images", photographs, "--model", bundle, "--head", "onnx")
    assert line.startswith(f"{bundle / name}: damaged or changed")
    assert line.endswith("copy the bundle again")


def test_model_without_a_file(refused: Callable[..., str], photographs: Path, bundle: Path) -> None:
    (bundle / "onnx" / "image_head.onnx").unlink()
    assert "image_head.onnx: cannot be read" in refused("--images", photographs, "--model", bundle, "--head", "onnx")


def test_model_of_a_newer_format(refused: Callable[..., str], photographs: Path, bundle: Path) -> None:
    change_manifest(bundle, format_version=6, unheard_of=True)
    assert "bundle format 6; this version reads up to 5: pip" in refused("--images", photographs, "--model", bundle)


def test_model_with_another_graph(refused: Callable[..., str], photographs: Path, bundle: Path) -> None:
    put(bundle, "onnx/image_backbone.onnx", (bundle / "onnx" / "text_backbone.onnx").read_bytes())
    line = refused("--images", photographs, "--model", bundle)
    assert "takes ['attention_mask', 'input_ids'] and gives ['hidden']; expected ['pixel_values']" in line


def test_model_with_a_file_that_is_no_graph(refused: Callable[..., str], photographs: Path, bundle: Path) -> None:
    put(bundle, "onnx/image_head.onnx", b"no graph")
    assert "cannot be loaded, it is no ONNX model" in refused(
        "--images", photographs, "--model", bundle, "--head", "onnx"
    )


def test_model_with_another_vocabulary(refused: Callable[..., str], photographs: Path, bundle: Path) -> None:
    change_manifest(bundle, vocab_size=151)
    line = refused("--images", photographs, "--model", bundle)
    assert line == f"{bundle}: the tokenizer has 150 terms, the manifest says 151; export the bundle again"


def test_a_message_is_one_line_of_valid_text(refused: Callable[..., str], tmp_path: Path) -> None:
    assert (
        refused("--images", tmp_path / "two\nlines \udce9") == f"{tmp_path}/two lines \\udce9: no such file or folder"
    )


def test_output_is_a_file(lexlip: Any, photographs: Path, bundle_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    outcome = lexlip("encode", "--images", photographs, "--model", bundle_folder, "--output", tmp_path / "out")
    assert outcome.status == 2
    assert outcome.stderr == (
        f"lexlip-encode: {tmp_path / 'out'}: exists and is not an output of lexlip-encode; name a new folder\n"
    )
    assert (tmp_path / "out").read_text() == "mine"


def test_output_of_other_settings(lexlip: Any, encoded: Path, photographs: Path, bundle_folder: Path) -> None:
    before = {path: path.read_bytes() for path in encoded.rglob("*") if path.is_file()}
    outcome = lexlip("encode", "--images", photographs, "--model", bundle_folder, "--output", encoded, "--top-k", 5)
    assert outcome.status == 2
    assert "top_k was 150, now 5; items_per_shard was 2, now 5000" in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1
    assert {path: path.read_bytes() for path in encoded.rglob("*") if path.is_file()} == before


def test_output_of_another_path(
    lexlip: Any, bundle_folder: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ran stands in the manifest, and what runs otherwise does not continue it."""
    command = ("encode", "--images", photographs, "--model", bundle_folder, "--output", tmp_path / "out")
    assert lexlip(*command, "--head", "onnx").status == 0
    settings = json.loads((tmp_path / "out" / "manifest.json").read_bytes())["settings"]
    assert {name: settings[name] for name in ("device", "backend", "precision", "head")} == {
        "device": "cpu",
        "backend": "onnxruntime",
        "precision": "f32",
        "head": "onnx",
    }
    monkeypatch.setattr(encoder, "look_around", lambda gpu=True: Machine())  # where the native head is the default
    outcome = lexlip(*command)
    assert outcome.status == 2
    assert "(head was onnx, now native); name a new folder" in outcome.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--device", "cuda"], "device 'cuda' was asked for, but the driver reports no NVIDIA GPU"),
        (["--precision", "fp16"], "precision 'fp16' was asked for, but this runs on the CPU (no GPU, the driver"),
        (["--precision", "int8"], "the bundle has no onnx/image_backbone_int8.onnx: export the model again"),
        (["--precision", "half"], "precision is 'half'; expected one of 'auto', 'f32', 'fp16', 'bf16', 'int8'"),
        (["--backend", "openvino"], "pip install 'lexlip-infer[openvino]'"),
        (["--head", "triton"], "head 'triton' was asked for, but it runs on NVIDIA GPUs alone"),
        (["--cuda-graph"], "cuda_graph True was asked for, but this runs on the CPU"),
    ],
)
def test_paths_that_are_not_to_be_had(
    options: list[str],
    said: str,
    refused: Callable[..., str],
    photographs: Path,
    bundle_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoder, "look_around", lambda gpu=True: Machine())
    assert said in refused("--images", photographs, "--model", bundle_folder, *options)


def test_debug_lets_the_traceback_through(
    lexlip: Any, monkeypatch: pytest.MonkeyPatch, photographs: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("LEXLIP_DEBUG", "1")
    with pytest.raises(BundleError, match="not a model bundle"):
        lexlip("encode", "--images", photographs, "--output", tmp_path / "out", "--model", tmp_path)
