"""A new folder: whole or absent, whoever else is at work there."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexlip_infer.errors import OutputError
from lexlip_infer.files.new_folder import new_folder


def test_it_is_there_when_the_block_has_ended(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "out") as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "file").write_text("x")
        assert not (tmp_path / "a" / "out").exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["out"]
    assert (tmp_path / "a" / "out" / "deep" / "file").read_text() == "x"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "disk is full"), ValueError()])
def test_nothing_remains_of_a_block_that_failed(error: BaseException, tmp_path: Path) -> None:
    expected = OutputError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), new_folder(tmp_path / "out") as partial:  # noqa: PT012
        (partial / "file").write_text("x")
        raise error
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_has_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".out.partial" / "old").mkdir(parents=True)
    (tmp_path / ".out.partial" / "file").write_text("old")
    with new_folder(tmp_path / "out") as partial:
        assert not list(partial.iterdir())


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(OutputError, match="link: exists, and nothing is written over"), new_folder(tmp_path / "link"):
        pass
    with pytest.raises(OutputError, match="out: exists"), new_folder(tmp_path / "out"):
        (tmp_path / "out").mkdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "out"]


def test_two_at_a_time_are_refused(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as partial:
        (partial / "file").write_text("x")
        with pytest.raises(OutputError, match="another process is writing"), new_folder(tmp_path / "out"):
            pass
    assert (tmp_path / "out" / "file").read_text() == "x"
