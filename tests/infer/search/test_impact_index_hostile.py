"""An index that a stranger made: whatever its manifest, links and numbers say, it is refused or answers right."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.search.dense import read_dense_record
from lexlip_infer.search.description import describe_index
from lexlip_infer.search.exact import manifest as manifest_of_index
from lexlip_infer.search.exact.building import IndexWriter, append, compact, delete, verify
from lexlip_infer.search.exact.engine import ExactEngine
from lexlip_infer.search.exact.manifest import IndexManifest
from lexlip_infer.search.index import Index
from lexlip_kernels import ImpactMatrix

SEGMENT = "segments/000001"
QUERY = ImpactMatrix(np.array([0, 1]), np.zeros(1, np.int32), np.ones(1, np.int32), 4)
ACTIONS: dict[str, Callable[[Path], object]] = {
    "open": ExactEngine.open,
    "verify": verify,
    "delete": lambda index: delete(index, ["0001"]),
    "delete nothing": lambda index: delete(index, ["unknown"]),
    "compact": compact,
    "append": lambda index: append(index.with_name("more.jsonl"), index),
}


def rows(number: int) -> ImpactMatrix:
    """Document i holds term 0, and term 1 + i % 3, with impact 1 + i % 5."""
    return ImpactMatrix.from_rows([[(0, 1 + i % 5), (1 + i % 3, 1 + i % 5)] for i in range(number)], 4)


def build(index: Path, names: list[str]) -> Path:
    with IndexWriter(index, 4) as writer:
        writer.add(names, rows(len(names)))
        writer.commit()
    return index


@pytest.fixture
def index(tmp_path: Path) -> Path:
    (tmp_path / "more.jsonl").write_text('{"id":"zz","contents":"","vector":{"0":7}}\n')
    build(tmp_path / "idx", [f"{i:04d}" for i in range(200)])
    delete(tmp_path / "idx", ["0004"])
    return tmp_path / "idx"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """What belongs to the user: folders and files of the names that an index has, and others."""
    for name in ("photos/p.jpg", "000001/id_text.npy", "index.json", "id_text.npy"):
        (tmp_path / "home" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "home" / name).write_text("precious")
    return tmp_path / "home"


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def reseal(index: Path, change: Callable[[Any], None] = lambda _: None) -> None:
    """What whoever makes an index can do: change its manifest, and compute all hashes anew."""
    manifest = json.loads((index / "index.json").read_bytes())
    for segment in manifest["segments"]:
        for file in [*segment["files"], *filter(None, [segment["deletions"]]), manifest["vocabulary"]]:
            data = (index / file["name"]).read_bytes()
            file["sha256"], file["size"] = hashlib.sha256(data).hexdigest(), len(data)
    change(manifest)
    try:
        text = IndexManifest.model_validate(manifest).sealed().model_dump_json()
    except ValueError:  # refused for what it is, before its checksum is looked at
        text = json.dumps(manifest)
    (index / "index.json").write_text(text)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("segments", "."),
        (SEGMENT, "000001"),
        (f"{SEGMENT}/id_text.npy", "id_text.npy"),
        ("index.json", "index.json"),
        ("vocabulary.json", "index.json"),
        (".index.json.partial", "index.json"),
    ],
)
def test_a_link_inside_leads_nowhere(action: str, name: str, target: str, index: Path, home: Path) -> None:
    before = everything(home)
    if (index / name).exists():
        (index / name).rename(index.with_name("moved"))
    (index / name).symlink_to(home / target)
    if name == ".index.json.partial" and action in ("open", "verify"):
        ACTIONS[action](index)  # which a reader does not look at
    else:
        with pytest.raises(OutputError, match=rf"{name}: is a symbolic link"):
            ACTIONS[action](index)
    assert everything(home) == before


def test_no_segment_listed_and_a_link_in_their_place(index: Path, home: Path) -> None:
    before = everything(home)
    reseal(index, lambda manifest: manifest.update(segments=[]))
    (index / "segments").rename(index.with_name("moved"))
    (index / "segments").symlink_to(home)
    with pytest.raises(OutputError, match="segments: is a symbolic link"):
        delete(index, ["0001"])
    assert everything(home) == before


@pytest.mark.parametrize("name", ["segments", "vocabulary.json", ".index.json.partial"])
def test_a_new_index_is_not_written_through_a_link(name: str, tmp_path: Path, home: Path) -> None:
    before = everything(home)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "segments").mkdir()
    if name == "segments":
        (tmp_path / "new" / "segments").rmdir()
    (tmp_path / "new" / name).symlink_to(home if name == "segments" else home / "index.json")
    with pytest.raises(OutputError, match=rf"{name}: is a symbolic link"):
        build(tmp_path / "new", ["a"])
    assert everything(home) == before


@pytest.mark.parametrize("name", ["segments/photo.jpg", "segments/000001/photo.jpg", "vocabulary.json"])
def test_a_folder_of_the_user_that_looks_like_an_unfinished_index(name: str, tmp_path: Path) -> None:
    """A text encoder's folder may hold a vocabulary.json, and a video's one segments."""
    (tmp_path / "mine" / name).parent.mkdir(parents=True)
    (tmp_path / "mine" / name).write_text("precious")
    with pytest.raises(OutputError, match="exists; name a new folder"):
        build(tmp_path / "mine", ["a"])
    assert (tmp_path / "mine" / name).read_text() == "precious"


def test_what_others_have_put_into_an_index_stays(index: Path) -> None:
    strange = [index / "notes.txt", index / "segments" / "photos" / "p.jpg", index / SEGMENT / ".nfs01"]
    for file in strange:
        file.parent.mkdir(exist_ok=True)
        file.write_text("precious")
    (index / SEGMENT / "deleted-000001.npy").write_text("left by a writer that was killed")
    delete(index, ["0001"])
    compact(index)
    verify(index)
    assert [file.read_text() for file in strange] == ["precious"] * 3
    assert [file.name for file in (index / SEGMENT).iterdir()] == [".nfs01"]


def test_the_index_itself_may_be_reached_by_a_link(index: Path) -> None:
    link = index.with_name("link")
    link.symlink_to(index)
    delete(link, ["0001"])
    verify(link)
    assert ExactEngine.open(link).documents == 198


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("name", ["index.json", "vocabulary.json", f"{SEGMENT}/posting_docs.npy"])
def test_a_fifo_is_not_waited_for(action: str, name: str, index: Path) -> None:
    (index / name).unlink()
    os.mkfifo(index / name)
    with pytest.raises(OutputError, match=rf"{name}: (is a FIFO; expected a regular file|damaged)"):
        ACTIONS[action](index)


def test_files_beyond_their_limits_are_not_read(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_of_index, "VOCABULARY_LIMIT", 5)
    with pytest.raises(OutputError, match=r"vocabulary\.json: holds 20 bytes; at most 5 bytes are read"):
        ExactEngine.open(index)
    monkeypatch.setattr(manifest_of_index, "MANIFEST_LIMIT", 100)
    with pytest.raises(OutputError, match=r"index\.json: holds .* kB; at most 100 bytes are read"):
        ExactEngine.open(index)


def segment_0(**values: object) -> Callable[[Any], None]:
    return lambda manifest: manifest["segments"][0].update(values)


def file_0(**values: object) -> Callable[[Any], None]:
    return lambda manifest: manifest["segments"][0]["files"][0].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["segments"].append(m["segments"][0]), "a segment is listed twice"),
        (lambda m: m["segments"].append(m["segments"][0] | {"name": "0000001"}), "does not list its 6 arrays"),
        (lambda m: m["segments"][0]["files"].pop(), "does not list its 6 arrays"),
        (lambda m: m.update(next_segment=1), "the number of one that is there"),
        (lambda m: m.update(next_segment=10**30), "next_segment"),
        (lambda m: m.update(generation=1e30), "generation"),
        (lambda m: m.update(vocab_size=10**30), "vocab_size"),
        (lambda m: m.update(vocab_size=5), "it is no list of 5 terms|over 4 terms"),
        (lambda m: m["vocabulary"].update(name="../../x"), r"in no file of the name vocabulary\.json"),
        (lambda m: m["vocabulary"].update(size=10**30), r"vocabulary\.size"),
        (lambda m: m["vocabulary"].update(sha256="0" * 64), "its sha256 does not match"),
        (segment_0(documents=199), "disagree"),
        (segment_0(documents=10**30), "documents"),
        (segment_0(documents=-1), "documents"),
        (segment_0(postings=7), "400 postings over 4 terms; index.json counts others"),
        (segment_0(postings=1e30), "postings"),
        (segment_0(deleted=0), "counts other deleted documents"),
        (segment_0(deleted=201), "counts other deleted documents"),
        (segment_0(deleted=2), "the list of deleted rows is none"),
        (segment_0(deletions=None), "counts other deleted documents"),
        (segment_0(impact_bits=16), "its header is not as it was written"),
        (lambda m: m["segments"][0]["deletions"].update(name="../x"), "in no file of its own"),
        (lambda m: m["segments"][0]["deletions"].update(name="vocabulary.json"), "in no file of its own"),
        (file_0(name="/etc/hostname"), "does not list its 6 arrays"),
        (file_0(name="segments/000001/../../x.npy"), "does not list its 6 arrays"),
        (file_0(size=10**15), "it was written with 1,000,000,000,000,000"),
        (file_0(size=1e30), r"files\.0\.size"),
        (file_0(size=-1), r"files\.0\.size"),
        (lambda m: m.update(segments=[0] * 100_000), r"segments\.0"),
        (lambda m: m.update(encoded_with=[]), "encoded_with"),
    ],
)
def test_a_manifest_whose_numbers_or_names_are_wrong(change: Callable[[Any], None], message: str, index: Path) -> None:
    reseal(index, change)
    before = everything(index)
    for action in ("open", "delete", "compact"):
        with pytest.raises(OutputError, match=message) as refused:
            ACTIONS[action](index)
        assert len(str(refused.value)) < 400
    assert everything(index) == before


@pytest.mark.parametrize(
    "content",
    [
        '["0","1","2","2"]',
        '["0","1","2"]',
        '["0","1","2",3]',
        '["0","1","2",["3"]]',
        '["0","1","2","\\ud800"]',
        '{"0":0,"1":1,"2":2,"3":3}',
        "4",
        "[" * 100_000,
        "",
    ],
)
@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_a_vocabulary_that_is_none(content: str, long: bool, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if long:  # the other way of reading it
        monkeypatch.setattr(manifest_of_index, "_UNTESTED", 0)
        ExactEngine.open(index)
    (index / "vocabulary.json").write_text(content)
    reseal(index)
    for action in ("open", "delete"):
        with pytest.raises(OutputError, match=r"vocabulary\.json: damaged \("):
            ACTIONS[action](index)


@pytest.mark.parametrize("terms", [["a", "a"], ["a", "\ud800"]])
def test_no_index_is_made_that_could_not_be_opened(terms: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the vocabulary cannot be that of an index: a term"):
        IndexWriter(tmp_path / "new", 2, terms)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "deleted", [[0, 2**30 + 2**29, -(2**30), 4], [4, 0], [4, 4], [-1, 4], [4, 200], [2**31 - 1, -(2**31)]]
)
def test_deleted_rows_that_are_none(deleted: list[int], index: Path) -> None:
    """Of the first, each difference is positive in 32 bits."""
    np.save(index / SEGMENT / "deleted-000002.npy", np.array(deleted, np.int32))
    reseal(index, segment_0(deleted=len(deleted)))
    for action in ACTIONS.values():
        with pytest.raises(OutputError, match="the list of deleted rows is none"):
            action(index)


def flipped(file: Path, seed: int) -> bytes:
    """The contents of an array with one bit changed."""
    random = np.random.default_rng(seed)
    data = bytearray(file.read_bytes())
    data[int(random.integers(128, len(data)))] ^= 1 << int(random.integers(8))
    return bytes(data)


@pytest.mark.parametrize("array", ["id_offsets", "id_text", "term_offsets", "term_max_impacts", "posting_docs"])
def test_flipped_bits_with_all_hashes_anew(array: str, index: Path) -> None:
    """`verify` sees each, or there is nothing to see: ids of other names in order, postings of other documents."""
    file = index / SEGMENT / f"{array}.npy"
    data = file.read_bytes()
    missed = 0
    for seed in range(40):
        file.write_bytes(flipped(file, seed))
        reseal(index)
        try:
            verify(index)
        except OutputError as error:
            assert "damaged" in str(error)  # noqa: PT017
        else:
            missed += 1
            offsets, text = (np.load(index / SEGMENT / f"{name}.npy") for name in ("id_offsets", "id_text"))
            names = [text[offsets[i] : offsets[i + 1]].tobytes().decode() for i in range(200)]
            assert sorted(set(names)) == names
            found = ExactEngine.open(index).search(QUERY, 500)
            by_score = sorted((-(1 + i % 5), name) for i, name in enumerate(names) if i != 4)
            if array.startswith("id"):
                assert found.ids[0] == [name for _, name in by_score]
        file.write_bytes(data)
    if array not in ("id_text", "posting_docs"):
        assert missed == 0  # of these, nothing but the right one is consistent


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"ac", "id 'a' occurs twice"),  # which the other segment has as well
        (b"dc", "ids ascend, each once"),
        (b"cc", "ids ascend, each once"),
        (b"c\xff", "is not UTF-8"),
    ],
)
def test_ids_that_are_none(text: bytes, message: str, tmp_path: Path) -> None:
    index = build(tmp_path / "idx", ["a", "b"])
    lines = [f'{{"id":"{name}","contents":"","vector":{{"0":7}}}}\n' for name in "cd"]
    (tmp_path / "more.jsonl").write_text("".join(lines))
    append(tmp_path / "more.jsonl", index)
    file = index / "segments" / "000002" / "id_text.npy"
    file.write_bytes(file.read_bytes()[:-2] + text)
    reseal(index)
    for action in (verify, compact):
        with pytest.raises(OutputError, match=message):
            action(index)


def test_a_photograph_does_not_lie_outside_of_its_folder(tmp_path: Path) -> None:
    build(tmp_path / "idx", ["../secret.jpg", "/etc/passwd", "a/b.jpg", "a/../../c.jpg"])
    with Index.open(tmp_path / "idx", images=tmp_path) as index:
        paths = {hit.id: hit.path for hit in index.hits(QUERY, index.rank(QUERY))[0]}
    assert {name for name, path in paths.items() if path is not None} == {"a/b.jpg"}
    assert paths["a/b.jpg"] == tmp_path / "a" / "b.jpg"


@pytest.mark.parametrize("content", ["[" * 50_000, '{"images":' * 9_000, "7", None])
def test_a_note_of_where_the_photographs_lie_that_is_none(content: str | None, index: Path) -> None:
    if content is None:
        os.mkfifo(index / "images.json")
    else:
        (index / "images.json").write_text(content)
    with Index.open(index) as opened, pytest.raises(OutputError, match=r"images\.json: damaged \(.*remove it"):
        opened.hits(QUERY, opened.rank(QUERY))


@pytest.mark.parametrize("kind", ["FIFO", "link"])
def test_records_of_other_engines_that_are_no_files(kind: str, tmp_path: Path) -> None:
    (tmp_path / "idx" / "lucene").mkdir(parents=True)
    (tmp_path / "elsewhere.json").write_text("{}")
    (tmp_path / "dense").touch()
    for path in (tmp_path / "idx" / "lexlip.json", tmp_path / "dense.json"):
        os.mkfifo(path) if kind == "FIFO" else path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(OutputError, match=r"lexlip\.json: is a"):
        describe_index(tmp_path / "idx")
    with pytest.raises(OutputError, match=r"dense\.json: (is a FIFO|damaged, or of another version)"):
        read_dense_record(tmp_path / "dense")
