"""How much processor time a command takes from its start to its end, in two builds side by side.

    python benchmarks/bench_cold_start.py --before OLD/.venv --after NEW/.venv -- search IDX "a dog"

Processor time (user and system, of the process and its children) and not the clock: a busy machine stretches the clock.
The builds take turns, so that a busy spell meets both. Byte code is cached as it is in an installed package, and the
two outputs have to be equal.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import tempfile
from pathlib import Path

from harness import finish, machine, options


def processor_seconds(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Of one run, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def main() -> None:
    """Run the command by turns and write the record."""
    parser = options(__doc__ or "", "cold_start.json")
    parser.add_argument("--before", type=Path, required=True, metavar="VENV", help="of the old build")
    parser.add_argument("--after", type=Path, required=True, metavar="VENV", help="of the new build")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("arguments", nargs="+", help="of lexlip, after --")
    chosen = parser.parse_args()
    commands = {
        name: [str(getattr(chosen, name) / "bin" / "lexlip"), *chosen.arguments] for name in ("before", "after")
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    printed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as cache:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = cache
        for number in range(-1, chosen.rounds):  # the first round fills the cache
            for name, command in commands.items():
                taken, printed[name] = processor_seconds(command, environment)
                if number >= 0:
                    seconds[name].append(taken)
    if printed["before"] != printed["after"]:
        raise SystemExit("the two builds print different results")
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    report = {
        "machine": machine(),
        "command": ["lexlip", *(Path(argument).name for argument in chosen.arguments)],
        "processor_seconds": seconds,
        "median": medians,
        "ratio": medians["after"] / medians["before"],
    }
    finish(report, chosen.output)


if __name__ == "__main__":
    main()
