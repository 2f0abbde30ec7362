"""How an int8 model of OpenVINO computes what it left unquantised: as its file says, where the CPU can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer.bundle import Bundle
from lexlip_infer.errors import BundleError
from lexlip_infer.runtime.choice import RuntimeOptions
from lexlip_infer.runtime.machine import look_around
from lexlip_infer.runtime.opening import open_tower

pytestmark = pytest.mark.skipif(not look_around().openvino, reason="openvino is not installed (extra 'openvino')")

Open = Callable[[str | None], Any]


@pytest.fixture
def open_image_tower(bundle: Bundle, with_files: Callable[[dict[str, bytes]], Bundle], tmp_path: Path) -> Open:
    """The int8 path, on a graph that says this of itself; that it is not quantised does not matter here."""
    from lexlip_infer.runtime.openvino_session import UNQUANTISED, import_openvino, openvino_core

    def tower(unquantised: str | None) -> Any:
        model = openvino_core().read_model(bundle.folder / "onnx/image_backbone.onnx")
        if unquantised is not None:
            model.set_rt_info(unquantised, [*UNQUANTISED])
        import_openvino().save_model(model, tmp_path / "model.xml", compress_to_fp16=False)
        files = {
            f"openvino/image_backbone_int8.{end}": (tmp_path / f"model.{end}").read_bytes() for end in ("xml", "bin")
        }
        return open_tower(with_files(files), "image", RuntimeOptions("cpu", "int8", "openvino", threads=1))

    return tower


@pytest.mark.parametrize(
    ("unquantised", "has_bf16", "expected"),
    [("bf16", True, "bf16"), ("bf16", False, "f32"), ("f32", True, "f32"), (None, True, "f32")],
)
def test_as_the_file_says_and_the_cpu_can(
    unquantised: str | None, has_bf16: bool, expected: str, open_image_tower: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lexlip_infer.runtime import openvino_session

    if expected == "bf16" and not openvino_session.runs_bf16():
        pytest.skip("this CPU has no bf16")
    monkeypatch.setattr(openvino_session, "runs_bf16", lambda: has_bf16)
    hint = open_image_tower(unquantised).backbone._compiled.get_property("INFERENCE_PRECISION_HINT")
    assert hint.get_type_name() == expected


def test_a_precision_that_there_is_not(open_image_tower: Open) -> None:
    with pytest.raises(BundleError, match=r"int8\.xml: unquantised layers in 'f16'; expected f32 or bf16"):
        open_image_tower("f16")
