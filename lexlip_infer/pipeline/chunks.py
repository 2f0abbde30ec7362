"""What travels between the machines of a run: some steps of a part on the way out, their lines on the way back.

A chunk is large enough that sending it costs nothing beside encoding it, and small enough for memory: a part, or so
much of one as its limits allow. Units are cut as for a run on one machine, and so give the same bytes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from lexlip_infer.collection.manifest import StageTimings
from lexlip_infer.collection.part_file import Lines
from lexlip_infer.collection.parts import AnyItem, PartEnd, Unit
from lexlip_infer.errors import LexLIPError
from lexlip_infer.inputs.frames import Frame
from lexlip_infer.inputs.items import ImageItem

__all__ = ["Changed", "Chunk", "EncodedChunk", "Ended", "Message", "Stopped", "chunks"]

#: Inputs of a chunk, and bytes of the sources that travel with them.
_MOST_INPUTS, _MOST_BYTES = 1024, 2**26


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive steps of one part.

    Attributes:
        steps: units, and the part's end if it comes here.
        core_seconds: that reading them took.
    """

    steps: list[Unit | PartEnd]
    core_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class EncodedChunk:
    """The same steps, encoded.

    Attributes:
        steps: the lines of each unit with the number of its inputs; ends of parts as they came.
        used: by stage, what it took.
    """

    steps: list[tuple[Lines, int] | PartEnd]
    used: dict[str, StageTimings]


@dataclass(frozen=True, slots=True)
class Ended:
    """All is read; `passed_over` is the reader's."""

    passed_over: str


@dataclass(frozen=True, slots=True)
class Changed:
    """The collection is not the one that the output was begun with; see `parts.cut`."""

    where: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run cannot go on. The error is a value: raised on another machine, it would come back in layers of Ray's."""

    error: LexLIPError


Message: TypeAlias = Chunk | EncodedChunk | Ended | Changed | Stopped


def chunks(steps: Iterable[Unit | PartEnd]) -> Iterator[Chunk]:
    """Steps put together, with absolute paths: whoever decodes may stand in another folder."""
    started = time.thread_time()
    gathered: list[Unit | PartEnd] = []
    inputs = size = 0
    for step in steps:
        if isinstance(step, Unit):
            gathered.append(Unit([_absolute(item) for item in step.items]))
            inputs, size = inputs + len(step.items), size + sum(map(_bytes, step.items))
        else:
            gathered.append(step)
        if isinstance(step, PartEnd) or inputs >= _MOST_INPUTS or size >= _MOST_BYTES:
            yield Chunk(gathered, time.thread_time() - started)
            gathered, inputs, size = [], 0, 0
            started = time.thread_time()
    assert not gathered, "the last step is the end of a part"


def _absolute(item: AnyItem) -> AnyItem:
    if not isinstance(item, ImageItem):
        return item
    source = item.source
    if isinstance(source, Path):
        return replace(item, source=Path(os.path.abspath(source)))  # noqa: PTH100  (resolve() would follow links)
    if isinstance(source, Frame) and isinstance(source.source, Path):
        path = Path(os.path.abspath(source.source))  # noqa: PTH100
        return replace(item, source=replace(source, source=path))
    return item


def _bytes(item: AnyItem) -> int:
    source = getattr(item, "source", b"")
    data = source.source if isinstance(source, Frame) else source
    return len(data) if isinstance(data, bytes) else 0
