"""Commands as processes of their own: signals, exit statuses and closed pipes. Each costs a second, so they are few."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

#: A test run in the background may have been started with interrupts ignored, and would hand that down.
ENTRY = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from lexlip_infer.cli.{module} import run
run()
"""

Spawn = Callable[[Path], "subprocess.Popen[str]"]


def start(module: str, *arguments: object, group: bool = False) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ENTRY.format(module=module), *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0 if group else None
    )


@pytest.fixture
def encode(bundle_folder: Path, photographs: Path, tmp_path: Path) -> Spawn:
    """Start to encode 80 images into a folder, one of them damaged, a shard each."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(80):
        shutil.copy(photographs / "b.png", folder / f"{number:03d}.png")
    (folder / "007.png").write_bytes(b"damaged")

    def spawn(output: Path) -> subprocess.Popen[str]:
        return start(
            "encode", "--images", folder, "--output", output, "--model", bundle_folder, "--items-per-shard", 1,
            "--threads", 1,
        )  # fmt: skip

    return spawn


def until(done: Callable[[], bool], otherwise: str) -> None:
    """Look again and again, as often as a hung process takes to be believed in."""
    for _ in range(20_000):
        if done():
            return
        time.sleep(0.005)
    pytest.fail(otherwise)


def wait_for_the_end(process: subprocess.Popen[str]) -> None:
    """Of a run and all its workers."""
    until(lambda: not group_of(process), "workers are left behind")


def wait_for_shards(output: Path, count: int) -> None:
    until(lambda: output.is_dir() and len(list(output.glob("vectors/*"))) >= count, "no shard appeared")


def results(output: Path) -> dict[str, Any]:
    """Every byte but the timings, which are never the same."""
    assert sorted(path.name for path in output.iterdir()) == ["failures.jsonl", "manifest.json", "vectors"]
    files = [*output.glob("vectors/*"), output / "failures.jsonl"]
    manifest = json.loads((output / "manifest.json").read_bytes())
    return {path.name: path.read_bytes() for path in files} | {"manifest.json": manifest | {"timings": None}}


def test_killed_twice_and_interrupted(encode: Spawn, tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole")
    assert whole.communicate()[0] == ""
    assert whole.returncode == 3

    output = tmp_path / "stopped"
    chance = random.Random(0)
    for attempt, ending in enumerate([signal.SIGKILL, signal.SIGKILL, signal.SIGINT]):
        there = len(list(output.glob("vectors/*")))
        process = encode(output)
        wait_for_shards(output, max(1 + 20 * attempt, there + 1))  # a new one: it is at work, not still starting
        time.sleep(chance.random() * 0.02)
        process.send_signal(ending)
        stderr = process.communicate()[1]
    assert process.returncode == 130
    assert stderr == f"interrupted; the same command continues {output} where it stopped\n"
    assert not json.loads((output / "manifest.json").read_bytes())["complete"]

    last = encode(output)
    last.communicate()
    assert last.returncode == 3
    assert results(output) == results(tmp_path / "whole")


def test_a_closed_pipe(bundle_folder: Path, encoded: Path, photographs: Path) -> None:
    for options in ([], ["--json"]):
        process = start("main", "search", encoded, "--image", photographs / "a.jpg", *options)
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.wait()
        process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("options", [["--help"], ["search", "OUT", "a dog", "--json"]])
def test_a_full_disk_behind_the_output(options: list[str], encoded: Path) -> None:
    arguments = [str(encoded) if option == "OUT" else option for option in options]
    command = [sys.executable, "-c", ENTRY.format(module="main"), *arguments]
    with open("/dev/full", "w") as full:  # noqa: PTH123  (no path of ours)
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "lexlip: the output cannot be written (No space left on device)\n"


def test_two_processes_into_one_folder(encode: Spawn, tmp_path: Path) -> None:
    first = encode(tmp_path / "out")
    wait_for_shards(tmp_path / "out", 1)
    first.send_signal(signal.SIGSTOP)
    try:
        second = encode(tmp_path / "out")
        stderr = second.communicate()[1]
    finally:
        first.send_signal(signal.SIGCONT)
    assert second.returncode == 2
    assert stderr.startswith(f"lexlip-encode: another lexlip-encode is writing into {tmp_path / 'out'};")
    first.communicate()
    assert first.returncode == 3


def test_refused_without_a_traceback(tmp_path: Path) -> None:
    process = start("main", "inspect", tmp_path / "none")
    stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (2, "")
    assert stderr == (f"lexlip: {tmp_path / 'none'}: not the output of lexlip-encode (No such file or directory)\n")


@pytest.fixture
def with_workers(bundle_folder: Path, photographs: Path, tmp_path: Path) -> Spawn:
    """Start to encode 1,000 small images with two decode workers; in a group of its own, as a terminal has it."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(1000):
        (folder / f"{number:04d}.png").hardlink_to(photographs / "b.png")

    def spawn(output: Path) -> subprocess.Popen[str]:
        return start(
            "encode", "--images", folder, "--output", output, "--model", bundle_folder, "--items-per-shard", 100,
            "--threads", 2, group=True,
        )  # fmt: skip

    return spawn


def group_of(process: subprocess.Popen[str]) -> list[int]:
    """Living processes of its group, itself excluded."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = stat.read_text().split(" ", 1)
        except OSError:
            continue
        state, _parent, group = rest.rsplit(") ", 1)[1].split()[:3]
        if int(group) == process.pid and state != "Z" and int(pid) != process.pid:
            found.append(int(pid))
    return found


@pytest.mark.parametrize("interrupts", [1, 2])
def test_ctrl_c_goes_to_all_and_leaves_nobody(interrupts: int, with_workers: Spawn, tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = with_workers(output)
    wait_for_shards(output, 1)
    assert len(group_of(process)) == 2
    for _ in range(interrupts):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.01)
    stderr = process.communicate()[1]
    # Where the second one comes so late that Python has ended already, the system ends the process.
    assert process.returncode in ((130,) if interrupts == 1 else (130, -signal.SIGINT))
    said = f"interrupted; the same command continues {output} where it stopped\n"
    assert stderr == said if interrupts == 1 else stderr in ("", said)
    wait_for_the_end(process)
    assert not json.loads((output / "manifest.json").read_bytes())["complete"]


def test_killed_with_workers(with_workers: Spawn, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for shards in (1, 4):
        process = with_workers(output)
        wait_for_shards(output, shards)
        process.kill()
        process.communicate()
        wait_for_the_end(process)
    last = with_workers(output)
    assert last.communicate()[1].startswith("1,000 images in 10 part files")
    ids = [
        json.loads(line)["id"] for part in sorted(output.glob("vectors/*")) for line in part.read_text().splitlines()
    ]
    assert ids == [f"{number:04d}.png" for number in range(1000)]


def test_a_closed_pipe_behind_standard_output(bundle_folder: Path, photographs: Path) -> None:
    process = start("encode", "--images", photographs, "--output", "-", "--model", bundle_folder)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait() == 1
    process.stderr.close()
