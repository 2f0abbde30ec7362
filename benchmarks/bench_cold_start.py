r"""How much time a command takes from its start to its end, in two builds side by side.

    python benchmarks/bench_cold_start.py --before OLD/.venv --after NEW/.venv -- search IDX "a dog"
    python benchmarks/bench_cold_start.py --before OLD/.venv --after NEW/.venv -- lexlip-encode --images DIR \
        --output {new}

{new} stands for a path that does not exist yet, another one in each run. Processor time (user and system, of the
process and its children) is what counts: a busy machine stretches the clock, which is recorded too. The builds take
turns, so that a busy spell meets both. Byte code is cached as it is in an installed package, and the two outputs have
to be equal.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from harness import finish, machine, options


def seconds_of(command: list[str], environment: dict[str, str]) -> tuple[float, float, str]:
    """Processor and clock seconds of one run, and what it printed."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        words = [word.replace("{new}", f"{folder}/new") for word in command]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        clock = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, clock, done.stdout


def main() -> None:
    """Run the command by turns and write the record."""
    parser = options(__doc__ or "", "cold_start.json")
    parser.add_argument("--before", type=Path, required=True, metavar="VENV", help="of the old build")
    parser.add_argument("--after", type=Path, required=True, metavar="VENV", help="of the new build")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("arguments", nargs="+", help="a command, of lexlip or with its name, after --")
    chosen = parser.parse_args()
    words = chosen.arguments if chosen.arguments[0].startswith("lexlip") else ["lexlip", *chosen.arguments]
    commands = {name: [str(getattr(chosen, name) / "bin" / words[0]), *words[1:]] for name in ("before", "after")}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    clock: dict[str, list[float]] = {name: [] for name in commands}
    printed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as cache:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = cache
        for number in range(-1, chosen.rounds):  # the first round fills the cache
            for name, command in commands.items():
                taken, elapsed, printed[name] = seconds_of(command, environment)
                if number >= 0:
                    seconds[name].append(taken)
                    clock[name].append(elapsed)
    if printed["before"] != printed["after"]:
        raise SystemExit("the two builds print different results")
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    report = {
        "machine": machine(),
        "command": [Path(word).name for word in words],
        "processor_seconds": seconds,
        "clock_seconds": clock,
        "median": medians,
        "ratio": medians["after"] / medians["before"],
    }
    finish(report, chosen.output)


if __name__ == "__main__":
    main()
