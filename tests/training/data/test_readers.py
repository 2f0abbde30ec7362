"""Every layout to the same table, and one clear line about any file that is none."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lexlip_infer.datasets import read_captions_file, webdataset
from lexlip_kernels.errors import ImageError, InputError, LexLIPError
from lexlip_training.data import PairTable, SourceConfig, read_pairs
from lexlip_training.data.reading import PackedStrings

HEADER = "title\tfilepath\timage_id\n"


def read(path: Path | str, split: str = "train", **options: object) -> PairTable:
    return read_pairs([SourceConfig.model_validate({"path": str(path), **options})], split)  # type: ignore[arg-type]


def pairs(table: PairTable) -> list[tuple[str, list[str]]]:
    return [
        (table.origin(image), [table.captions[row] for row in rows]) for image, rows in enumerate(table.captions_of())
    ]


def jpeg(colour: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (20, 10), colour).save(data, "jpeg")
    return data.getvalue()


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return path


def test_official_table_gathers_captions_by_image_id(tmp_path: Path) -> None:
    table = tmp_path / "coco_train.tsv"
    table.write_text(HEADER + 'A dog.\ta/1.jpg\t7\n"A ""red"" cat."\ta/2.jpg\t8\n\nThe dog.\ta/1.jpg\t7\n')
    assert pairs(read(table)) == [
        (str(tmp_path / "a/1.jpg"), ["A dog.", "The dog."]),
        (str(tmp_path / "a/2.jpg"), ['A "red" cat.']),
    ]
    assert read(table).owner.tolist() == [0, 0, 1]
    assert read(table, images="/photos").origin(1) == "/photos/a/2.jpg"


@pytest.mark.parametrize("header", ["title\tfilepath\n{0}\n", "filepath\ttitle\timage_id\n{0}\n"])
def test_official_table_without_ids_goes_by_path(tmp_path: Path, header: str) -> None:
    named = "image_id" in header
    rows = ["b.jpg\tx\t-100", "a.jpg\ty\t-100", "b.jpg\tz\t-100"] if named else ["x\tb.jpg", "y\ta.jpg", "z\tb.jpg"]
    table = tmp_path / "Train_GCC-training_output.csv"
    table.write_text(header.format("\n".join(rows)))
    assert [captions for _, captions in pairs(read(table))] == [["x", "z"], ["y"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line names nothing"),
        ("title\tpath\nx\ty\n", "the first line names title, path"),
        (HEADER + "x\ty\n", r":2: 2 instead of 3 columns"),
        (HEADER + "x\ty.jpg\tseven\n", r":2: image_id 'seven'"),
        (HEADER + " \ty.jpg\t1\n", r":2: an empty title"),
        (HEADER + "x\t\t1\n", r":2: an empty filepath"),
        (HEADER + "x\ta.jpg\t1\ny\tb.jpg\t1\n", r":3: image_id 1 stands for 'b.jpg' here and for 'a.jpg' before"),
        (HEADER + '"x\ta.jpg\t1\n', "unexpected end of data"),
        (HEADER, "no captions; expected a header"),
    ],
)
def test_malformed_official_tables(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        read(tmp_path / "t.tsv")


def karpathy(folder: Path, images: object) -> Path:
    (folder / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    return folder / "dataset_coco.json"


def test_karpathy_splits(tmp_path: Path) -> None:
    images = [
        {"filename": f"{split}.jpg", "filepath": "val2014", "split": split, "sentences": [{"raw": split, "tokens": []}]}
        for split in ("test", "restval", "val", "train")
    ]
    file = karpathy(tmp_path, images)
    assert [captions for _, captions in pairs(read(file))] == [["restval"], ["train"]]
    assert pairs(read(file, "dev")) == [(str(tmp_path / "val2014/val.jpg"), ["val"])]
    assert pairs(read(file, "dev", splits=["test"])) == [(str(tmp_path / "val2014/test.jpg"), ["test"])]
    with pytest.raises(InputError, match="no image of split 'nothing'; there are 'restval', 'test', 'train', 'val'"):
        read(file, splits=["nothing"])


@pytest.mark.parametrize(
    "images",
    [
        {},
        ["x"],
        [{"filename": "x", "split": "train", "sentences": []}],
        [{"filename": 1, "split": "train", "sentences": [{"raw": "x"}]}],
        [{"filename": "x", "split": "train", "sentences": ["x"]}],
        [{"filename": "x", "sentences": [{"raw": "x"}]}],
    ],
)
def test_malformed_karpathy(tmp_path: Path, images: object) -> None:
    with pytest.raises(InputError, match="expected"):
        read(karpathy(tmp_path, images))


def test_captions_folder(tmp_path: Path) -> None:
    rows = [{"image": "i/1.jpg", "captions": ["a", "b"], "split": "train"}]
    rows += [{"image": "i/2.jpg", "captions": ["c"], "split": "dev"}]
    (tmp_path / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert pairs(read(tmp_path)) == [(str(tmp_path / "i/1.jpg"), ["a", "b"])]
    assert pairs(read(tmp_path / "captions.jsonl", "dev")) == [(str(tmp_path / "i/2.jpg"), ["c"])]
    assert read(tmp_path, images="/p").origin(0) == "/p/i/1.jpg"


def test_shards_are_indexed_once_and_read_in_place(tmp_path: Path) -> None:
    members = {
        "x/001.jpg": jpeg("red"),
        "x/001.txt": b" a red field \n",
        "x/002.json": json.dumps({"captions": ["blue", "sky"]}).encode(),
        "x/002.JPG": jpeg("blue"),
        "x/003.jpg": jpeg("green"),  # nobody wrote about it
        "README.txt": b"not a sample",
    }
    shard = write_tar(tmp_path / "00.tar", members)
    write_tar(tmp_path / "01.tar", {"1.png": b"no image at all", "1.txt": b"text"})
    table = read(tmp_path / "{00..01}.tar")
    assert [captions for _, captions in pairs(table)] == [["a red field"], ["blue", "sky"], ["text"]]
    assert table.image_source(1) == members["x/002.JPG"]
    index = tmp_path / "00.tar.index.jsonl"
    before = index.stat().st_mtime_ns
    assert pairs(read(tmp_path / "*.tar")) == pairs(table)
    assert index.stat().st_mtime_ns == before
    write_tar(shard, {"9.jpg": jpeg("red"), "9.txt": b"new"})  # another archive: the index is of no use
    assert pairs(read(shard))[0][1] == ["new"]
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def test_a_shortened_index_is_made_again(tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "a.tar", {"1.jpg": jpeg("red"), "1.txt": b"x", "2.jpg": jpeg("red"), "2.txt": b"y"})
    whole = pairs(read(shard))
    index = tmp_path / "a.tar.index.jsonl"
    index.write_text("".join(index.read_text().splitlines(keepends=True)[:-1]))
    assert pairs(read(shard)) == whole


def test_a_shard_that_shrank_after_its_index(tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "a.tar", {"1.jpg": jpeg("red"), "1.txt": b"x"})
    table = read(shard)
    shard.write_bytes(shard.read_bytes()[:600])
    with pytest.raises(ImageError, match="breaks off"):
        table.image_source(0)


def test_malformed_shards(tmp_path: Path) -> None:
    compressed = write_tar(tmp_path / "c.tar", {"1.jpg": jpeg("red"), "1.txt": b"x"}, "w:gz")
    text = tmp_path / "t.tar"
    text.write_text("x" * 2000)
    empty = write_tar(tmp_path / "e.tar", {"1.jpg": jpeg("red")})
    broken = write_tar(tmp_path / "b.tar", {"1.jpg": jpeg("red"), "1.json": b"{"})
    for shard in (compressed, text, empty, broken):
        with pytest.raises(InputError, match=r"expected an uncompressed tar of samples"):
            read(shard)


def samples(count: int) -> dict[str, bytes]:
    pairs = [
        (f"{i:03}.jpg", jpeg("red")) if n == 0 else (f"{i:03}.txt", b"%d" % i) for i in range(count) for n in (0, 1)
    ]
    return dict(pairs)


def test_a_damaged_or_cut_shard_is_an_error_and_leaves_no_index(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "whole.tar", samples(6)).read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as archive:
        third = archive.getmembers()[6].offset
    damaged = bytearray(whole)
    damaged[third + 150] ^= 0xFF
    for data in (bytes(damaged), whole[:third], whole[: third + 700], whole[: third + 100]):
        (tmp_path / "a.tar").write_bytes(data)
        with pytest.raises(
            InputError, match=r"a\.tar: the archive cannot be read further .*; expected an uncompressed tar"
        ):
            read(tmp_path / "a.tar")
        assert not (tmp_path / "a.tar.index.jsonl").exists()


def test_joined_shards_are_read_to_the_end(tmp_path: Path) -> None:
    parts = [{f"{part}{name}": data for name, data in samples(2).items()} for part in "ab"]
    data = [write_tar(tmp_path / f"{number}.tar", members).read_bytes() for number, members in enumerate(parts)]
    (tmp_path / "both.tar").write_bytes(b"".join(data))
    table = read(tmp_path / "both.tar")
    assert [captions for _, captions in pairs(table)] == [["0"], ["1"]] * 2
    assert [table.image_source(image) for image in range(4)] == [jpeg("red")] * 4


def test_an_index_of_a_reader_that_took_damage_for_an_end_is_made_again(tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "a.tar", samples(3))
    read(shard)
    index = tmp_path / "a.tar.index.jsonl"
    head, first, *_ = index.read_text().splitlines()
    old = {**json.loads(head), "version": 1, "samples": 1}
    index.write_text(f"{json.dumps(old)}\n{first}\n")
    assert read(shard).images == 3


@pytest.mark.parametrize(
    "line",
    [
        *("{}", "[]", "[" * 100_000),
        *('{"offset": -1, "size": 3, "captions": ["x"]}', '{"offset": 0, "size": 1e30, "captions": ["x"]}'),
        *('{"offset": 0, "size": 3, "captions": [1]}', '{"offset": "a", "size": 3, "captions": ["x"]}'),
    ],
)
def test_an_index_of_a_stranger_is_made_again(line: str, tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "a.tar", samples(1))
    whole = pairs(read(shard))
    index = tmp_path / "a.tar.index.jsonl"
    head, mine = index.read_text().splitlines()
    index.write_text(f"{head}\n{line}\n")
    assert pairs(read(shard)) == whole
    assert index.read_text().splitlines() == [head, mine]


@pytest.mark.parametrize("names", [["017.jpg", "017.seg.png"], ["017.seg.png", "017.jpg"], ["017.seg.png"]])
def test_the_photograph_of_a_sample_with_masks(tmp_path: Path, names: list[str]) -> None:
    shard = write_tar(tmp_path / "s.tar", {**{name: name.encode() for name in names}, "017.txt": b"a red square"})
    assert read(shard).image_source(0) == (b"017.jpg" if "017.jpg" in names else b"017.seg.png")


@pytest.mark.parametrize("names", [["017.jpg", "017.png", "017.seg.png"], ["017.depth.png", "017.seg.png"]])
def test_two_images_that_could_be_the_photograph(tmp_path: Path, names: list[str]) -> None:
    shard = write_tar(tmp_path / "s.tar", {**{name: name.encode() for name in names}, "017.txt": b"a red square"})
    with pytest.raises(InputError, match=f"{names[0]} and {names[1]} could both be the image of one sample"):
        read(shard)


def test_malformed_captions_of_a_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (b"\xff", b"{", b"[" * 100_000):
        shard = write_tar(tmp_path / "a.tar", {"1.jpg": jpeg("red"), "1.json": data})
        with pytest.raises(InputError, match=r"a\.tar: the caption 1\.json is malformed"):
            read(shard)
    monkeypatch.setattr(webdataset, "LONGEST", 10)
    shard = write_tar(tmp_path / "b.tar", {"1.jpg": jpeg("red"), "1.txt": b"eleven char"})
    with pytest.raises(InputError, match=r"the caption 1\.txt has more than"):
        read(shard)


def test_evaluation_and_training_read_a_table_alike(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(HEADER + "x\ta.jpg\t1\ny\tb.jpg\t2\nz\ta.jpg\t1\n")
    data = read_captions_file(tmp_path / "t.tsv")
    assert [
        (str(image), [data.captions[row] for row in rows])
        for image, rows in zip(data.images, data.captions_of(), strict=True)
    ] == pairs(read(tmp_path / "t.tsv"))


def test_what_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "a.zip").touch()
    (tmp_path / "a.tsv").write_text(HEADER + "x\ty\t1\n")
    for path, message in (("a.zip", "of no known layout"), ("b.tsv", "does not exist"), ("*.tar", "no file matches")):
        with pytest.raises(InputError, match=message):
            read(tmp_path / path)
    with pytest.raises(InputError, match="official_tsv files hold one split each"):
        read(tmp_path / "a.tsv", splits=["train"])
    with pytest.raises(InputError, match="no dev pairs"):
        read_pairs([], "dev")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), suffix=st.sampled_from([".tsv", ".json", ".jsonl", ".tar"]), header=st.booleans())
def test_any_bytes_end_in_pairs_or_one_line(tmp_path: Path, data: bytes, suffix: str, header: bool) -> None:
    file = tmp_path / f"x{suffix}"
    file.write_bytes(HEADER.encode() + data if header and suffix == ".tsv" else data)
    message, images = "", 0
    try:
        images = read(file).images
    except LexLIPError as error:
        message = str(error)
    assert bool(images) != message.startswith((str(tmp_path), "no train pairs"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(captions=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(str.strip)))
def test_official_table_round_trip(tmp_path: Path, captions: list[str]) -> None:
    with (tmp_path / "t.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerows([["title", "filepath"], *([caption, "a.jpg"] for caption in captions)])
    if captions:
        assert pairs(read(tmp_path / "t.tsv")) == [(str(tmp_path / "a.jpg"), captions)]


@given(st.lists(st.text()))
def test_packed_strings(strings: list[str]) -> None:
    packed = PackedStrings(strings)
    assert [packed[row] for row in range(len(packed))] == strings
    with pytest.raises(IndexError):
        packed[len(strings)]
