"""The official checkpoint as a model: equal to a forward pass written out from the paper's code, total in its names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, gelu, layer_norm

from lexlip_export.official.checkpoint import load_official
from lexlip_export.sources import ImportOptions, load_source
from lexlip_kernels.errors import BundleError

Content = Callable[..., dict[str, Any]]
HEADS = 2
BEIT = "image_transformer.beit"


class Written:
    """The official network, operation by operation, over the tensors of a state dict."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def linear(self, name: str, tokens: Tensor) -> Tensor:
        out = tokens @ self.state[f"{name}.weight"].T
        return out + self.state[f"{name}.bias"] if f"{name}.bias" in self.state else out

    def norm(self, name: str, tokens: Tensor) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return layer_norm(tokens, tokens.shape[-1:], weight, bias, 1e-12)

    def attention(self, name: str, tokens: Tensor, bias: Tensor) -> Tensor:
        parts = (self.linear(f"{name}.{part}", tokens) for part in ("query", "key", "value"))
        query, key, value = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in parts)
        scores = query @ key.mT / query.shape[-1] ** 0.5 + bias
        return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)

    def position_bias(self, layer: int, window: int) -> Tensor:
        """(heads, L, L), entry by entry."""
        name = f"{BEIT}.encoder.layer.{layer}.attention.attention.relative_position_bias.relative_position_bias_table"
        table, last = self.state[name], len(self.state[name])
        index = torch.zeros(window**2 + 1, window**2 + 1, dtype=torch.int64)
        for query in range(window**2):
            for key in range(window**2):
                dy, dx = query // window - key // window, query % window - key % window
                index[query + 1, key + 1] = (dy + window - 1) * (2 * window - 1) + dx + window - 1
        index[0, :], index[:, 0], index[0, 0] = last - 3, last - 2, last - 1
        return table[index].permute(2, 0, 1)

    def head(self, name: str, tokens: Tensor) -> Tensor:
        hidden = self.norm(f"{name}.transform.LayerNorm", gelu(self.linear(f"{name}.transform.dense", tokens)))
        return self.linear(f"{name}.decoder", hidden)

    def images(self, pixels: Tensor) -> Tensor:
        projection = f"{BEIT}.embeddings.patch_embeddings.projection"
        patches = conv2d(pixels, self.state[f"{projection}.weight"], self.state[f"{projection}.bias"], stride=16)
        window = patches.shape[-1]
        start = self.state[f"{BEIT}.embeddings.cls_token"].expand(len(pixels), -1, -1)
        x = torch.cat([start, patches.flatten(2).mT], dim=1)
        for layer in range(2):
            block = f"{BEIT}.encoder.layer.{layer}"
            bias = self.position_bias(layer, window)
            attended = self.attention(f"{block}.attention.attention", self.norm(f"{block}.layernorm_before", x), bias)
            x = x + self.state[f"{block}.lambda_1"] * self.linear(f"{block}.attention.output.dense", attended)
            widened = gelu(self.linear(f"{block}.intermediate.dense", self.norm(f"{block}.layernorm_after", x)))
            x = x + self.state[f"{block}.lambda_2"] * self.linear(f"{block}.output.dense", widened)
        logits = self.head("mlm_head_for_image.predictions", self.norm("image_transformer.layernorm", x))
        return (1 + logits.relu().amax(1)).log()

    def texts(self, ids: Tensor, mask: Tensor) -> Tensor:
        name = "text_transformer.bert.embeddings"
        words, places = self.state[f"{name}.word_embeddings.weight"], self.state[f"{name}.position_embeddings.weight"]
        x = words[ids] + places[: ids.shape[1]] + self.state[f"{name}.token_type_embeddings.weight"][0]
        x, bias = self.norm(f"{name}.LayerNorm", x), (1 - mask[:, None, None]) * -1e9
        for layer in range(2):
            block = f"text_transformer.bert.encoder.layer.{layer}"
            attended = self.attention(f"{block}.attention.self", x, bias)
            attended = self.linear(f"{block}.attention.output.dense", attended)
            x = self.norm(f"{block}.attention.output.LayerNorm", x + attended)
            widened = self.linear(f"{block}.output.dense", gelu(self.linear(f"{block}.intermediate.dense", x)))
            x = self.norm(f"{block}.output.LayerNorm", x + widened)
        logits = self.head("text_transformer.cls.predictions", x) + (1 - mask[..., None]) * -1e6
        return (1 + logits.relu().amax(1)).log()


