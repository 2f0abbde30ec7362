"""Thousands of damaged folders, each in a process with limits: `make fuzz`; docs/security.md says what is promised.

    python tests/hostile/run.py --trials 2000 --seed 0 --kinds output,index,bundle,checkpoint --jobs 2 --report R.json

A failure is printed with the command that repeats it, and its folder is kept. The exit status is 1 if there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path
from typing import Any

#: Before anything that reads it is imported, in the processes that are started from here, too.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "NO_COLOR": "1",
    "PYDANTIC_DISABLE_PLUGINS": "__all__",
    "TRITON_INTERPRET": "1",
    # A lock of a progress bar in a forked process, which ends without clearing up.
    "PYTHONWARNINGS": "ignore:resource_tracker:UserWarning",
}
os.environ.update(ENVIRONMENT)
_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE), str(_HERE.parent / "support")]

from trials.folders import KINDS, make  # noqa: E402
from trials.trial import LIMIT_BYTES, LIMIT_SECONDS, Outcome, Trials  # noqa: E402

_CONTEXT = multiprocessing.get_context("spawn")
_trials: Trials  # of this process, where it is one of the pool's


def main() -> int:
    """Console entry; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000, help="over all kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS), help="of folders")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--report", type=Path, help="JSON file to write")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this trial of each kind alone")
    parser.add_argument("--keep", type=Path, default=Path("build/hostile"), help="where folders of failures are kept")
    given = parser.parse_args()
    kinds = tuple(given.kinds.split(","))
    if unknown := {*kinds} - {*KINDS}:
        parser.error(f"--kinds {','.join(sorted(unknown))}: expected some of {','.join(KINDS)}")
    numbers = range(-(-given.trials // len(kinds))) if given.only is None else [given.only]
    outcomes = []
    for outcome in run_trials(kinds, given.seed, numbers, given.jobs, given.keep.absolute()):
        outcomes.append(outcome)
        for fault in outcome.faults:
            _print_failure(outcome, fault, given.seed)
        if given.only is not None:
            print(json.dumps(outcome.row(), indent=1))
    summary = summarised(outcomes)
    print(json.dumps(summary, indent=1))
    if given.report is not None:
        failures = [outcome.row() for outcome in outcomes if outcome.faults]
        report = {"machine": _machine(), "seed": given.seed, **summary, "failures": failures}
        given.report.write_text(json.dumps(report, indent=1) + "\n")
    return int(any(outcome.faults for outcome in outcomes))


def run_trials(kinds: tuple[str, ...], seed: int, numbers: Any, jobs: int, keep: Path) -> Iterator[Outcome]:
    """Run the trials of these numbers of each kind, and yield what came of them as they end."""
    # In memory where there is such a place: thousands of small folders are made and removed.
    fast = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="hostile-", dir=fast if os.access(fast, os.W_OK) else None))
    try:
        maker = _CONTEXT.Process(target=_make, args=(root, kinds))
        maker.start()
        maker.join()
        if maker.exitcode:
            raise RuntimeError("the whole folders could not be made")
        for kind in kinds:
            keep.mkdir(parents=True, exist_ok=True)
            arguments = (root, kind)
            with ProcessPoolExecutor(jobs, _CONTEXT, _start, arguments) as pool:
                tasks = [pool.submit(_run, seed, number, keep / f"{kind}-{seed}-{number}") for number in numbers]
                for task in as_completed(tasks):
                    yield task.result()
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _make(root: Path, kinds: tuple[str, ...]) -> None:
    with (root / "made.log").open("w") as log, contextlib.redirect_stderr(log), contextlib.redirect_stdout(log):
        make(root, kinds)


def _start(root: Path, kind: str) -> None:
    global _trials  # noqa: PLW0603  (a pool's processes have no other place)
    work = root / f"work-{os.getpid()}"
    work.mkdir()
    _trials = Trials(root, kind, work)


def _run(seed: int, number: int, keep: Path) -> Outcome:
    return _trials.run(seed, number, keep)


def summarised(outcomes: list[Outcome]) -> dict[str, Any]:
    """How the trials ended, over all kinds and by kind."""
    rows = {}
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.kind == kind]
        rows[kind] = {
            "trials": len(own),
            "refused": sum(outcome.status == 2 for outcome in own),
            "done": sum(outcome.status in (0, 3) for outcome in own),
            "faults": sum(bool(outcome.faults) for outcome in own),
            "signals": sum(fault.startswith("ended by") for outcome in own for fault in outcome.faults),
            "hangs": sum(fault.startswith("not done") for outcome in own for fault in outcome.faults),
            "tracebacks": sum("traceback" in fault for outcome in own for fault in outcome.faults),
            "changed_outside": sum("changed" in fault for outcome in own for fault in outcome.faults),
            "longest_seconds": max(outcome.seconds for outcome in own),
            "peak_mib": max(outcome.peak for outcome in own) >> 20,
        }
    limits = {"seconds": LIMIT_SECONDS, "peak_mib": LIMIT_BYTES >> 20}
    return {"trials": len(outcomes), "limits": limits, "kinds": rows}


def _print_failure(outcome: Outcome, fault: str, seed: int) -> None:
    again = f"python tests/hostile/run.py --kinds {outcome.kind} --seed {seed} --only {outcome.number}"
    print(f"FAILED {fault}\n  {outcome.change}\n  {outcome.command}\n  {again}", flush=True)


def _machine() -> dict[str, Any]:
    names = ("numpy", "onnxruntime", "tokenizers", "torch", "safetensors", "numba", "transformers", "lexlip-infer")
    return {
        "system": f"{os.uname().sysname} {os.uname().release} {os.uname().machine}",
        "python": sys.version.split()[0],
        "cores": len(os.sched_getaffinity(0)),
        "versions": {name: version(name) for name in names},
        "when": time.strftime("%Y-%m-%d"),
    }


if __name__ == "__main__":
    sys.exit(main())
