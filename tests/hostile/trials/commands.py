"""What a user does with a folder that somebody gave: commands as they are typed, and calls from Python.

Steps are words with `{given}`, the folder; `{new}`, an empty folder; `{inputs}`, see `folders.py`. A step that starts
with `python` calls a function of this module. All steps run in one process, until one does not end with status 0 or 3.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trials.folders import run


@dataclass(frozen=True)
class Command:
    """What is done with a folder.

    Attributes:
        steps: see above.
        writes: whether the folder may be changed by it.
        verified: whether damage that a checksum shows has to be found, so that results are right or there are none.
        results: patterns of files that are results, besides what is printed and what is new.
    """

    steps: tuple[str, ...]
    writes: bool = False
    verified: bool = True
    results: tuple[str, ...] = ()


_RESUME = "lexlip-encode --model {{inputs}}/bundle --output {{given}} --threads 1 {}".format
_RESULTS = ("vectors/*", "failures.jsonl")
_TEXTS = "--texts {inputs}/texts.jsonl --items-per-shard 4"
_IMAGES = "--images {inputs}/images --items-per-shard 2 --decode-workers 0"
_VECTORS = "lexlip search {given} --query-vectors {inputs}/queries.jsonl --hits 5"

_OF_OUTPUTS = (
    Command((_VECTORS,)),
    Command(("lexlip search {given} a red dog on the beach",)),
    Command(("lexlip inspect {given}",), verified=False),
    Command(("lexlip inspect {given} --json",), verified=False),
    Command(("lexlip check {given}",), verified=False),
    Command(("lexlip convert {given} {new}/out.jsonl --to anserini",)),
    Command(("lexlip convert {given} {new}/out.npz --to npz",)),
    Command(("lexlip index {given} {new}/idx", "lexlip search {new}/idx --query-vectors {inputs}/queries.jsonl")),
    Command(("python read_collection {given}",)),
)


def _of_indexes(more: str, other: str, ids: tuple[str, str]) -> tuple[Command, ...]:
    # What opens an index reads none of its postings: only verifying compares every byte with its checksum.
    return (
        Command((_VECTORS,), verified=False),
        Command((f"lexlip index --append {more} {{given}}", _VECTORS), writes=True, verified=False),
        Command((f"lexlip index --append --replace {other} {{given}}", _VECTORS), writes=True, verified=False),
        Command((f"lexlip index {{given}} --delete {ids[0]}", _VECTORS), writes=True, verified=False),
        Command((f"lexlip index {{given}} --delete {ids[0]} --delete {ids[1]}", _VECTORS), writes=True, verified=False),
        Command(("lexlip index {given} --delete x",), writes=True, verified=False),
        Command(("lexlip index {given} --delete-from {inputs}/ids.txt", _VECTORS), writes=True, verified=False),
        Command(("lexlip index {given} --compact", _VECTORS), writes=True),
        Command(("lexlip index {given} --verify", _VECTORS)),
        Command(("lexlip index {given} --verify", "lexlip index {given} --compact", _VECTORS), writes=True),
        Command(("lexlip inspect {given}",), verified=False),
        Command(("python search_index {given}",), verified=False),
    )


_OF_BUNDLES = (
    Command(("python words {given}",)),
    Command(("python encode_texts {given}",)),
    Command(("python encode_images {given} {inputs}/images",)),
    Command(("python encode_with_graph {given}",)),
    Command((f"lexlip-encode {_TEXTS} --threads 1 --model {{given}} --output {{new}}/out",)),
    Command((f"lexlip-encode {_IMAGES} --threads 1 --model {{given}} --output {{new}}/out",)),
    Command(("lexlip search {inputs}/encoded-texts a red dog --model {given}",)),
    Command(("lexlip convert {inputs}/encoded-texts {new}/out.npz --to npz --model {given}",)),
)

_TRAIN = "lexlip-train run {new}/run --config {inputs}/training.json --set model.start={given}"
_EXPORTED = "python encode_texts {new}/bundle"

#: By the name of the folder.
COMMANDS: dict[str, tuple[Command, ...]] = {
    "output-plain": (Command((_RESUME(_TEXTS),), True, results=_RESULTS), *_OF_OUTPUTS),
    "output-gz": (Command((_RESUME(f"{_TEXTS} --compress gz"),), True, results=_RESULTS), *_OF_OUTPUTS),
    "output-images": (Command((_RESUME(_IMAGES),), True, results=_RESULTS), *_OF_OUTPUTS),
    "output-unfinished": (
        *(4 * (Command((_RESUME(_TEXTS),), True, results=_RESULTS),)),
        Command((_RESUME(_TEXTS), _VECTORS), True, results=_RESULTS),
        *_OF_OUTPUTS,
    ),
    "index-encoded": (
        Command(("lexlip search {given} a red dog on the beach",), verified=False),
        *_of_indexes("{inputs}/encoded-newest", "{inputs}/encoded-texts", ("t01", "l2")),
    ),
    "index-lines": _of_indexes("{inputs}/latest.jsonl", "{inputs}/documents.jsonl", ("d1", "d8")),
    "bundle-both": _OF_BUNDLES,
    # What is in a checkpoint has no checksum. To export takes seconds, most of which are the same whatever is exported.
    "checkpoint-ours": (
        *(6 * (Command(("python load_checkpoint {given}",), verified=False),)),
        *(2 * (Command(("lexlip-train average {new}/mean {given} {inputs}/start",), verified=False),)),
        *(2 * (Command(("lexlip-train resize {given} {new}/larger --image-size 96",), verified=False),)),
        Command((_TRAIN,), verified=False),
        Command(("lexlip-export {given} {new}/bundle", _EXPORTED), verified=False),
    ),
    "checkpoint-official": (
        *(9 * (Command(("python load_checkpoint {given}/last.ckpt",), verified=False),)),
        Command(("lexlip-export {given}/last.ckpt {new}/bundle",), verified=False),
    ),
    "checkpoint-splade": (
        *(6 * (Command(("python load_checkpoint {given}",), verified=False),)),
        Command(("lexlip-export {given} {new}/bundle", _EXPORTED), verified=False),
    ),
    "checkpoint-run": (
        *(6 * (Command(("lexlip-train run {given} --config {inputs}/training.json --resume",), True, verified=False),)),
        *(2 * (Command(("python load_checkpoint {given}/last",), verified=False),)),
        Command(("lexlip-train resize {given}/best {new}/larger --image-size 96",), verified=False),
    ),
}


def run_steps(steps: list[list[str]]) -> int:
    """Run them here, as a console command would; the status of the last. An exception is written out, and is 1.

    What each says on stderr begins with a form feed.
    """
    status = 0
    for words in steps:
        print("\f", file=sys.stderr)
        try:
            status = _run(words)
        except BaseException:  # noqa: BLE001  (whatever a command lets through is what we look for)
            traceback.print_exc()
            status = 1
        if status not in (0, 3):
            break
    return status


def _run(words: list[str]) -> int:
    if words[0] == "python":
        return run(lambda: _call(words[1], words[2:]))
    return run(_entry(words[0]), *words)


def _entry(name: str) -> Callable[[], object]:
    if name == "lexlip":
        from lexlip_infer.cli import main as module
    elif name == "lexlip-encode":
        from lexlip_infer.cli import encode as module
    elif name == "lexlip-train":
        import lexlip_training.cli as module
    else:
        import lexlip_export.cli as module
    return module.run


def _call(name: str, arguments: list[str]) -> None:
    """As a program would that reports the errors which we document, and no others."""
    from lexlip_infer.errors import LexLIPError

    try:
        print(_CALLS[name](*map(Path, arguments)))
    except LexLIPError as error:
        print(f"lexlip: {error}".encode("utf-8", "backslashreplace").decode(), file=sys.stderr)
        sys.exit(2)


def _read_collection(folder: Path) -> Any:
    from lexlip_infer import Collection

    ids, impacts = Collection.open(folder).in_id_order()
    return ids, [impacts.row(i) for i in range(len(ids))]


def _search_index(folder: Path) -> Any:
    from lexlip_infer import Index
    from lexlip_kernels import ImpactMatrix

    with Index.open(folder, engine="exact") as index:
        width = len(index.vocabulary.terms) if index.vocabulary else 0
        rows = [[(i, 3) for i in range(min(width, 40))], [(width - 1, 2)], []]
        ranking = index.rank(ImpactMatrix.from_rows(rows, width), 2**31 - 1)
        return ranking.ids, [scores.tolist() for scores in ranking.scores]


def _words(folder: Path) -> Any:
    from lexlip_infer import Bundle

    return Bundle.open(folder).vocabulary().terms


def _encoder(folder: Path, **options: Any) -> Any:
    from lexlip_infer import LexLIPEncoder

    return LexLIPEncoder.from_pretrained(folder, threads=1, **options)


def _encode_texts(folder: Path) -> Any:
    encoder = _encoder(folder)
    return encoder.decode(encoder.encode_texts(["a red dog runs on the beach", "two " * 5_000, ""]), 5)


def _encode_with_graph(folder: Path) -> Any:
    encoder = _encoder(folder, head="onnx")
    return encoder.decode(encoder.encode_texts(["a red dog runs on the beach"]), 5)


def _encode_images(folder: Path, images: Path) -> Any:
    encoder = _encoder(folder)
    return encoder.decode(encoder.encode_images([images / "0.png", images / "1.png"]), 5)


def _load_checkpoint(path: Path) -> Any:
    from lexlip_export.sources import ImportOptions, load_source

    return sorted(load_source(path, ImportOptions()).model.state_dict())


_CALLS: dict[str, Callable[..., Any]] = {
    "read_collection": _read_collection,
    "search_index": _search_index,
    "words": _words,
    "encode_texts": _encode_texts,
    "encode_with_graph": _encode_with_graph,
    "encode_images": _encode_images,
    "load_checkpoint": _load_checkpoint,
}
