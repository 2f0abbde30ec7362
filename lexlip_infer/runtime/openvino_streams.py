"""Rows of one batch in OpenVINO, in several streams at a time: each takes its part of the rows, with its own threads.

Threads that share the operators of one row wait for each other after every operator; streams wait once, at the end of
the batch. A single row has nothing to share out: it is faster in a model compiled for latency.
"""

from __future__ import annotations

import itertools
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
            inputs: by name, of as many rows as there are streams, at least.

        Raises:
            RuntimeError: what OpenVINO says where a part fails; the others have ended by then.
        """
        rows = len(next(iter(inputs.values())))
        edges = np.linspace(0, rows, len(self._requests) + 1, dtype=np.int64)
        parts = [
            {name: rows_[start:stop] for name, rows_ in inputs.items()} for start, stop in itertools.pairwise(edges)
        ]
        with ExitStack() as running:  # whatever fails: no request goes on reading inputs that may be gone
            for request, part in zip(self._requests, parts, strict=True):
                request.start_async(part, share_inputs=True)
                running.callback(request.wait)
        return np.concatenate([request.get_output_tensor().data for request in self._requests])
