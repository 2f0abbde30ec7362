"""Sums of core-seconds and of waiting, by stage, over several runs."""

from __future__ import annotations

import threading
import time

import pytest

from lexlip_infer.pipeline.timings import STAGES, Timings


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_work_and_waiting_are_told_apart() -> None:
    timings = Timings()
    with timings.working("write"):
        spin(0.02)
        time.sleep(0.05)
    with timings.waiting("infer"):
        time.sleep(0.05)
    timings.add("decode", core=5.0, elsewhere=True)
    stages = timings.record().stages
    assert list(stages) == list(STAGES)
    assert 0.02 <= stages["write"].core_seconds < 0.05
    assert stages["infer"].waiting_seconds >= 0.05
    assert stages["infer"].core_seconds == 0
    assert stages["decode"].share > 0.9
    assert sum(stage.share for stage in stages.values()) == pytest.approx(1, abs=0.001)


def test_threads_of_others_count_as_other() -> None:
    timings = Timings()
    thread = threading.Thread(target=spin, args=(0.05,))
    thread.start()
    thread.join()
    assert timings.record().stages["other"].core_seconds >= 0.05


def test_iterating_is_work() -> None:
    def items() -> object:
        for number in range(3):
            spin(0.01)
            yield number

    timings = Timings()
    assert list(timings.following("read", items())) == [0, 1, 2]  # type: ignore[arg-type]
    assert timings.record().stages["read"].core_seconds >= 0.03


def test_earlier_runs_are_added() -> None:
    first = Timings()
    first.add("decode", core=1.5, waiting=2.5, elsewhere=True)
    before = first.record()
    second = Timings()
    second.add("decode", core=1.0, elsewhere=True)
    stage = second.record(before).stages["decode"]
    assert (stage.core_seconds, stage.waiting_seconds) == (2.5, 2.5)
    assert second.record(before).wall_seconds >= before.wall_seconds
