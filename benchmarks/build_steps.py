"""What `compare_builds.py` asks of a build: every command, in steps that leave their files in a folder each."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from build_inputs import Inputs

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
