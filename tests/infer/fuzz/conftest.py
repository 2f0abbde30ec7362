"""Fuzzing: a hundred examples a test by default, and thousands with `--hypothesis-profile=fuzz`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "fuzz", max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


class Hang(BaseException):
    """No `except Exception` on the way may take it for a damaged file."""


@contextmanager
def _limited(seconds: int = 10) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise Hang(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def limited() -> Any:
    """`with limited():` ends what hangs."""
    return _limited
