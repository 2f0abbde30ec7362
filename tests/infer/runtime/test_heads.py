"""Native head and ONNX head on the same hidden states: the same terms, weights within rounding."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from lexlip_infer.bundle import Bundle, Modality
from lexlip_infer.errors import BundleError
from lexlip_infer.runtime.choice import RuntimeOptions
from lexlip_infer.runtime.head_weights import HEADS, read_decoder
from lexlip_infer.runtime.opening import open_tower
from lexlip_infer.runtime.tower import Tower
from lexlip_kernels import available_backends

native = pytest.mark.skipif("native" not in available_backends(), reason="the compiled module does not load")


def tower(bundle: Bundle, modality: Modality, **options: Any) -> Tower:
    return open_tower(bundle, modality, RuntimeOptions("cpu", threads=1, **options))


@native
@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.parametrize("top_k", [1, 24, 150, 1000])
def test_native_and_onnx_agree(modality: Modality, top_k: int, bundle: Bundle, inputs: Any) -> None:
    ours, theirs = (tower(bundle, modality, head=head)(inputs[modality], top_k) for head in ("native", "onnx"))
    ours.validate()
    np.testing.assert_array_equal(ours.indptr, theirs.indptr)
    np.testing.assert_array_equal(ours.indices, theirs.indices)
    np.testing.assert_allclose(ours.values, theirs.values, atol=1e-6)
    assert np.diff(ours.indptr).max() == min(
        top_k, np.diff(tower(bundle, modality)(inputs[modality], 150).indptr).max()
    )


@pytest.mark.parametrize("head", [pytest.param("native", marks=native), "onnx"])
@pytest.mark.parametrize("modality", ["image", "text"])
def test_an_empty_batch(modality: Modality, head: str, bundle: Bundle, inputs: Any) -> None:
    nothing = {name: value[:0] for name, value in inputs[modality].items()}
    found = tower(bundle, modality, head=head)(nothing, 8)
    assert (len(found), found.nnz, found.vocab_size) == (0, 0, 150)


@pytest.mark.parametrize("head", [pytest.param("native", marks=native), "onnx"])
def test_padding_takes_no_part(head: str, bundle: Bundle, inputs: Any) -> None:
    text = tower(bundle, "text", head=head)
    together = text(inputs["text"], 150)
    for row in range(len(together)):
        length = int(inputs["text"]["attention_mask"][row].sum())
        alone = text({name: value[row : row + 1, :length] for name, value in inputs["text"].items()}, 150)
        np.testing.assert_allclose(together[[row]].to_dense(), alone.to_dense(), atol=1e-5)


@pytest.mark.parametrize("memory_arena", [True, False])
def test_the_arena_changes_nothing(memory_arena: bool, bundle: Bundle, inputs: Any) -> None:
    found = tower(bundle, "image", memory_arena=memory_arena)(inputs["image"], 24)
    expected = tower(bundle, "image")(inputs["image"], 24)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.values, expected.values)


def test_a_decoder_stored_in_half_precision_is_widened(
    bundle: Bundle, with_files: Callable[[dict[str, bytes]], Bundle]
) -> None:
    arrays = {
        name: array.astype(np.float16) if name.endswith("weight") else array
        for name, array in load(bundle.read(HEADS)).items()
    }
    weight, bias = read_decoder(with_files({HEADS: save(arrays)}), "text")
    assert weight.dtype == bias.dtype == np.float32
    assert weight.flags.c_contiguous
    np.testing.assert_array_equal(weight, arrays["text.weight"].astype(np.float32))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image.weight": np.zeros((149, 32), np.float32)}, r"image.weight is (149, 32) F32; expected (150, 32)"),
        ({"image.weight": np.zeros((150, 32), np.int8)}, "image.weight is (150, 32) I8; expected (150, 32) F32"),
        ({"image.bias": None}, "image.bias is missing; expected (150,)"),
    ],
)
def test_a_decoder_that_does_not_fit(
    change: dict[str, Any], said: str, bundle: Bundle, with_files: Callable[[dict[str, bytes]], Bundle]
) -> None:
    arrays = {**load(bundle.read(HEADS)), **change}
    changed = with_files({HEADS: save({name: array for name, array in arrays.items() if array is not None})})
    with pytest.raises(BundleError) as raised:
        read_decoder(changed, "image")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def stored(dtype: str, arrays: dict[str, Any]) -> bytes:
    """A safetensors file of a type that numpy lacks."""
    header, end = {}, 0
    for name, array in arrays.items():
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [end, end := end + array.nbytes]}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in arrays.values())


def test_a_decoder_in_bfloat16_is_widened(bundle: Bundle, with_files: Callable[[dict[str, bytes]], Bundle]) -> None:
    weight, bias = read_decoder(bundle, "text")
    halves = {"text.weight": weight.view(np.uint32) >> 16, "text.bias": bias.view(np.uint32) >> 16}
    data = stored("BF16", {name: array.astype("<u2") for name, array in halves.items()})
    found = read_decoder(with_files({HEADS: data}), "text")
    for ours, half in zip(found, halves.values(), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours.view(np.uint32), half << 16)


def test_types_that_no_decoder_is_stored_in(with_files: Callable[[dict[str, bytes]], Bundle]) -> None:
    data = stored("F8_E4M3", {"text.weight": np.zeros((150, 32), np.uint8)})
    with pytest.raises(BundleError, match=r"text.weight is \(150, 32\) F8_E4M3; expected \(150, 32\) F32, F16, BF16"):
        read_decoder(with_files({HEADS: data}), "text")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_decoder_that_holds_no_numbers(
    value: float, bundle: Bundle, with_files: Callable[[dict[str, bytes]], Bundle]
) -> None:
    arrays = {name: array.copy() for name, array in load(bundle.read(HEADS)).items()}
    arrays["text.weight"][3, 4] = value
    changed = with_files({HEADS: save(arrays)})
    read_decoder(changed, "image")
    with pytest.raises(BundleError, match=r"heads\.safetensors: text\.weight holds NaN or infinity"):
        read_decoder(changed, "text")


def test_a_decoder_file_that_is_none(with_files: Callable[[dict[str, bytes]], Bundle]) -> None:
    with pytest.raises(BundleError, match="not a safetensors file"):
        read_decoder(with_files({HEADS: b"\x00" * 40}), "image")
