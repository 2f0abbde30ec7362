"""The gate from end to end: what passes is written with its report, what fails leaves nothing behind."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pydantic
import pytest
import torch
from tokenizers import Tokenizer
from typer.testing import CliRunner

from lexlip_export import ExportSettings, bundle_writer
from lexlip_export.bundle_writer import write_bundle
from lexlip_export.cli import app
from lexlip_export.precision.candidates import Half, head_file
from lexlip_export.precision.gate import judge, run_gate
from lexlip_export.precision.inputs import CaptionInputs, SyntheticInputs
from lexlip_export.precision.report import PARITY, ParityReport
from lexlip_export.settings import GateSettings, Thresholds
from lexlip_infer import LexLIPEncoder
from lexlip_infer.bundle import Bundle
from lexlip_infer.errors import BundleError, ImageError, InputError
from lexlip_infer.runtime.choice import RuntimeOptions
from lexlip_training import LexLIP

Gate = dict[str, Any]


@pytest.fixture
def _exported_before(exported_graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_writer, "backbone_graph", exported_graph)


@pytest.fixture(scope="module")
def parity(precise_bundle: Bundle) -> ParityReport:
    return ParityReport.model_validate_json(precise_bundle.read(PARITY))


def test_the_bundle_holds_every_precision(precise_bundle: Bundle, captions: list[str]) -> None:
    for modality in ("image", "text"):
        assert precise_bundle.precisions(modality) == ("f32", "fp16", "int8")
        assert head_file(modality) in precise_bundle.manifest.files
    assert LexLIPEncoder(precise_bundle, RuntimeOptions(threads=1)).encode_texts(captions).nnz > 0


def test_the_report_is_complete(parity: ParityReport) -> None:
    assert [report.precision for report in parity.precisions] == ["fp16", "int8"]
    for report in parity.precisions:
        assert report.inputs == "captions.jsonl, split 'dev': 5 images, 5 captions"
        assert {name: tower.rows for name, tower in report.towers.items()} == {"image": 5, "text": 5}
        assert {name: tower.top_k for name, tower in report.towers.items()} == {"image": 24, "text": 8}
        assert all(tower.hidden.max > tower.hidden.mean > 0 for tower in report.towers.values())
        assert report.retrieval != "not measured"
    half, int8 = parity.precisions
    assert half.largest_activation is not None
    assert int8.largest_activation is None
    assert "torch" in half.arithmetic
    assert "ONNX Runtime" in int8.arithmetic


def test_the_card_has_the_figures(precise_bundle: Bundle, parity: ParityReport) -> None:
    card = precise_bundle.read("README.md").decode()
    tower = parity.precisions[1].towers["image"]
    row = re.search(r"\| int8 \| image \| (\S+), (\S+) \|", card)
    assert row is not None
    assert [float(figure) for figure in row.groups()] == pytest.approx([tower.hidden.max, tower.hidden.mean], rel=2e-3)
    assert "## Precisions" in card
    assert " → " in card
    assert '"precisions": [' in card


def test_the_report_tells_no_path(precise_bundle: Bundle, captions_file: Path) -> None:
    for name in ("README.md", PARITY, "lexlip.json"):
        assert str(captions_file.parent) not in (precise_bundle.folder / name).read_text()


@pytest.mark.usefixtures("_exported_before")
def test_a_planted_outlier_is_refused_and_nothing_written(
    random_model: LexLIP, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model = copy.deepcopy(random_model)
    block = model.image_tower.adapter.layers[0]
    with torch.no_grad():
        block.attn.proj.bias[5] = block.mlp.fc2.bias[5] = 3.5e4
    settings = ExportSettings(precisions=("fp16",))
    message = (
        r"fp16 refused: layer image_tower\.adapter\.layers\.0 overflows first: it reaches \d+\S* in float32, 1\.07"
    )
    with pytest.raises(BundleError, match=message):
        write_bundle(model, tokenizer, {}, tmp_path / "bundle", settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_exported_before")
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_figure_over_its_limit_is_named(
    precision: Any, random_model: LexLIP, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    limits = getattr(GateSettings(), precision).model_copy(update={"weight_max": 1e-9})
    gate = GateSettings(calibration="synthetic").model_copy(update={precision: limits})
    settings = ExportSettings(precisions=(precision,))
    with pytest.raises(BundleError) as refusal:
        write_bundle(random_model, tokenizer, {}, tmp_path / "bundle", settings, gate=gate)
    message = str(refusal.value)
    assert message.startswith(f"precision {precision} refused on synthetic: 16 random images, 64 random texts: ")
    for modality in ("image", "text"):
        pattern = rf"{modality} largest error of a weight is [\d.e-]+, the limit is 1e-09 \(weight_max\)"
        assert re.search(pattern, message)
    assert "overlap" not in message
    assert f"export without --precision {precision}" in message
    assert len(message.splitlines()) == 1
    assert not list(tmp_path.iterdir())


LIMITS = dict.fromkeys(("hidden_mean", "weight_max", "weight_mean"), 1e-12) | {"overlap": 1.0, "agreement": 1.0}


@pytest.mark.parametrize("name", [*Thresholds.model_fields])
def test_every_limit_is_applied(name: str, parity: ParityReport) -> None:
    report = parity.precisions[1]
    loose = Thresholds(hidden_mean=1e9, weight_max=1e9, weight_mean=1e9, overlap=0, recall_loss=100, agreement=0)
    lost = report.retrieval.text_to_image.model_copy(  # type: ignore[union-attr]
        update={"reference": (50.0, 60.0, 70.0), "candidate": (51.0, 57.0, 70.0), "agreement": 0.75}
    )
    retrieval = report.retrieval.model_copy(update={"text_to_image": lost})  # type: ignore[union-attr]
    towers = {"image": report.towers["image"].model_copy(update={"overlap": 0.9})}
    report = report.model_copy(update={"thresholds": loose, "retrieval": retrieval, "towers": towers})
    judge(report)
    limit = {"recall_loss": 0.6, **LIMITS}[name]
    tight = report.model_copy(update={"thresholds": loose.model_copy(update={name: limit})})
    with pytest.raises(BundleError, match=rf"the limit is {limit:g} \({name}\)"):
        judge(tight)


def test_not_a_number_never_passes(parity: ParityReport) -> None:
    report = parity.precisions[0]
    tower = report.towers["image"]
    spoilt = tower.model_copy(update={"weights": tower.weights.model_copy(update={"max": float("nan")})})
    with pytest.raises(BundleError, match="image largest error of a weight is nan"):
        judge(report.model_copy(update={"towers": {"image": spoilt}}))


def test_synthetic_inputs_are_the_same_every_time_and_measure_no_retrieval(random_model: LexLIP) -> None:
    inputs = SyntheticInputs(random_model.config)
    for modality, rows in (("image", 16), ("text", 64)):
        first, again = list(inputs.batches(modality)), list(inputs.batches(modality))
        assert sum(len(next(iter(batch.values()))) for batch in first) == rows
        for a, b in zip(first, again, strict=True):
            assert all(torch.equal(a[name], b[name]) for name in a)
    report = run_gate(random_model, ("text",), [Half(random_model)], inputs, ExportSettings(), GateSettings())
    assert report.precisions[0].retrieval == "not measured"
    assert list(report.precisions[0].towers) == ["text"]
    assert json.loads(report.model_dump_json())["precisions"][0]["retrieval"] == "not measured"


def test_a_model_of_one_tower_passes(random_model: LexLIP, captions_file: Path, tokenizer: Tokenizer) -> None:
    model = LexLIP(random_model.config.model_copy(update={"image": None})).eval()
    inputs = CaptionInputs(captions_file, "dev", model.config, tokenizer)
    report = run_gate(model, model.config.modalities, [Half(model)], inputs, ExportSettings(), GateSettings())
    assert list(report.precisions[0].towers) == ["text"]
    assert report.precisions[0].retrieval == "not measured"


def test_caption_inputs_are_what_the_encoder_sees(
    random_model: LexLIP, tokenizer: Tokenizer, captions_file: Path, precise_bundle: Bundle, captions: list[str]
) -> None:
    inputs = CaptionInputs(captions_file, "dev", random_model.config, tokenizer)
    encoder = LexLIPEncoder(precise_bundle, RuntimeOptions(threads=1))
    (texts,) = inputs.batches("text")
    ids, mask = encoder.tokenize(captions[:5])
    assert texts["input_ids"].tolist() == ids.tolist()
    assert texts["attention_mask"].tolist() == mask.tolist()
    (images,) = inputs.batches("image")
    assert inputs.data is not None
    expected = encoder.encode_images(inputs.data.images).to_dense()
    assert torch.equal(images["pixel_values"], torch.from_numpy(images["pixel_values"].numpy()))
    assert encoder.encode_pixels(images["pixel_values"].numpy()).to_dense() == pytest.approx(expected, abs=1e-5)


def test_bad_captions_are_one_line(random_model: LexLIP, tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = random_model.config
    with pytest.raises(InputError, match=r"none\.jsonl"):
        CaptionInputs(tmp_path / "none.jsonl", "dev", config, tokenizer)
    file = tmp_path / "captions.jsonl"
    file.write_text('{"image": "gone.jpg", "captions": ["a dog"], "split": "dev"}\n')
    with pytest.raises(InputError, match="no image of split 'test'"):
        CaptionInputs(file, "test", config, tokenizer)
    with pytest.raises(ImageError, match=r"gone\.jpg: cannot be read"):
        list(CaptionInputs(file, "dev", config, tokenizer).batches("image"))
    with pytest.raises(InputError, match="no tokenizer"):
        list(CaptionInputs(file, "dev", config, None).batches("text"))


@pytest.mark.parametrize(
    "settings",
    [
        {"fp16": {"overlap": 1.5}},
        {"int8": Thresholds.model_construct(overlap=float("nan")).model_dump()},
        {"fp8": {}},
        {"split": 3},
    ],
)
def test_damaged_gate_settings_are_refused(settings: Gate) -> None:
    with pytest.raises(pydantic.ValidationError):
        GateSettings.model_validate(settings)


@pytest.mark.parametrize(
    ("given", "expected"),
    [((), ("f32",)), (("int8", "fp16", "int8"), ("f32", "fp16", "int8")), (("fp16",), ("f32", "fp16"))],
)
def test_float32_always_comes_first(given: Any, expected: tuple[str, ...]) -> None:
    assert ExportSettings(precisions=given).precisions == expected


def test_unknown_precisions_are_refused() -> None:
    with pytest.raises(pydantic.ValidationError):
        ExportSettings.model_validate({"precisions": ("fp8",)})


def test_the_command_passes_everything_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[Any] = []

    def export_bundle(
        _checkpoint: Path, output: Path, settings: ExportSettings, _evaluation: Any, *, gate: Any, **_others: Any
    ) -> None:
        output.mkdir()
        calls.append((settings, gate))

    monkeypatch.setattr("lexlip_export.bundle_writer.export_bundle", export_bundle)
    for what in ("say_notice", "say_scale"):
        monkeypatch.setattr(f"lexlip_export.cli.{what}", lambda _bundle: None)  # there is none
    options = [
        "--precision",
        "all",
        "--gate-captions",
        "c.jsonl",
        "--gate-split",
        "test",
        "--calibration-images",
        "photographs",
    ]
    result = CliRunner().invoke(app, ["checkpoint", str(tmp_path / "out"), *options])
    assert result.exit_code == 0, result.output
    ((settings, gate),) = calls
    assert settings.precisions == ("f32", "fp16", "int8")
    assert (gate.captions, gate.split, gate.calibration) == (Path("c.jsonl"), "test", Path("photographs"))


def test_the_command_refuses_an_unknown_precision(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["checkpoint", str(tmp_path / "out"), "--precision", "fp8"])
    assert isinstance(result.exception, InputError)
    assert str(result.exception) == "--precision 'fp8' is not known; expected f32, fp16, int8, all"
