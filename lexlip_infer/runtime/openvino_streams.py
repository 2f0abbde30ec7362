"""Rows of one batch in OpenVINO, in several streams at a time: each takes its part of the rows, with its own threads.

Threads that share the operators of one row wait for each other after every operator; streams wait once, at the end of
the batch. That pays where every stream has as many rows; a single row is faster in a model compiled for latency.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_STREAMS", "Streams"]

#: Each holds the activations of its part; more cores than these work within a stream.
MOST_STREAMS = 16


class Streams:
    """Requests to a compiled model that has as many streams.

    Args:
        compiled: `openvino.CompiledModel`, of one output.
        count: requests that run at the same time.
    """

    def __init__(self, compiled: Any, count: int) -> None:
        self._requests = [compiled.create_infer_request() for _ in range(count)]

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """The output of all rows, in their order.

        Args:
            inputs: by name, of a multiple of as many rows as there are streams.

        Raises:
            RuntimeError: what OpenVINO says where a part fails; the others have ended by then.
        """
        split = {name: np.split(rows, len(self._requests)) for name, rows in inputs.items()}
        parts = [dict(zip(split, part, strict=True)) for part in zip(*split.values(), strict=True)]
        with ExitStack() as running:  # whatever fails: no request goes on reading inputs that may be gone
            for request, part in zip(self._requests, parts, strict=True):
                request.start_async(part, share_inputs=True)
                running.callback(request.wait)
        return np.concatenate([request.get_output_tensor().data for request in self._requests])
