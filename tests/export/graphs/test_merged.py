"""The merged graph gives what backbone and head give one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

Both = pytest.mark.parametrize("modality", ["image", "text"])


@pytest.fixture(scope="module")
def merged(graphs_folder: Path, session: Any) -> dict[str, Any]:
    return {name: session((graphs_folder / f"onnx/{name}_merged.onnx").read_bytes()) for name in ("image", "text")}


@pytest.fixture(scope="module")
def separate(graphs_folder: Path, session: Any) -> Any:
    parts = {
        f"{name}_{part}": session((graphs_folder / f"onnx/{name}_{part}.onnx").read_bytes())
        for name in ("image", "text")
        for part in ("backbone", "head")
    }

    def run(modality: str, inputs: Any, **more: Any) -> Any:
        mask = {name: inputs[name] for name in ("attention_mask",) if name in inputs}
        return parts[f"{modality}_head"](parts[f"{modality}_backbone"](inputs) | mask | more)

    return run


@Both
@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("k", [None, 1, 7, 10_000])
def test_equals_backbone_and_head(merged: Any, separate: Any, inputs: Any, modality: str, rows: int, k: Any) -> None:
    feed = {name: array[:rows] for name, array in inputs[modality].items()}
    more = {} if k is None else {"k": np.array([k])}
    actual, expected = merged[modality](feed | more), separate(modality, feed, **more)
    assert actual.keys() == expected.keys() == {"ids", "weights"}
    np.testing.assert_array_equal(actual["ids"], expected["ids"])
    np.testing.assert_allclose(actual["weights"], expected["weights"], rtol=0, atol=1e-6)
    assert (actual["ids"] >= 0).sum() > 0


@Both
def test_the_default_k_is_the_manifests(merged: Any, inputs: Any, modality: str) -> None:
    assert merged[modality](inputs[modality])["ids"].shape == (3, {"image": 24, "text": 8}[modality])


def test_masked_tokens_do_not_matter(merged: Any, inputs: Any) -> None:
    feed = inputs["text"]
    other = feed["input_ids"] + 17 * (1 - feed["attention_mask"])
    expected, actual = merged["text"](feed), merged["text"](feed | {"input_ids": other})
    np.testing.assert_array_equal(actual["ids"], expected["ids"])
    np.testing.assert_allclose(actual["weights"], expected["weights"], rtol=0, atol=1e-6)
    unmasked = merged["text"](feed | {"attention_mask": np.ones_like(other)})
    assert not np.array_equal(unmasked["ids"], expected["ids"])


def test_parts_that_use_the_same_names_do_not_clash() -> None:
    """A backbone's own values may be called like the head's, `k` or `top` or `weights`."""
    from lexlip_export.further_graphs import merged_graph
    from lexlip_export.graph_builder import GraphBuilder
    from lexlip_export.head_graph import head_graph

    backbone = GraphBuilder()
    backbone.input("pixel_values", "float32", ["batch", 5, 4])
    backbone.constant("k", np.ones(4, np.float32))
    backbone.node("Add", ["pixel_values", "k"], "weights")
    backbone.node("Relu", ["weights"], "hidden")
    backbone.output("hidden", "float32", ["batch", 5, 4])
    head = head_graph(np.ones((6, 4), np.float32), np.zeros(6, np.float32), 2, masked=False)
    graph = merged_graph(backbone.model("backbone"), head).graph
    assert [value.name for value in graph.input] == ["pixel_values", "k"]
    assert [tensor.dims for tensor in graph.initializer if tensor.name == "k"] == [[1]]


def test_it_is_of_the_format(graphs_folder: Path) -> None:
    for modality in ("image", "text"):
        model = onnx.load(graphs_folder / f"onnx/{modality}_merged.onnx")
        onnx.checker.check_model(model, full_check=True)
        assert (model.ir_version, [(entry.domain, entry.version) for entry in model.opset_import]) == (10, [("", 20)])
