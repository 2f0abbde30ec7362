"""The pieces of a benchmark that can be right or wrong whatever the machine does."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from lexlip_infer.bench.ceilings import Ceilings, measure_ceilings, product_graph
from lexlip_infer.bench.inputs import open_inputs, write_images, write_texts
from lexlip_infer.bench.machine import listen, machine_info
from lexlip_infer.bench.report import compare_rounds, median_interval
from lexlip_infer.bench.settings import parse_numbers, settings_grid
from lexlip_infer.bench.stages import StageClock
from lexlip_infer.bench.work import backbone_operations, floor, operator_operations
from lexlip_infer.bundle import Bundle
from lexlip_infer.errors import InputError

CEILINGS = Ceilings(device="cpu", threads=1, gflop_per_s={"f32": 100.0}, engine={"f32": "x"}, copy_gb_per_s=10.0)


def test_nested_stages_count_every_moment_once() -> None:
    passed = [0]

    def work(seconds: int) -> None:
        passed[0] += seconds

    clock = StageClock(lambda: passed[0])
    with clock.stage("outer"):
        work(2)
        clock.around("inner", work)(3)
        work(1)
    work(5)  # outside of any stage
    with contextlib.suppress(ZeroDivisionError), clock.stage("inner"):
        work(10)
        _ = 1 // 0
    assert clock.seconds == {"outer": 3, "inner": 13}


def test_a_product_written_by_hand_multiplies() -> None:
    random = np.random.default_rng(0)
    weight = random.standard_normal((8, 8), np.float32)
    given = random.standard_normal((8, 8), np.float32)
    session = onnxruntime.InferenceSession(product_graph("MatMul", weight, "float32", "float32"))
    np.testing.assert_allclose(session.run(["c"], {"a": given})[0], given @ weight, rtol=1e-4, atol=1e-5)
    small = random.integers(-5, 5, (8, 8), np.int8)
    session = onnxruntime.InferenceSession(product_graph("MatMulInteger", small, "uint8", "int32"))
    expected = small.view(np.uint8).astype(np.int32) @ small.astype(np.int32)
    np.testing.assert_array_equal(session.run(["c"], {"a": small.view(np.uint8)})[0], expected)


def test_ceilings_name_every_format_of_the_base_install() -> None:
    ceilings = measure_ceilings("cpu", 1, width=64, copied=2**16)
    assert {"f32", "int8"} <= set(ceilings.gflop_per_s)
    assert set(ceilings.engine) == set(ceilings.gflop_per_s)
    assert min(*ceilings.gflop_per_s.values(), ceilings.copy_gb_per_s) > 0


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "expected"),
    [
        ("MatMul", [[2, 3, 4], [4, 5]], [[2, 3, 5]], 2 * 2 * 3 * 4 * 5),
        ("Gemm", [[4, 3], [4, 5]], [[3, 5]], 2 * 3 * 4 * 5),  # transposed
        ("Conv", [[1, 3, 8, 8], [16, 3, 3, 3], [16]], [[1, 16, 6, 6]], 2 * 16 * 36 * 27),
        ("Conv", [[1, 16, 8, 8], [16, 1, 3, 3]], [[1, 16, 6, 6]], 2 * 16 * 36 * 9),  # one group a channel
        ("Softmax", [[2, 3]], [[2, 3]], 0),
    ],
)
def test_operations_of_an_operator(name: str, inputs: list[list[int]], outputs: list[list[int]], expected: int) -> None:
    assert operator_operations(name, inputs, outputs) == expected


def test_operations_of_a_backbone_grow_with_its_batch(bundle_folder: Path) -> None:
    bundle = Bundle.open(bundle_folder)

    def count(rows: int, tokens: int) -> tuple[int, int]:
        ones = np.ones((rows, tokens), np.int64)
        return backbone_operations(bundle, "text", {"input_ids": ones, "attention_mask": ones})

    one, tokens = count(1, 8)
    assert one > 0
    assert tokens >= 8  # the term bonus may add rows
    # One layer of width 32 and inner width 64: 4 projections, 2 feed-forward products, 2 of attention, the transform.
    assert one == 2 * 8 * (4 * 32 * 32 + 2 * 32 * 64 + 2 * 8 * 32 + 32 * 32)
    assert count(3, 8)[0] == 3 * one


def test_a_floor_is_the_later_of_arithmetic_and_memory() -> None:
    arithmetic = floor(1e9, 1e6, "f32", CEILINGS)
    memory = floor(1e6, 1e9, "f32", CEILINGS)
    assert arithmetic is not None
    assert memory is not None
    assert (arithmetic.ms, arithmetic.bound) == (pytest.approx(10.0), "arithmetic, f32")
    assert (memory.ms, memory.bound) == (pytest.approx(100.0), "memory")
    assert floor(1e9, 1e6, "bf16", CEILINGS) is None


def test_a_difference_is_shown_only_where_there_is_one() -> None:
    random = np.random.default_rng(0)
    slow = [list(0.2 + 0.01 * random.random(20)) for _ in range(5)]
    fast = [list(0.1 + 0.01 * random.random(20)) for _ in range(5)]
    ratio, verdict = compare_rounds(slow, fast)
    assert verdict == "faster"
    assert 1.8 < ratio.low <= ratio.median <= ratio.high < 2.2
    assert compare_rounds(fast, slow)[1] == "slower"
    assert compare_rounds(slow, slow)[1] == "no difference shown"
    assert compare_rounds(slow[:2], fast[:2])[1] == "no difference shown"  # too few rounds to say


def test_rounds_that_differ_widen_the_interval() -> None:
    """Many batches of few processes are not many observations."""
    alike = median_interval([[1.0, 1.1, 1.2] * 30] * 5)
    unlike = median_interval([[level] * 90 for level in (1.0, 1.1, 1.2, 1.3, 1.4)])
    assert unlike.high - unlike.low > alike.high - alike.low


def test_settings_are_every_combination() -> None:
    settings = settings_grid(["image", "text"], "cpu", "f32,openvino:int8", [1, 2], [8])
    assert len(settings) == 8
    assert {(each.backend, each.precision) for each in settings} == {("auto", "f32"), ("openvino", "int8")}


@pytest.mark.parametrize("text", ["", "1,,2", "0", "1,1", "-3", "eight", "99999999"])
def test_numbers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_numbers(text, "--batch-sizes")


def test_a_precision_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="f16"):
        settings_grid(["image"], "cpu", "f16", [1], [1])


def test_inputs_come_again_where_they_are_few(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write_images(tmp_path / "images", 2)
    assert [item.id for item in open_inputs("image", tmp_path / "images", 5)] == [
        f"{number % 2:06d}.jpg" for number in range(5)
    ]
    write_texts(tmp_path / "texts.jsonl", ["a", "##b", "[PAD]", "dog"], 3, 4)
    (text,) = open_inputs("text", tmp_path / "texts.jsonl", 1)
    assert len(text.text.split()) == 4
    assert set(text.text.split()) <= {"a", "dog"}


def test_no_inputs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images"):
        open_inputs("image", tmp_path, 5)


def test_machine_and_noise_are_recorded() -> None:
    info = machine_info()
    assert info["cpu"]
    assert "numpy" in info["packages"]  # type: ignore[operator]
    assert listen(loops=3).spread >= 0


def test_a_busy_neighbour_is_heard() -> None:
    if not Path("/proc/stat").exists():
        pytest.skip("only Linux tells who uses the cores")
    loop = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    with subprocess.Popen(loop, stdout=subprocess.PIPE) as neighbour:
        assert neighbour.stdout is not None
        neighbour.stdout.readline()
        heard = listen()
        neighbour.kill()
    assert heard.cores_of_others is not None
    assert any("busy with other things" in warning for warning in heard.warnings)
