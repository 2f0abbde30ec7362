"""One export serves every batch size and text length; a model of 384 pixels exports and runs like one of 224."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from lexlip_export.backbone_graph import backbone_graph
from lexlip_export.further_graphs import merged_graph
from lexlip_export.head_graph import head_graph
from lexlip_export.random_bundle import random_model, sized_config
from lexlip_training import LexLIP, preset

#: One layer of a narrow BEiT: its position tables, layer scale and class token are those of the large one.
NARROW = {"embed_dim": 32, "depth": 1, "num_heads": 2}


@functools.cache
def narrow_base(image_size: int) -> LexLIP:
    config = preset("lexlip-base")
    image = config.image.model_copy(update={"backbone_options": NARROW})
    text = config.text.model_copy(update={"layers": 1, "heads": 2, "intermediate_size": 32})
    sizes = {"hidden_size": 32, "vocab_size": 300, "image": image, "text": text}
    return random_model(sized_config(config.model_copy(update=sizes), image_size), seed=1)


@pytest.mark.parametrize(("image_size", "tokens"), [(224, 197), (384, 577)])
def test_beit_at_both_sizes(session: Any, image_size: int, tokens: int) -> None:
    model = narrow_base(image_size)
    backbone = backbone_graph(model, "image")
    head = model.image_head
    lexicon_head = head_graph(head.weight.detach().numpy(), head.decoder_bias().detach().numpy(), 300, masked=False)
    run = session(merged_graph(backbone, lexicon_head).SerializeToString())
    hidden = session(backbone.SerializeToString())
    random = np.random.default_rng(0)
    for rows in (1, 3):
        pixels = random.uniform(-1, 1, (rows, 3, image_size, image_size)).astype(np.float32)
        assert hidden({"pixel_values": pixels})["hidden"].shape == (rows, tokens, 32)
        with torch.no_grad():
            expected = model.image_weights(torch.from_numpy(pixels)).numpy()
        found = run({"pixel_values": pixels})
        dense = np.zeros_like(expected)
        row, rank = np.nonzero(found["ids"] >= 0)
        dense[row, found["ids"][row, rank]] = found["weights"][row, rank]
        np.testing.assert_allclose(dense, expected, rtol=0, atol=1e-4)
        assert (expected > 0).any(axis=1).all()
    # The export switches it off, and on again.
    assert all(block.attn.fused_attn for block in model.image_tower.backbone.blocks)


@pytest.mark.parametrize("length", [2, 5, 40])
def test_texts_of_any_length(session: Any, text_backbone: Any, length: int) -> None:
    model, run = text_backbone
    ids = np.random.default_rng(length).integers(0, 300, (2, length))
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    with torch.no_grad():
        expected = model.text_hidden(*map(torch.from_numpy, feed.values())).numpy()
    np.testing.assert_allclose(run(feed)["hidden"], expected, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def text_backbone(session: Any) -> Any:
    model = narrow_base(224)
    return model, session(backbone_graph(model, "text").SerializeToString())
