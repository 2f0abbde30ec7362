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
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"

#: Differences that are meant: file pattern below WORK/BUILD, and why it differs.
EXPECTED: dict[str, str] = {
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
#: Names of the output formats, by the suffix of their files.
FORMATS = {
    "jsonl": ("anserini", "qdrant", "vespa", "seismic", "ids"),
    "tsv": ("anserini-topics", "pgvector"),
    "ndjson": ("opensearch", "elasticsearch"),
    "json": ("milvus", "tei"),
    "npz": ("npz",),
    "parquet": ("parquet",),
    "ciff": ("ciff",),
}
SYSTEMS = ("exact", "anserini", "faiss-flat", "faiss-hnsw", "faiss-ivfpq", "bm25", "bag-of-words")
CLASSES = ("dog", "girl", "boy", "man", "woman", "water", "snow", "street")


@dataclass(frozen=True)
class Inputs:
    """What both builds are given, made once.

    Attributes:
        folder: holds `images/`, `captions.jsonl`, `texts.jsonl`, `qrels.txt`, `classes/` and `odd/`.
        images: how many there are.
    """

    folder: Path
    images: int

    def __truediv__(self, name: str) -> str:
        return str(self.folder / name)


@dataclass(frozen=True)
class Build:
    """One of the two.

    Attributes:
        name: "before" or "after".
        venv: its environment.
        folder: where its steps leave their files, a folder each.
        inputs: of both.
    """

    name: str
    venv: Path
    folder: Path
    inputs: Inputs

    def start(self, step: str, label: str, command: str, *arguments: object) -> subprocess.Popen[bytes]:
        """Start a command of the build in the step's folder; it prints to LABEL.out, and LABEL.log."""
        folder = self.folder / step
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with (folder / f"{label}.out").open("wb") as out, (folder / f"{label}.log").open("wb") as log:
            words = [str(self.venv / "bin" / command), *map(str, arguments)]
            return subprocess.Popen(words, cwd=folder, stdout=out, stderr=log, env=environment, process_group=0)

    def run(self, step: str, label: str, command: str, *arguments: object) -> None:
        """Run a command; its status is compared like everything else, so it need not be 0."""
        status = self.start(step, label, command, *arguments).wait()
        (self.folder / step / f"{label}.status").write_text(f"{status}\n")

    def description(self) -> dict[str, str]:
        """Version and, of a checkout, commit."""
        code = "import lexlip_infer, importlib.metadata as m; print(lexlip_infer.__file__, m.version('lexlip-infer'))"
        asked = [str(self.venv / "bin" / "python"), "-c", code]
        file, version = subprocess.run(asked, capture_output=True, text=True, check=True, cwd="/").stdout.split()
        asked = ["git", "-C", str(Path(file).parent), "describe", "--always", "--dirty", "--abbrev=12"]
        commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        return {"version": version, "commit": commit}


def prepare(captions: Path, folder: Path, images: int, texts: int) -> Inputs:
    """Copy photographs and captions, and derive the rest from them."""
    inputs = Inputs(folder, images)
    rows = [json.loads(line) for line in captions.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = [row for row in rows if row.get("split") == "dev"][:images]
    if (folder / "complete").exists():
        return inputs
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    for row in rows:
        shutil.copy(captions.parent / row["image"], folder / "images")
    asked = [
        (f"{Path(row['image']).name}#{number}", text, Path(row["image"]).name)
        for row in rows
        for number, text in enumerate(row["captions"])
    ][:texts]
    _write_lines(folder / "captions.jsonl", (row | {"image": f"images/{Path(row['image']).name}"} for row in rows))
    _write_lines(folder / "texts.jsonl", ({"id": name, "text": text} for name, text, _ in asked))
    (folder / "qrels.txt").write_text("".join(f"{name} 0 {image} 1\n" for name, _, image in asked))
    _make_classes(rows, folder)
    _make_odd(folder)
    (folder / "complete").touch()
    return inputs


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")


def _make_classes(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """A photograph belongs to the first of the words that its captions hold."""
    for row in rows:
        words = set(re.findall(r"\w+", " ".join(row["captions"]).lower()))
        label = next((word for word in CLASSES if word in words), None)
        if label is not None:
            (folder / "classes" / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / "images" / Path(row["image"]).name, folder / "classes" / label)


def _make_odd(folder: Path) -> None:
    """Photographs of which every fifth breaks off and one is none; JSON lines that Anserini reads in its own way."""
    (folder / "odd").mkdir()
    for number, path in enumerate(sorted((folder / "images").iterdir())[:20]):
        data = path.read_bytes()
        (folder / "odd" / path.name).write_bytes(data[: len(data) // 2] if number % 5 == 2 else data)
    (folder / "odd" / "none.jpg").write_bytes(b"no photograph")
    lines = (
        '{"id":"a","contents":"","vector":{"dog":3.0,"cat":2}}\n{"id":"b","contents":"","vector":{"dog":0.5}}\n'
        '{"id":"c","contents":"","vector":{}}\n{"id":"a","contents":"","vector":{"two words":1,"dog":0}}\n'
    )
    (folder / "odd.jsonl").write_text(lines)


@dataclass(frozen=True)
class Step:
    """Something that a build is asked to do.

    Attributes:
        name: of its folder.
        run: does it.
        needs: steps whose output it reads.
    """

    name: str
    run: Callable[[Build, str], None]
    needs: tuple[str, ...] = ()


def _encode(*further: object) -> Callable[[Build, str], None]:
    """Photographs and texts with the same options, in ten parts."""

    def run(build: Build, step: str) -> None:
        common = ("--items-per-shard", max(1, build.inputs.images // 10), *further)
        build.run(step, "encode-images", "lexlip-encode", "--images", build.inputs / "images", "--output=out", *common)
        build.run(
            step, "encode-texts", "lexlip-encode", "--texts", build.inputs / "texts.jsonl", "--output=texts", *common
        )

    return run


def _int8(build: Build, step: str) -> None:
    build.run(
        step, "bundle", "python", "-m", "lexlip_export.random_bundle", "lexlip-tiny", "bundle", "--precision=int8"
    )
    _encode("--model=bundle", "--precision=int8")(build, step)


def _shares(build: Build, step: str) -> None:
    per_part = max(1, build.inputs.images // 10)
    for share in range(3):
        options = (f"--items-per-shard={per_part}", "--shard-num=3", f"--shard-id={share}", "--compress=gz")
        build.run(
            step, f"share-{share}", "lexlip-encode", "--images", build.inputs / "images", f"--output={share}", *options
        )


def _resume(build: Build, step: str) -> None:
    """SIGKILL again and again, sooner or later after a new part; the last run is let through, and one is refused."""
    parts = ("--items-per-shard", max(1, build.inputs.images // 50))
    options = ("--images", build.inputs / "images", "--output=out", *parts)
    for delay in (0.0, 0.05, 0.2, 0.5):
        before, process = _parts(build, step), build.start(step, "killed", "lexlip-encode", *options)
        while process.poll() is None and _parts(build, step) == before:
            time.sleep(0.01)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert _parts(build, step) >= before, "a finished part is lost"
    build.run(step, "again", "lexlip-encode", *options)
    build.run(step, "refused", "lexlip-encode", *options, "--top-k=10")


def _parts(build: Build, step: str) -> int:
    return sum(1 for _ in (build.folder / step / "out").glob("vectors/*"))


def _odd(build: Build, step: str) -> None:
    options = ("--images", build.inputs / "odd")
    build.run(step, "fail", "lexlip-encode", *options, "--output=failed")
    build.run(step, "accept", "lexlip-encode", *options, "--output=accepted", "--truncated=accept")
    build.run(step, "stdout", "lexlip-encode", *options, "--output=-")


def _index_exact(build: Build, step: str) -> None:
    build.run(step, "build", "lexlip", "index", "../encode/out", "images")
    build.run(step, "inspect", "lexlip", "inspect", "images", "--json")
    build.run(step, "changed", "lexlip", "index", "../encode/out", "changed")
    first = min(path.name for path in (build.inputs.folder / "images").iterdir())
    for label, options in (("delete", ["--delete", first]), ("verify", ["--verify"]), ("compact", ["--compact"])):
        build.run(step, label, "lexlip", "index", "changed", *options)
    build.run(step, "append", "lexlip", "index", "--append", "../encode/texts", "changed")
    build.run(step, "replace", "lexlip", "index", "--append", "--replace", "../encode/out", "changed")
    build.run(step, "inspect-changed", "lexlip", "inspect", "changed", "--json")


def _search(index: str) -> Callable[[Build, str], None]:
    """One query in each of the ways there are, then all of them."""

    def run(build: Build, step: str) -> None:
        queries = ("--queries", build.inputs / "texts.jsonl")
        image = min((build.inputs.folder / "images").iterdir())
        build.run(step, "words", "lexlip", "search", index, "a dog runs on the beach", "--hits=100")
        build.run(step, "json", "lexlip", "search", index, "a dog runs on the beach", "--json")
        build.run(step, "image", "lexlip", "search", index, "--image", image, "--json")
        build.run(step, "queries", "lexlip", "search", index, *queries, "--hits=100", "--output=queries.run")
        vectors = ("--query-vectors", "../encode/texts", "--tag=vectors")
        build.run(step, "vectors", "lexlip", "search", index, *vectors, "--output=vectors.run")

    return run


def _index_anserini(build: Build, step: str) -> None:
    build.run(step, "build", "lexlip", "index", "../encode/out", "images", "--engine=anserini")
    _search("images")(build, step)


def _convert(build: Build, step: str) -> None:
    build.run(step, "formats", "lexlip", "convert", "--formats")
    for name, suffix in ((name, suffix) for suffix, names in FORMATS.items() for name in names):
        source = "texts" if name == "anserini-topics" else "out"
        options = ("--replace-dots=_",) if name == "elasticsearch" else ("--tokens",) if name == "parquet" else ()
        build.run(step, name, "lexlip", "convert", f"../encode/{source}", f"{name}.{suffix}", f"--to={name}", *options)
    build.run(step, "gz", "lexlip", "convert", "../encode/texts", "qdrant.jsonl.gz", "--to=qdrant", "--field=words")


def _retrieval(build: Build, step: str) -> None:
    captions = build.inputs / "captions.jsonl"
    build.run(step, "json", "lexlip", "eval", "retrieval", captions, "--json", "--save=whole.json")
    build.run(step, "table", "lexlip", "eval", captions, "--image-top-k=32", "--save=cut.json")
    build.run(step, "compare", "lexlip", "eval", "compare", "whole.json", "cut.json", "--json", "--resamples=1000")


def _zero_shot(build: Build, step: str) -> None:
    build.run(step, "json", "lexlip", "eval", "zero-shot", build.inputs / "classes", "--json", "--save=whole.json")
    build.run(step, "table", "lexlip", "eval", "zero-shot", build.inputs / "classes", "--image-top-k=32")


def _evaluate_run(build: Build, step: str) -> None:
    measures = [word for name in ("nDCG@10", "RR", "RR@10", "R@100", "AP", "Judged@10") for word in ("--measure", name)]
    run, qrels = "../search-exact/queries.run", build.inputs / "qrels.txt"
    build.run(step, "run", "lexlip", "eval", "run", run, qrels, *measures, "--json", "--save=run.json")
    build.run(step, "table", "lexlip", "eval", "run", run, qrels)
    build.run(step, "compare", "lexlip", "eval", "compare", "run.json", "run.json", "--json", "--resamples=1000")


def _large_scale(build: Build, step: str) -> None:
    systems = [f"--system={name}" for name in SYSTEMS]
    small = (
        "--image-top-k=64",
        "--image-top-k=256",
        "--synthetic=10000",
        "--rounds=1",
        "--timed-queries=50",
        "--seconds=1",
    )
    options = (*systems, *small, "--dense-size=192", "--threads=1")
    build.run(step, "run", "lexlip", "eval", "large-scale", build.inputs / "captions.jsonl", "out", *options)


def _calibrate(build: Build, step: str) -> None:
    options = ("--image-top-k=32", "--image-top-k=128", "--bits=3", "--bits=8")
    build.run(
        step, "json", "lexlip", "calibrate", build.inputs / "captions.jsonl", *options, "--json", "--plot=loss.png"
    )


def _cloud(build: Build, step: str) -> None:
    images = sorted((build.inputs.folder / "images").iterdir())
    build.run(step, "one", "lexlip", "cloud", images[0], "-o", "one.png", "--caption=a dog runs on the beach")
    build.run(step, "sheet", "lexlip", "cloud", *images[:5], "-o", "sheet.png", "--per-page=3")


def _check(build: Build, step: str) -> None:
    build.run(step, "images", "lexlip", "check", "../encode/out", "--json")
    build.run(step, "topics", "lexlip", "check", "../encode/out", "--topics=../convert/anserini-topics.tsv", "--json")
    build.run(step, "odd", "lexlip", "check", build.inputs / "odd.jsonl", "--json")
    build.run(step, "inspect", "lexlip", "inspect", "../encode/out", "--json", "--terms=50")
    build.run(step, "inspect-table", "lexlip", "inspect", "../encode/texts")


def _bench(build: Build, step: str) -> None:
    small = ("--rounds=1", "--items=8", "--synthetic=4", "--batch-sizes=4", "--threads=1")
    build.run(step, "json", "lexlip-bench", *small, "--save=report.json", "--json")


STEPS = {
    step.name: step
    for step in (
        Step("encode", _encode()),
        Step("encode-int8", _int8),
        Step("encode-shares", _shares),
        Step("encode-resume", _resume),
        Step("encode-odd", _odd),
        Step("encode-ray", _encode("--engine=ray", "--threads=1", "--ray-actors=1")),
        Step("index-exact", _index_exact, ("encode",)),
        Step("search-exact", _search("../index-exact/images"), ("encode", "index-exact")),
        Step("search-output", _search("../encode/out"), ("encode",)),
        Step("index-anserini", _index_anserini, ("encode",)),
        Step("convert", _convert, ("encode",)),
        Step("retrieval", _retrieval),
        Step("zero-shot", _zero_shot),
        Step("evaluate-run", _evaluate_run, ("search-exact",)),
        Step("large-scale", _large_scale),
        Step("calibrate", _calibrate),
        Step("cloud", _cloud),
        Step("check", _check, ("encode", "convert")),
        Step("bench", _bench),
    )
}


def run_step(build: Build, name: str) -> None:
    """Run a step and those that it needs, unless they are finished."""
    for needed in STEPS[name].needs:
        run_step(build, needed)
    folder, finished = build.folder / name, build.folder / f"{name}.finished"
    if finished.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"{build.name}: {name}", file=sys.stderr, flush=True)
    STEPS[name].run(build, name)
    finished.touch()


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
