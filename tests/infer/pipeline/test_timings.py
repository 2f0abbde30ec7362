"""Sums of core-seconds and of waiting, by stage, over several runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lexlip_infer.pipeline.progress import STAGES, Clocks, Timings


class Hands:
    """Clocks that stand still until they are moved."""

    def __init__(self) -> None:
        self.wall = self.thread = self.process = 100.0
        self.clocks = Clocks(lambda: self.wall, lambda: self.thread, lambda: self.process)

    def work(self, seconds: float) -> None:
        """As a thread that is busy."""
        self.wall, self.thread, self.process = self.wall + seconds, self.thread + seconds, self.process + seconds

    def sleep(self, seconds: float) -> None:
        """As a thread that waits."""
        self.wall += seconds


@pytest.fixture
def hands() -> Hands:
    return Hands()


def test_work_and_waiting_are_told_apart(hands: Hands) -> None:
    timings = Timings(hands.clocks)
    with timings.working("write"):
        hands.work(2)
        hands.sleep(5)
    with timings.waiting("infer"):
        hands.sleep(3)
        hands.work(1)
    timings.add("decode", core=7.0, elsewhere=True)
    record = timings.record()
    stages = record.stages
    assert record.wall_seconds == 11
    assert list(stages) == list(STAGES)
    assert (stages["write"].core_seconds, stages["write"].waiting_seconds) == (2, 0)
    assert (stages["infer"].core_seconds, stages["infer"].waiting_seconds) == (0, 4)
    assert (stages["decode"].core_seconds, stages["decode"].share) == (7, 0.7)
    assert stages["other"].core_seconds == 1
    assert sum(stage.share for stage in stages.values()) == pytest.approx(1, abs=0.001)


def test_threads_of_others_count_as_other(hands: Hands) -> None:
    timings = Timings(hands.clocks)
    hands.process += 6
    assert timings.record().stages["other"].core_seconds == 6


def test_what_other_processes_use_is_not_ours(hands: Hands) -> None:
    timings = Timings(hands.clocks)
    timings.add("decode", core=50.0, elsewhere=True)
    assert timings.record().stages["other"].core_seconds == 0


def test_iterating_is_work(hands: Hands) -> None:
    def items() -> Iterator[int]:
        for number in range(3):
            hands.work(1)
            yield number

    timings = Timings(hands.clocks)
    for _ in timings.following("read", items()):
        hands.work(10)  # what is done with an item is not reading
    assert timings.record().stages["read"].core_seconds == 3


def test_an_error_counts_what_came_before_it(hands: Hands) -> None:
    timings = Timings(hands.clocks)
    with pytest.raises(KeyError), timings.working("read"):  # noqa: PT012
        hands.work(1)
        raise KeyError
    assert timings.record().stages["read"].core_seconds == 1


def test_the_clocks_are_the_systems() -> None:
    timings = Timings()
    with timings.working("infer"), timings.waiting("infer"):
        pass
    record = timings.record()
    assert record.wall_seconds >= 0
    assert all(stage.core_seconds >= 0 and stage.waiting_seconds >= 0 for stage in record.stages.values())


def test_earlier_runs_are_added() -> None:
    first = Timings()
    first.add("decode", core=1.5, waiting=2.5, elsewhere=True)
    before = first.record()
    second = Timings()
    second.add("decode", core=1.0, elsewhere=True)
    stage = second.record(before).stages["decode"]
    assert (stage.core_seconds, stage.waiting_seconds) == (2.5, 2.5)
    assert second.record(before).wall_seconds >= before.wall_seconds
