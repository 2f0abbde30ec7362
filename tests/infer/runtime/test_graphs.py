"""Graphs that lie whole in their file, and those that would read another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexlip_infer.bundle import Bundle
from lexlip_infer.errors import BundleError
from lexlip_infer.runtime import graphs
from lexlip_infer.runtime.choice import RuntimeOptions
from lexlip_infer.runtime.graphs import PATHS, external_tensors, read_graph
from lexlip_infer.runtime.opening import open_tower

onnx = pytest.importorskip("onnx", reason="needs onnx (extra 'export')")


def tensor(name: str = "secret", external: bool = True) -> Any:
    made = onnx.numpy_helper.from_array(np.arange(4, dtype=np.float32), name)
    if external:
        onnx.external_data_helper.set_external_data(made, "other.bin")
        made.ClearField("raw_data")
    return made


def with_initializer(model: Any) -> None:
    model.graph.initializer.append(tensor())


def with_attribute(model: Any) -> None:
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["a"], value=tensor()))


def with_branch(model: Any) -> None:
    branch = onnx.helper.make_graph([], "branch", [], [], [tensor()])
    model.graph.node.append(onnx.helper.make_node("If", ["a"], ["b"], then_branch=branch, else_branch=branch))


def with_function(model: Any) -> None:
    node = onnx.helper.make_node("Constant", [], ["a"], value=tensor())
    model.functions.append(onnx.helper.make_function("own", "f", [], ["a"], [node], model.opset_import))


def with_sparse(model: Any) -> None:
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(tensor(), tensor("at", False), [9]))


@pytest.fixture
def model(bundle: Bundle) -> Any:
    return onnx.load_from_string(bundle.read("onnx/text_head.onnx"))


def test_every_way_to_a_tensor_is_walked() -> None:
    """By the field numbers of the package that defines the format."""
    found: dict[str, dict[int, str]] = {}

    def leads(message: Any, above: tuple[str, ...] = ()) -> bool:
        inner = [field.message_type for field in message.fields if field.message_type is not None]
        is_new = message.name not in above
        return message.name == "TensorProto" or (is_new and any(leads(m, (*above, message.name)) for m in inner))

    waiting = [onnx.ModelProto.DESCRIPTOR]
    while waiting:
        message = waiting.pop()
        if message.name not in {*found, "TensorProto"}:
            inner = [field for field in message.fields if field.message_type is not None and leads(field.message_type)]
            found[message.name] = {field.number: field.message_type.name for field in inner}
            waiting += [field.message_type for field in inner]
    assert found == PATHS
    numbers = onnx.TensorProto.DESCRIPTOR.fields_by_name
    names = ("data_location", "external_data", "name")
    assert [numbers[name].number for name in names] == [
        graphs.DATA_LOCATION,
        graphs.EXTERNAL_DATA,
        graphs.TENSOR_NAME,
    ]


@pytest.mark.parametrize("change", [with_initializer, with_attribute, with_branch, with_function, with_sparse])
def test_numbers_in_another_file(change: Callable[[Any], None], model: Any) -> None:
    assert external_tensors(model.SerializeToString()) == {}
    change(model)
    file = "other.bin" if change is with_initializer else ""  # ONNX Runtime takes bytes for plain initialisers alone
    assert external_tensors(model.SerializeToString()) == {file: "secret"}


def test_a_file_of_the_current_directory_is_not_read(
    model: Any,
    with_files: Callable[[dict[str, bytes]], Bundle],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "other.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    with_initializer(model)
    strange = with_files({"onnx/text_head.onnx": model.SerializeToString()})
    with pytest.raises(BundleError, match=r"text_head\.onnx: its tensor 'secret' has its numbers in another file"):
        open_tower(strange, "text", RuntimeOptions("cpu", head="onnx"))


def shared(model: Any, location: str, offset: int) -> bytes:
    """A graph that has its first large initialiser in another file."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    largest = max(changed.graph.initializer, key=lambda each: len(each.raw_data))
    onnx.external_data_helper.set_external_data(largest, location, offset=offset, length=len(largest.raw_data))
    largest.ClearField("raw_data")
    return changed.SerializeToString()


