"""Two builds side by side: every command on the same inputs, then every byte of what they wrote and printed.

    python benchmarks/compare_builds.py BEFORE AFTER CAPTIONS WORK [--only STEP] [--again after] [--images 1000]

BEFORE and AFTER are virtual environments with an installed build each; CAPTIONS is a captions.jsonl whose photographs
lie beside it; WORK is a folder that this script fills. A step that a build has finished there is not run again, so an
interrupted comparison goes on where it stopped. Both are driven through their commands; nothing of them is imported.

Equal means equal bytes, after what no two runs share was taken out: timings, versions, machines, and the folder of the
build. `EXPECTED` lists every difference that is meant, with its reason; any other ends the script with status 1.
Writes benchmarks/results/compare_builds.json. Needs the extras anserini, faiss, io, ray, viz, eval and export of both.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from build_inputs import prepare
from build_steps import STEPS, Build, run_step

RESULTS = Path(__file__).parent / "results"

#: Differences that are meant: file pattern below WORK/BUILD, and why it differs.
EXPECTED: dict[str, str] = {
    "encode-int8/texts/manifest.json": "texts that are cut at the model's length are counted: texts_cut",
    "evaluate-run/run.out": "RR@k and Judged@k follow the promised order of ties: document id descending",
    "evaluate-run/run.json": "the same measures, query by query",
    "evaluate-run/compare.out": "the same measures, compared",
    "large-scale/out/data/images.npz": "a saved SparseBatch names its model; the vectors are equal",
    "check/odd.out": "Anserini keeps 3.0, JSON arrays, two objects on a line, and the last value of a repeated key",
}
#: What no two runs share, by JSON key.
VOLATILE = {"timings", "version", "seconds", "machine", "package_version"}
#: Files of which only the shape is compared, keys and kinds of values: all their numbers are times or sizes on disk.
MEASUREMENTS = ("bench/*", "large-scale/out/results.json", "large-scale/out/journal.json", "search-exact/verify.out")
#: Not compared: Lucene's files hold random names and times, pictures and reports of timings show timings.
LEFT_OUT = (
    "index-anserini/images/*",
    "large-scale/out/indexes/*",
    "large-scale/out/report.md",
    "large-scale/out/*.png",
    "*.log",
    "*.lock",
)


def outputs(build: Build, step: str) -> dict[str, str]:
    """Digest of every file that a step left, by its path below the build's folder."""
    paths = [path for path in sorted((build.folder / step).rglob("*")) if path.is_file()]
    names = {path.relative_to(build.folder).as_posix(): path for path in paths}
    kept = {name: path for name, path in names.items() if not any(fnmatch(name, pattern) for pattern in LEFT_OUT)}
    return {name: hashlib.sha256(canonical(build, name, path.read_bytes())).hexdigest() for name, path in kept.items()}


def canonical(build: Build, name: str, data: bytes) -> bytes:
    """The bytes without what no two runs share."""
    if not name.endswith((".json", ".jsonl", ".out", ".tsv", ".run", ".md")):
        return data
    data = data.replace(str(build.folder).encode(), b"BUILD")
    if not name.endswith((".json", ".out")):
        return data
    try:
        values = [json.loads(line) for line in (data.splitlines() if name.endswith(".out") else [data])]
    except ValueError:
        return re.sub(rb"\d[\d.,]* ?(ms|s|seconds|/s)\b", b"TIME", data)
    measured = any(fnmatch(name, pattern) for pattern in MEASUREMENTS)
    return json.dumps([_shape(value) if measured else _lasting(value) for value in values]).encode()


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(each) for key, each in value.items() if key not in VOLATILE}
    return [_lasting(each) for each in value] if isinstance(value, list) else value


def _shape(value: Any) -> Any:
    """Keys, in their order, and kinds of values; a list is what its members have in common."""
    if isinstance(value, dict):
        return {key: _shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(_shape(each)) for each in value})
    return "number" if isinstance(value, int | float) else type(value).__name__


def compare(before: Build, after: Build, step: str) -> dict[str, Any]:
    """What differs in a step: expected and not."""
    ours, theirs = outputs(before, step), outputs(after, step)
    different = sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name))
    reasons = {name: next((why for glob, why in EXPECTED.items() if fnmatch(name, glob)), None) for name in different}
    return {
        "step": step,
        "files": len(ours),
        "identical": len(ours | theirs) - len(different),
        "expected": {name: why for name, why in reasons.items() if why is not None},
        "unexpected": [name for name, why in reasons.items() if why is None],
        "failed": [name for name in ours if name.endswith(".status") and _status(before, name) not in (0, 3)],
    }


def _status(build: Build, name: str) -> int:
    return int((build.folder / name).read_text())


def main() -> int:
    """Run what is missing, compare, print a table."""
    parser = argparse.ArgumentParser(description="Compare two builds, byte by byte.")
    for name in ("before", "after"):
        parser.add_argument(name, type=Path, help="virtual environment")
    parser.add_argument("captions", type=Path, help="captions.jsonl with dev rows; photographs beside it")
    parser.add_argument("work", type=Path, help="folder for everything that is made")
    parser.add_argument("--only", action="append", choices=STEPS, help="step; may be repeated")
    parser.add_argument("--again", action="append", default=[], choices=("before", "after"), help="run its steps anew")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--texts", type=int, default=5000)
    arguments = parser.parse_args()
    work = arguments.work.absolute()
    inputs = prepare(arguments.captions, work / "inputs", arguments.images, arguments.texts)
    before = Build("before", arguments.before.absolute(), work / "before", inputs)
    after = Build("after", arguments.after.absolute(), work / "after", inputs)
    steps = arguments.only or list(STEPS)
    rows = []
    for build in (before, after):
        for step in steps if build.name in arguments.again else ():
            (build.folder / f"{step}.finished").unlink(missing_ok=True)
    print(f"{'step':16s} {'files':>6s} {'same':>6s}  differences", flush=True)
    for step in steps:
        for build in (before, after):
            run_step(build, step)
        row = compare(before, after, step)
        rows.append(row)
        found = [f"{name} (expected)" for name in row["expected"]] + row["unexpected"]
        failed = [f"[{name} of before is {_status(before, name)}]" for name in row["failed"]]
        print(f"{step:16s} {row['files']:6d} {row['identical']:6d}  {', '.join(found + failed) or '-'}", flush=True)
    record: dict[str, Any] = {build.name: build.description() for build in (before, after)}
    record |= {"images": arguments.images, "texts": arguments.texts, "steps": rows}
    if arguments.only is None:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "compare_builds.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record))
    return int(any(row["unexpected"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
