"""Opening models: folders, hub ids and names, options, what is refused, and what a pickle opens again."""

from __future__ import annotations

import dataclasses
import pickle
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dense_rows import near

from lexlip_infer import BackendUnavailable, BundleError, InputError, LexLIPEncoder
from lexlip_infer import encoder as encoder_module
from lexlip_infer.bundle import Bundle, KeptTerms, Quantisation, list_models
from lexlip_infer.inputs.texts import Tokens
from lexlip_infer.runtime.machine import Machine


class TestFromPretrained:
    def test_folder_as_text_or_path(self, bundle_folder: Path) -> None:
        assert LexLIPEncoder.from_pretrained(str(bundle_folder)).manifest.name == "random"
        assert LexLIPEncoder.from_pretrained(bundle_folder, "cpu", "f32", threads=3).threads == 3

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"device": "cuda"}, "device 'cuda' was asked for, but the driver reports no NVIDIA GPU: check nvidia-smi"),
            ({"precision": "fp16"}, "precision 'fp16' was asked for, but this runs on the CPU (no GPU,"),
            ({"precision": "int8"}, "the bundle has no onnx/image_backbone_int8.onnx: export the model again"),
            ({"head": "triton"}, "head 'triton' was asked for, but it runs on NVIDIA GPUs alone"),
        ],
    )
    def test_what_is_not_to_be_had(
        self, options: dict[str, Any], said: str, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(encoder_module, "look_around", lambda gpu=True: Machine())
        with pytest.raises(BackendUnavailable, match=re.escape(said)) as raised:
            LexLIPEncoder.from_pretrained(bundle_folder, **options)
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize(("name", "value"), [("device", "CPU"), ("precision", "f16"), ("backend", "tensorrt")])
    def test_what_does_not_exist(self, name: str, value: str, bundle_folder: Path) -> None:
        with pytest.raises(InputError, match=f"{name} is '{value}'; expected .*'auto'"):
            LexLIPEncoder.from_pretrained(bundle_folder, **{name: value})  # type: ignore[arg-type]

    def test_one_tower(self, bundle_folder: Path) -> None:
        bundle = Bundle.open(bundle_folder)
        manifest = bundle.manifest.model_copy(update={"image": None})
        encoder = LexLIPEncoder(Bundle(bundle.folder, manifest, ""))
        assert encoder.path("text").precision == "f32"
        with pytest.raises(BundleError, match="random has no image tower; it encodes texts alone"):
            encoder.path("image")

    def test_a_precision_of_one_tower(
        self, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """The other tower is refused when it is used, not before."""
        bundle = Bundle.open(shutil.copytree(bundle_folder, tmp_path / "bundle"))
        files = {**bundle.manifest.files, "onnx/text_backbone_int8.onnx": bundle.manifest.files["README.md"]}
        manifest = bundle.manifest.model_copy(update={"files": files})
        monkeypatch.setattr(Bundle, "open", lambda folder, **_: Bundle(bundle.folder, manifest, ""))
        encoder = LexLIPEncoder.from_pretrained(bundle.folder, precision="int8")
        assert encoder.path("text").precision == "int8"
        with pytest.raises(BackendUnavailable, match="image_backbone_int8"):
            encoder.load("image")

    def test_no_threads(self, bundle_folder: Path) -> None:
        with pytest.raises(InputError, match="threads is 0; expected at least 1"):
            LexLIPEncoder.from_pretrained(bundle_folder, threads=0)

    def test_no_such_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="not a model bundle"):
            LexLIPEncoder.from_pretrained(tmp_path / "none")

    def test_hub_out_of_reach(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def unreachable(*arguments: object, **options: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unreachable)
        monkeypatch.setattr(socket.socket, "connect", unreachable)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(
            BundleError, match=r"^nobody/nothing: no such folder, and the .* cannot be reached"
        ) as raised:
            LexLIPEncoder.from_pretrained("nobody/nothing", cache_dir=tmp_path)
        assert "\n" not in str(raised.value)

    def test_where_the_hub_comes_in(self, monkeypatch: pytest.MonkeyPatch, bundle_folder: Path, tmp_path: Path) -> None:
        import huggingface_hub

        asked = []

        def download(name: str, **options: Any) -> str:
            asked.append((name, options["revision"], options["token"], options["cache_dir"]))
            return str(bundle_folder)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        monkeypatch.chdir(tmp_path)
        encoder = LexLIPEncoder.from_pretrained("owner/name", revision="v1", token="hf_secret", cache_dir="kept")
        assert encoder.manifest.name == "random"
        assert asked[0] == ("owner/name", "v1", "hf_secret", "kept")

    def test_a_folder_has_no_revision(self, bundle_folder: Path) -> None:
        with pytest.raises(InputError, match=r"revision 'v1' was asked for, but .* is a folder"):
            LexLIPEncoder.from_pretrained(bundle_folder, revision="v1")

    def test_a_model_of_the_package_by_its_name(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        assert "lexlip-tiny" in list_models()
        monkeypatch.chdir(tmp_path)
        assert LexLIPEncoder.from_pretrained("lexlip-tiny").bundle == Bundle.open()

    def test_a_folder_of_the_shape_of_a_hub_id(
        self, monkeypatch: pytest.MonkeyPatch, bundle_folder: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(bundle_folder, tmp_path / "owner" / "name")
        monkeypatch.chdir(tmp_path)
        assert LexLIPEncoder.from_pretrained("owner/name").manifest.name == "random"

    def test_towers_are_loaded_when_needed(self, bundle_folder: Path, tmp_path: Path) -> None:
        folder = shutil.copytree(bundle_folder, tmp_path / "bundle")
        (folder / "onnx" / "image_backbone.onnx").unlink()
        encoder = LexLIPEncoder.from_pretrained(folder, threads=1)
        assert len(encoder.encode_texts(["a dog"])) == 1
        with pytest.raises(BundleError, match=r"image_backbone\.onnx: cannot be read"):
            encoder.load("image")

    def test_a_graph_that_fails_on_its_input(self, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        encoder = LexLIPEncoder.from_pretrained(bundle_folder, threads=1)
        unknown_ids = Tokens(np.full((1, 3), 10**6), np.ones((1, 3), np.int64), np.zeros(1, np.bool_))
        monkeypatch.setattr(encoder.tokenize, "encode", lambda texts, prompt: unknown_ids)
        monkeypatch.setattr(encoder_module, "check_token_ids", lambda *_: None)
        with pytest.raises(BundleError, match=r"text_backbone\.onnx: failed on input_ids \(1, 3\) int64") as raised:
            encoder.encode_texts(["a"])
        assert "\n" not in str(raised.value)


class TestModel:
    """Vectors know which model made them."""

    def test_vectors_carry_the_fingerprint(self, encoder: LexLIPEncoder, paths: list[Path]) -> None:
        ids, mask = encoder.tokenize(["a dog"])
        for batch in (
            encoder.encode_images(paths[0]),
            encoder.encode_texts(["a dog", "a cat"], batch_size=1),
            encoder.encode_texts([]),
            encoder.encode_token_ids(ids, mask),
            next(encoder.iter_encode_texts("a dog")),
        ):
            assert batch.fingerprint == encoder.bundle.fingerprint

    def test_models_are_not_mixed(self, encoder: LexLIPEncoder) -> None:
        ours = encoder.encode_query("a dog")
        other = dataclasses.replace(ours, fingerprint="f" * 64)
        for a, b in ((ours, other), (other, ours), (other, other)):
            with pytest.raises(InputError, match=r"vectors of two models .* encode both with one model"):
                encoder.similarity(a, b)
        unknown = dataclasses.replace(ours, fingerprint=None)
        assert encoder.similarity(ours, unknown)[0, 0] == pytest.approx(1, abs=1e-6)

    def test_pickling_opens_the_bundle_again(self, encoder: LexLIPEncoder) -> None:
        data = pickle.dumps(encoder)
        assert len(data) < 2000  # no weights
        again = pickle.loads(data)
        assert again.options == encoder.options
        assert near(again.encode_query("a dog"), encoder.encode_query("a dog"))

    def test_pickled_before_the_bundle_changed(self, bundle_folder: Path, tmp_path: Path) -> None:
        folder = Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))
        data = pickle.dumps(LexLIPEncoder.from_pretrained(folder))
        Bundle.open(folder).set_defaults(KeptTerms(image=3, text=3), Quantisation(scale=10, cap=255))
        with pytest.raises(BundleError, match="holds another model than when the encoder was pickled"):
            pickle.loads(data)

    def test_short_representation(self, encoder: LexLIPEncoder) -> None:
        assert repr(encoder) == "LexLIPEncoder(random: image and text, device='auto')"