def save(path: Path, content: dict[str, Any]) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("phase", [1, 2])
@torch.no_grad()
def test_model_equals_the_official_network(phase: int, tmp_path: Path, content: Content) -> None:
    saved = content(phase)
    model, record = load_official(save(tmp_path / "a.ckpt", saved))
    written = Written(saved["state_dict"])
    pixels = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model.image_weights(pixels), written.images(pixels), rtol=0, atol=2e-5)
    ids = torch.randint(0, 40, (3, 9))
    mask = (torch.arange(9)[None] < torch.tensor([9, 5, 2])[:, None]).long()
    torch.testing.assert_close(model.text_weights(ids, mask), written.texts(ids, mask), rtol=0, atol=2e-5)
    assert not model.training
    assert record["rel_pos_mode"] == "unchanged"
    assert record["official"] == {"training_mode": "both", "epoch": 3, "global_step": 99}


def test_preprocessing_is_the_official_one(checkpoint: Path) -> None:
    config = load_official(checkpoint)[0].config
    assert config.image is not None
    assert (config.image.resize, config.image.mean, config.image.std) == ("center_crop", (0.5,) * 3, (0.5,) * 3)
    assert config.image.image_size == 64
    assert not config.tie_decoders
    assert config.suppressed_ids == ()


@pytest.mark.parametrize(
    ("trained", "stored", "asked", "mode", "recorded"),
    [
        (14, 224, None, None, "unchanged"),
        (14, 384, None, None, "legacy_1d"),
        (14, 224, 384, None, "legacy_1d"),
        (14, 224, 384, "bicubic_2d", "bicubic_2d"),
        (14, 384, 224, None, "unchanged"),
        (4, 64, 96, None, "bicubic_2d"),
    ],
)
def test_image_size_and_position_mode(
    trained: int, stored: int, asked: int | None, mode: Any, recorded: str, tmp_path: Path, content: Content
) -> None:
    path = save(tmp_path / "a.ckpt", content(window=trained, image_size=stored))
    model, record = load_official(path, image_size=asked, position_mode=mode)
    assert record["rel_pos_mode"] == recorded
    size = asked or stored
    assert model.image_hidden(torch.zeros(1, 3, size, size)).shape == (1, (size // 16) ** 2 + 1, 16)


def test_sizes_that_cannot_be_are_refused(tmp_path: Path, content: Content) -> None:
    path = save(tmp_path / "a.ckpt", content())
    for options, message in [
        ({"image_size": 100}, "100 is no multiple of the patch size 16"),
        ({"image_size": 96, "position_mode": "legacy_1d"}, "legacy_1d exists at 384 px"),
        ({"image_size": 129 * 16}, "2064 px are 129 patches a side; expected at most 128"),
        ({"text_heads": 3}, "3 attention heads do not divide the text tower's width 16"),
    ]:
        with pytest.raises(BundleError, match=message):
            load_official(path, **options)  # type: ignore[arg-type]
    for config, message in [
        ({"num_heads": None}, "pass --text-heads"),
        ({"num_heads": "two"}, "the stored num_heads is no number from 1 to"),
        ({"image_size": -1}, "the stored image_size is no number"),
        ({"image_size": 10**5000}, "the stored image_size is no number"),
        ({"max_text_len": 49}, "the position table allows 3 to 48"),
    ]:
        with pytest.raises(BundleError, match=message):
            load_official(save(path, content(**config)))
    assert load_official(save(path, content(num_heads=None)), text_heads=4)[0].config.text.heads == 4  # type: ignore[union-attr]


def test_tables_that_would_take_gigabytes_are_not_made(tmp_path: Path, content: Content) -> None:
    with pytest.raises(BundleError, match=r"computes tables of .* for itself; expected at most 536\.9 MB"):
        load_official(save(tmp_path / "a.ckpt", content(image_size=128 * 16)))


def test_an_image_size_that_no_model_has(tmp_path: Path, content: Content) -> None:
    path = save(tmp_path / "a.ckpt", content(image_size=257 * 16))
    with pytest.raises(BundleError, match=r"a\.ckpt: image_size: Input should be less than or equal to 4096"):
        load_source(path, ImportOptions())


def test_a_file_without_settings_needs_the_heads_alone(tmp_path: Path, content: Content) -> None:
    saved = content()
    del saved["hyper_parameters"]
    config = load_official(save(tmp_path / "a.ckpt", saved), text_heads=2)[0].config
    assert config.image is not None
    assert config.text is not None
    assert (config.image.image_size, config.text.max_length) == (64, 40)


def test_names_are_total(tmp_path: Path, content: Content) -> None:
    complete = content()["state_dict"]
    dropped = ("relative_position_index", "position_ids", "decoder_heads", "decoder.bias")
    for name in complete:
        saved = content()
        del saved["state_dict"][name]
        path = save(tmp_path / "a.ckpt", saved)
        if any(part in name for part in dropped) or name.endswith("predictions.bias"):
            load_official(path)
            continue
        with pytest.raises(BundleError, match="lacks") as caught:
            load_official(path)
        assert name in str(caught.value)


def test_unknown_names_are_errors(tmp_path: Path, content: Content) -> None:
    saved = content()
    for name in ("image_transformer.beit.pooler.weight", "moco_something.weight", "image_queue.extra", "z", "zz"):
        saved["state_dict"][name] = torch.zeros(2)
    message = "has unknown tensors image_queue.extra, image_transformer.beit.pooler.weight, moco_something.weight and 2"
    with pytest.raises(BundleError, match=message):
        load_official(save(tmp_path / "a.ckpt", saved))


def test_every_kept_number_arrives_once(tmp_path: Path, content: Content) -> None:
    """Momentum copies, queues, decoder and buffers are left behind, and nothing else."""
    saved = content(phase=2)
    state = load_official(save(tmp_path / "a.ckpt", saved))[0].state_dict()
    dropped = ("moco_", "image_queue", "text_queue", "text_transformer.decoder_heads")
    kept = [
        values.flatten()
        for name, values in saved["state_dict"].items()
        if not name.startswith(dropped) and not name.endswith("decoder.bias") and values.is_floating_point()
    ]
    arrived = torch.cat([values.flatten() for values in state.values()])
    assert torch.equal(arrived.sort().values, torch.cat(kept).sort().values)


def test_two_names_of_one_bias(tmp_path: Path, content: Content) -> None:
    head = "mlm_head_for_image.predictions"
    saved = content()
    expected = saved["state_dict"][f"{head}.bias"]
    for missing in (f"{head}.bias", f"{head}.decoder.bias"):
        saved = content()
        del saved["state_dict"][missing]
        model, _ = load_official(save(tmp_path / "a.ckpt", saved))
        torch.testing.assert_close(model.image_head.bias.detach(), expected)
    saved = content()
    saved["state_dict"][f"{head}.decoder.bias"] = expected + 1
    with pytest.raises(BundleError, match=r"are one parameter, but differ"):
        load_official(save(tmp_path / "a.ckpt", saved))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("mlm_head_for_image.predictions.decoder.weight", (39, 16), "image_head.weight has the shape"),
        ("image_transformer.beit.encoder.layer.1.lambda_1", (15,), "gamma_1 has the shape"),
        ("image_transformer.beit.encoder.layer.1.attention.attention.key.weight", (16, 15), "do not fit together"),
        (
            f"{BEIT}.encoder.layer.0.attention.attention.relative_position_bias.relative_position_bias_table",
            (50, 2),
            "50 rows",
        ),
        (
            f"{BEIT}.encoder.layer.1.attention.attention.relative_position_bias.relative_position_bias_table",
            (50, 2),
            "50",
        ),
        ("text_transformer.bert.embeddings.word_embeddings.weight", (40,), "expected 2 dimensions"),
        ("text_transformer.bert.embeddings.word_embeddings.weight", (40, 8), "width 16, a text tower of 8"),
    ],
)
@pytest.mark.parametrize("size", [None, 96])
def test_wrong_shapes_are_refused(
    name: str, shape: tuple[int, ...], message: str, size: int | None, tmp_path: Path, content: Content
) -> None:
    saved = content()
    saved["state_dict"][name] = torch.zeros(shape)
    with pytest.raises(BundleError, match=message) as caught:
        load_official(save(tmp_path / "a.ckpt", saved), image_size=size)
    assert len(str(caught.value).splitlines()) == 1


def test_weights_must_be_numbers_with_a_point(tmp_path: Path, content: Content) -> None:
    saved = content()
    saved["state_dict"]["image_transformer.layernorm.weight"] = torch.ones(16, dtype=torch.int64)
    with pytest.raises(BundleError, match="expected floating-point numbers"):
        load_official(save(tmp_path / "a.ckpt", saved))
