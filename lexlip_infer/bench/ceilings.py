"""What this machine can do at most: the fastest matrix product at hand in each number format, and a copy.

Measured with the libraries that run the models, not read off a data sheet, and before anything else. No stage can be
expected to beat them; how near it comes is the distance that is left to gain.
"""

from __future__ import annotations

import importlib.util
import io
import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from lexlip_infer.errors import require
from lexlip_infer.formats.ciff import bytes_field, integer_field

_WIDTH = 2048
_COPIED = 2**28
_REPEATS = 7

Product = Callable[[], object]


class Ceilings(BaseModel):
    """Of one device, with a number of threads.

    Attributes:
        device: "cpu" or "cuda:N".
        threads: of the CPU.
        gflop_per_s: 10^9 multiplications and additions a second, by number format; absent where nothing here has it.
        engine: which library that was, by number format.
        copy_gb_per_s: bytes copied a second, read and written counted, in 10^9.
    """

    model_config = ConfigDict(frozen=True)

    device: str
    threads: int
    gflop_per_s: dict[str, float]
    engine: dict[str, str]
    copy_gb_per_s: float


def measure_ceilings(device: str, threads: int, width: int = _WIDTH, copied: int = _COPIED) -> Ceilings:
    """Measure.

    Args:
        device: "cpu" or "cuda:N".
        threads: of the CPU.
        width: rows and columns of the square matrices.
        copied: bytes.

    Raises:
        MissingExtra: the device is a GPU and torch is not installed.
    """
    if device != "cpu":
        return _gpu_ceilings(device, threads, width, copied)
    best: dict[str, tuple[float, str]] = {}
    for engine, products in _engines(threads, width).items():
        for precision, product in products.items():
            rate = 2e-9 * width**3 / _seconds(product)
            best[precision] = max(best.get(precision, (0.0, "")), (rate, engine))
    rates = {precision: round(rate, 1) for precision, (rate, _) in best.items()}
    engines = {precision: engine for precision, (_, engine) in best.items()}
    copy = round(2e-9 * copied / _seconds(_copy(threads, copied)), 2)
    return Ceilings(device=device, threads=threads, gflop_per_s=rates, engine=engines, copy_gb_per_s=copy)


def _seconds(run: Product) -> float:
    """Fastest of several runs, after one that is not counted: whatever else runs here can only make it slower."""
    run()
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def _engines(threads: int, width: int) -> dict[str, dict[str, Product]]:
    random = np.random.default_rng(0)
    wide = random.standard_normal((width, width), np.float32)
    narrow = random.integers(-127, 128, (width, width), np.int8)
    graph = product_graph("MatMul", wide, "float32", "float32")
    small = product_graph("MatMulInteger", narrow, "uint8", "int32")
    products = {
        "onnxruntime": {
            "f32": _onnxruntime(graph, wide, np.float32, threads),
            "int8": _onnxruntime(small, narrow.view(np.uint8), np.int32, threads),
        }
    }
    if importlib.util.find_spec("openvino") is not None:
        products["openvino"] = _openvino(graph, wide, threads)
    return products


def _onnxruntime(graph: bytes, given: Any, result: Any, threads: int) -> Product:
    """Bound to memory that exists: pages of a new output would be counted as arithmetic."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    values = {"a": given, "c": np.zeros(given.shape, result)}
    held = {name: onnxruntime.OrtValue.ortvalue_from_numpy(value) for name, value in values.items()}
    binding.bind_ortvalue_input("a", held["a"])
    binding.bind_ortvalue_output("c", held["c"])

    def run() -> object:
        session.run_with_iobinding(binding)
        return held

    return run


def _openvino(graph: bytes, given: Any, threads: int) -> dict[str, Product]:
    """In bf16 too, where the CPU has it."""
    core = require("openvino", extra="openvino").Core()
    precisions = ["f32"]
    if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        precisions.append("bf16")
    model = core.read_model(io.BytesIO(graph))

    def product(precision: str) -> Product:
        settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        return lambda: request.infer([given], share_inputs=True, share_outputs=True)

    return {precision: product(precision) for precision in precisions}


def _copy(threads: int, copied: int) -> Product:
    """Each thread its part; numpy lets the others run meanwhile."""
    source, target = np.zeros(copied, np.uint8), np.ones(copied, np.uint8)
    edges = np.linspace(0, copied, threads + 1, dtype=np.int64)
    parts = [slice(start, stop) for start, stop in itertools.pairwise(edges)]
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(lambda part: np.copyto(target[part], source[part]), parts))


def _gpu_ceilings(device: str, threads: int, width: int, copied: int) -> Ceilings:
    torch = require("torch", extra="triton")
    width, copied = 4 * width, 8 * copied
    rates = {}
    for name, dtype in (("f32", torch.float32), ("fp16", torch.float16)):
        matrix = torch.randn(width, width, device=device, dtype=dtype)
        rates[name] = round(2e-9 * width**3 / _seconds(_awaited(torch, device, matrix.__matmul__, matrix)), 1)
    source = torch.zeros(copied, device=device, dtype=torch.uint8)
    copy = _seconds(_awaited(torch, device, torch.empty_like(source).copy_, source))
    return Ceilings(
        device=device,
        threads=threads,
        gflop_per_s=rates,
        engine=dict.fromkeys(rates, "torch"),
        copy_gb_per_s=round(2e-9 * copied / copy, 1),
    )


def _awaited(torch: Any, device: str, run: Callable[[Any], object], argument: Any) -> Product:
    def awaited() -> object:
        result = run(argument)
        torch.cuda.synchronize(device)
        return result

    return awaited


#: TensorProto.DataType.
_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "float16": 10}
_IR_VERSION, _OPSET = 10, 20


def product_graph(operator: str, weight: npt.NDArray[Any], given: str, result: str) -> bytes:
    """A model `a -> a @ weight`.

    Args:
        operator: "MatMul" or "MatMulInteger".
        weight: (N, N), part of the graph, as a model's weights are: the runtime may pack it beforehand.
        given: numpy's name of the type of `a` (N, N).
        result: of what comes out, `c` (N, N).
    """
    node = _strings(1, "a", "b") + _strings(2, "c") + _strings(4, operator)
    graph = (
        bytes_field(1, node)
        + _strings(2, "product")
        + bytes_field(5, _tensor("b", weight))
        + bytes_field(11, _value("a", given, weight.shape))
        + bytes_field(12, _value("c", result, weight.shape))
    )
    opset = integer_field(2, _OPSET)
    return integer_field(1, _IR_VERSION) + bytes_field(7, graph) + bytes_field(8, opset)


def _strings(field: int, *texts: str) -> bytes:
    return b"".join(bytes_field(field, text.encode()) for text in texts)


def _tensor(name: str, array: npt.NDArray[Any]) -> bytes:
    dims = b"".join(integer_field(1, length) for length in array.shape)
    data = np.ascontiguousarray(array).tobytes()
    return dims + integer_field(2, _TYPES[array.dtype.name]) + _strings(8, name) + bytes_field(9, data)


def _value(name: str, dtype: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(bytes_field(1, integer_field(1, length)) for length in shape)
    tensor = integer_field(1, _TYPES[dtype]) + bytes_field(2, dims)
    return _strings(1, name) + bytes_field(2, bytes_field(1, tensor))
