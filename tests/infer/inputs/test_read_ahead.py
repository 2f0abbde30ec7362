"""The window between reading and writing: bounded, and in order."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from lexlip_infer.inputs.items import TextItem
from lexlip_infer.inputs.read_ahead import MOST_TOGETHER, MOST_UNDER_WAY, gather, in_order


def test_order_and_bound() -> None:
    chance = random.Random(0)
    delays = [chance.random() / 100 for _ in range(60)]
    started = finished = 0
    window = []

    def steps() -> Iterator[int]:
        nonlocal started
        for number in range(60):
            started += 1
            window.append(started - finished)
            yield number

    def work(number: int) -> int:
        time.sleep(delays[number])
        return number * number

    with ThreadPoolExecutor(4) as threads:
        for step, result in in_order(steps(), lambda n: threads.submit(work, n), 5, contextlib.nullcontext):
            assert (step, result) == (finished, finished * finished)
            finished += 1
    assert finished == 60
    assert max(window) == 5


def test_an_error_comes_in_its_turn() -> None:
    def start(number: int) -> Future[int]:
        future: Future[int] = Future()
        if number == 2:
            future.set_exception(ZeroDivisionError())
        else:
            future.set_result(number)
        return future

    results = in_order(range(5), start, 4, contextlib.nullcontext)
    assert [next(results), next(results)] == [(0, 0), (1, 1)]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_large_items_come_in_smaller_lists() -> None:
    long = "x" * (MOST_TOGETHER // 2)
    items = iter([TextItem(str(number), "", long if number in (2, 3, 4) else "x") for number in range(10)])
    lists = [[item.id for item in gather(items, 4)] for _ in range(4)]
    assert lists == [["0", "1", "2", "3"], ["4", "5", "6", "7"], ["8", "9"], []]


def test_of_large_steps_few_are_under_way() -> None:
    read: list[int] = []
    sizes = [1, 1, MOST_UNDER_WAY, 1, 1]

    def start(step: int) -> Future[int]:
        read.append(step)
        future: Future[int] = Future()
        future.set_result(step)
        return future

    results = in_order(range(5), start, 4, held=sizes.__getitem__)
    assert next(results) == (0, 0)
    assert read == [0, 1, 2]
    assert [next(results)[0], next(results)[0], read] == [1, 2, [0, 1, 2]]
    assert [step for step, _ in results] == [3, 4]
