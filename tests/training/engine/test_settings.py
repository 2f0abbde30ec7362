"""Configuration files, the schedule, parameter groups, warnings and the dry run, against numbers worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from lexlip_kernels.errors import InputError
from lexlip_training import LexLIP, preset
from lexlip_training.engine.dry_run import plan
from lexlip_training.engine.monitoring import SparsityMonitor
from lexlip_training.engine.optimisation import decays, parameter_groups, rate_factor
from lexlip_training.engine.settings import load_config, shipped_configs


def test_shipped_configurations_hold_the_published_tables() -> None:
    batches = {"pretrain_lexicon": (800, 20), "dense_pretrain": (800, 20), "pretrain_momentum": (2880, 10)}
    batches |= {"dense_momentum": (2880, 10), "clip_momentum": (2880, 30)}
    batches |= {name: (1536, 10) for name in shipped_configs() if "finetune_" in name}
    ours = {name for name in shipped_configs() if name.startswith(("tiny_", "lexlip_tiny"))}
    assert set(shipped_configs()) - ours == set(batches)
    for name, (batch, epochs) in batches.items():
        config = load_config(name)
        assert (config.optimiser.batch_size, config.schedule.epochs) == (batch, epochs)
        assert (config.optimiser.learning_rate, config.optimiser.weight_decay, config.schedule.warmup) == (
            5e-5,
            0.01,
            0.1,
        )
        assert (config.objective.temperature, config.objective.flops_weight) == (0.05, 0.002)
        assert config.model.image_size == (384 if "finetune" in name else 224)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optimiser.rate=3", "pretrain_lexicon: unknown key 'optimiser.rate'"),
        ("nothing.x=1", "pretrain_lexicon: unknown key 'nothing'"),
        ("schedule.epochs=ten", "'schedule.epochs': .* 'ten' was given"),
        ("epochs=3", "expected section.key=value"),
        ("model.representation=dense", "'pretrain_lexicon' trains a lexicon model"),
    ],
)
def test_bad_settings_are_told_by_file_and_key(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_config("pretrain_lexicon", [setting])


def test_bad_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no configuration is called 'pretrain'; there are clip_"):
        load_config("pretrain")
    file = tmp_path / "broken.toml"
    file.write_text("[model\n")
    with pytest.raises(InputError, match="not a readable configuration"):
        load_config(str(file))


def test_tiny_configurations_fit_the_plain_preset() -> None:
    """What the paper's objectives cannot train is not in it; the backbone's weights fit."""
    tiny = [load_config(name) for name in shipped_configs() if name.startswith("tiny_")]
    fresh = [config.model for config in tiny if config.model.start is None]
    assert len(fresh) == 3
    assert {(model.preset, model.frozen_stages) for model in fresh} == {("lexlip-tiny-plain", 5)}
    model = LexLIP(preset("lexlip-tiny-plain"))
    assert not hasattr(model, "query_weight")
    assert not hasattr(model.image_tower, "class_tokens")
    assert len(model.image_tower.backbone.blocks) > 5


def test_schedule() -> None:
    values = [rate_factor(step, 20, 0.1) for step in range(21)]
    assert values[:4] == [0.0, 0.5, 1.0, 17 / 18]
    assert values[11] == 0.5
    assert values[20] == 0.0
    assert rate_factor(0, 5, 0.1) == 1.0  # int(0.5) steps of warm-up are none
    assert rate_factor(0, 1, 0.0) == 1.0


def test_schedule_of_the_recipe() -> None:
    values = [rate_factor(step, 20, 0.1, from_zero=False) for step in range(20)]
    assert values[:4] == [0.5, 1.0, 1.0, 17 / 18]
    assert values[19] == 1 / 18
    # Without a warm-up it is planned as if there were one step of it.
    assert [rate_factor(step, 5, 0.1, from_zero=False) for step in range(3)] == [1.0, 1.0, 3 / 4]
    assert rate_factor(0, 1, 0.0, from_zero=False) == 1.0


def test_groups(random_model: LexLIP) -> None:
    groups = parameter_groups(random_model.named_parameters(), 1e-3, 0.01, "sane", 0.1)
    assert sorted((group["base_rate"], group["weight_decay"]) for group in groups) == [
        (1e-4, 0.0),
        (1e-4, 0.01),
        (1e-3, 0.0),
        (1e-3, 0.01),
    ]
    names = [name for group in groups for name in group["names"]]
    assert sorted(names) == sorted(name for name, _ in random_model.named_parameters())


@pytest.mark.parametrize(
    ("name", "shape", "sane", "official"),
    [
        ("model.image_tower.backbone.blocks.0.norm1.weight", (8,), False, True),
        ("model.image_tower.backbone.blocks.0.gamma_1", (8,), False, True),
        ("model.image_tower.backbone.cls_token", (1, 1, 8), False, True),
        ("model.image_tower.backbone.blocks.0.attn.relative_position_bias_table", (732, 12), False, False),
        ("model.image_tower.norm.weight", (8,), False, False),
        ("model.text_tower.bert.embeddings.LayerNorm.weight", (8,), False, False),
        ("model.text_tower.bert.embeddings.position_embeddings.weight", (40, 8), False, True),
        ("model.text_tower.bert.encoder.layer.0.output.dense.weight", (8, 8), True, True),
        ("model.text_head.bias", (8,), False, False),
    ],
)
def test_what_decays(name: str, shape: tuple[int, ...], sane: bool, official: bool) -> None:
    parameter = torch.nn.Parameter(torch.zeros(shape))
    assert decays(name, parameter, "sane") == sane
    assert decays(name, parameter, "official") == official


def test_warnings_come_once_and_not_too_early() -> None:
    monitor = SparsityMonitor(vocab_size=100, patience=10)
    bad = {"terms_image": 2.0, "alike_image": 0.99, "terms_text": 80.0, "alike_text": 0.1}
    assert monitor.check(9, bad) == []
    first = monitor.check(10, bad)
    assert [text.split(":")[0] for text in first] == [
        "all image vectors are alike (mean cosine 0.990)",
        "2.0 active terms per image",
        "80 of 100 terms active per text",
    ]
    assert monitor.check(11, bad) == []
    assert SparsityMonitor(None, 0).check(1, {"alike_text": 0.2, "terms_text": 1.0}) == []


def test_dry_run() -> None:
    report = plan(load_config("pretrain_momentum"), processes=8, pairs=4_300_000)
    assert "2880 = 8 processes x 4 micro-batches x 90 pairs" in report
    assert "steps        14930 (4300000 pairs, 1493 a pass" in report
    dense_queue = 2 * 11520 * 30522 * 4 / 2**30
    assert math.isclose(dense_queue, 2.62, abs_tol=0.005)
    assert "dense queue        2.02 + 2.62" in report
    assert "fused head, sparse queue" in report
    with pytest.raises(InputError, match="give --pairs"):
        plan(load_config("pretrain_momentum"), processes=8, pairs=None)