def test_weights_in_another_graph_of_the_bundle(
    model: Any, bundle: Bundle, inputs: Any, with_files: Callable[[dict[str, bytes]], Bundle]
) -> None:
    whole = model.SerializeToString()
    offset = whole.index(max((each.raw_data for each in model.graph.initializer), key=len))
    sharing = with_files({"onnx/text_head.onnx": shared(model, "whole.onnx", offset), "onnx/whole.onnx": whole})
    options = RuntimeOptions("cpu", head="onnx")
    vectors, expected = (open_tower(each, "text", options)(inputs["text"], 8) for each in (sharing, bundle))
    assert vectors.to_dense().tolist() == expected.to_dense().tolist()
    with pytest.raises(BundleError, match="expected a graph that holds them all"):
        read_graph(sharing, "onnx/text_head.onnx")


@pytest.mark.parametrize("location", ["../onnx/whole.onnx", "/etc/hostname", "heads.safetensors", "absent.onnx", ""])
def test_weights_anywhere_else(location: str, model: Any, with_files: Callable[[dict[str, bytes]], Bundle]) -> None:
    files = {"onnx/text_head.onnx": shared(model, location, 0), "onnx/whole.onnx": model.SerializeToString()}
    with pytest.raises(BundleError, match="expected them in the graph, or in another graph of the bundle"):
        open_tower(with_files(files), "text", RuntimeOptions("cpu", head="onnx"))


def test_weights_beyond_the_other_graphs_end(model: Any, with_files: Callable[[dict[str, bytes]], Bundle]) -> None:
    whole = model.SerializeToString()
    files = {"onnx/text_head.onnx": shared(model, "whole.onnx", len(whole) - 8), "onnx/whole.onnx": whole}
    with pytest.raises(BundleError, match="cannot load it"):
        open_tower(with_files(files), "text", RuntimeOptions("cpu", head="onnx"))


def test_two_files_for_one_tensor(model: Any) -> None:
    graph = onnx.load_from_string(shared(model, "whole.onnx", 0))
    tensor = next(each for each in graph.graph.initializer if each.external_data)
    tensor.external_data.add(key="location", value="other.onnx")
    assert list(external_tensors(graph.SerializeToString())) == [""]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"junk", "breaks off"),
        (b"\x0b", "is of the kind 3"),
        (b"\x3a\x7fabc", "breaks off"),
        (b"\x3a", "breaks off"),
        (b"\xff" * 11, "longer than 64 bits"),
        (b"\xf8\xff\xff\xff\xff\x0f\x00", "no field can have the number"),
    ],
)
def test_what_is_no_model(data: bytes, said: str, with_files: Callable[[dict[str, bytes]], Bundle]) -> None:
    with pytest.raises(BundleError, match=rf"text_head\.onnx: cannot be loaded, it is no ONNX model: .*{said}"):
        read_graph(with_files({"onnx/text_head.onnx": data}), "onnx/text_head.onnx")


def test_fields_and_depth_are_bounded(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = model.SerializeToString()
    deep = b""
    for tag in (*(b"\x2a", b"\x0a", b"\x32") * 40, b"\x2a", b"\x0a", b"\x3a"):  # attribute, node, graph, and so on
        size = len(deep)
        deep = tag + bytes([size & 0x7F | 0x80, size >> 7]) + deep
    with pytest.raises(ValueError, match="more than 100 deep"):
        external_tensors(deep)
    monkeypatch.setattr(graphs, "MOST_FIELDS", 10)
    with pytest.raises(ValueError, match="more than 10 fields"):
        external_tensors(data)


def test_the_runtimes_own_format_is_refused(
    bundle: Bundle, with_files: Callable[[dict[str, bytes]], Bundle], tmp_path: Path
) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "head.ort")
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(bundle.read("onnx/text_head.onnx"), options)
    data = (tmp_path / "head.ort").read_bytes()
    assert data[4:8] == b"ORTM"
    with pytest.raises(BundleError, match=r"text_head\.onnx: .*cannot"):
        open_tower(with_files({"onnx/text_head.onnx": data}), "text", RuntimeOptions("cpu", head="onnx"))
