"""Three kinds of files say the same; each is refused in one line that names the place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer.datasets import PROTOCOLS, CaptionedImages, caption_files, read_captions_file
from lexlip_infer.errors import InputError

ROWS = [("x/a.jpg", ["one", 'two "quoted"']), ("x/b.jpg", ["three"]), ("y/c.jpg", ["four", "five", "six"])]


def expected(folder: Path) -> CaptionedImages:
    return CaptionedImages.from_rows([(folder / path, captions) for path, captions in ROWS])


def karpathy(split: str = "test") -> dict[str, Any]:
    images: list[dict[str, Any]] = [
        {
            "filepath": path.split("/")[0],
            "filename": path.split("/")[1],
            "split": split,
            "sentences": [{"raw": caption, "tokens": []} for caption in captions],
        }
        for path, captions in ROWS
    ]
    unused = {"filename": "d.jpg", "split": "restval", "sentences": [{"raw": "unused"}]}
    return {"images": [images[0], unused, *images[1:]], "dataset": "coco"}


def table(numbered: bool = True) -> str:
    lines = ["title\tfilepath\timage_id"]
    pairs = [(path, caption) for path, captions in ROWS for caption in captions]
    pairs = [pairs[i] for i in (0, 2, 1, 3, 4, 5)]  # the captions of an image need not be adjacent
    for path, caption in pairs:
        quoted = '"' + caption.replace('"', '""') + '"' if '"' in caption else caption
        lines.append(f"{quoted}\t{path}\t{ord(path[2]) if numbered else -100}")
    return "\n".join(lines) + "\n"


def test_captions_jsonl(tmp_path: Path) -> None:
    rows = [{"image": path, "captions": captions, "split": "dev"} for path, captions in ROWS]
    (tmp_path / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_captions_file(tmp_path / "captions.jsonl") == expected(tmp_path)


def test_karpathy(tmp_path: Path) -> None:
    file = tmp_path / "dataset_coco.json"
    file.write_text(json.dumps(karpathy()))
    assert read_captions_file(file) == expected(tmp_path)
    assert read_captions_file(file, "restval").images == (tmp_path / "d.jpg",)


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("suffix", [".tsv", ".CSV"])
def test_official_tsv(suffix: str, numbered: bool, tmp_path: Path) -> None:
    file = tmp_path / f"coco_test{suffix}"
    file.write_text(table(numbered), encoding="utf-8-sig")
    assert read_captions_file(file) == expected(tmp_path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.tsv"])
def test_images_may_lie_elsewhere(name: str, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    text = {
        "a.jsonl": json.dumps({"image": "x/a.jpg", "captions": ["one"], "split": "dev"}),
        "a.json": json.dumps(karpathy()),
        "a.tsv": table(),
    }[name]
    (tmp_path / name).write_text(text)
    assert read_captions_file(tmp_path / name, images=tmp_path / "pictures").images[0] == tmp_path / "pictures/x/a.jpg"
    with pytest.raises(InputError, match="no such folder"):
        read_captions_file(tmp_path / name, images=tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{", "expected Karpathy's JSON"),
        ("a.json", "[]", "expected Karpathy's JSON"),
        ("a.json", '{"images": 3}', "expected Karpathy's JSON"),
        ("a.json", '{"images": []}', "no image of split 'test'; it has no images"),
        ("a.json", json.dumps(karpathy("val")), "no image of split 'test'; there are 'restval', 'val'"),
        ("a.json", '{"images": [3]}', r"images\[0\]: expected"),
        ("a.json", '{"images": [{"filename": "a", "split": "test", "sentences": []}]}', r"images\[0\]: file name"),
        ("a.json", '{"images": [{"filename": 1, "split": "test", "sentences": [{"raw": ""}]}]}', r"images\[0\]: file"),
        ("a.json", '{"images": [{"filename": "a", "split": [], "sentences": [{"raw": ""}]}]}', r"images\[0\]: file"),
        ("a.tsv", "", "the first line names nothing; expected tab-separated columns title, filepath"),
        ("a.tsv", "title\tfilepath\timage_id\n", "no captions; expected a header"),
        ("a.tsv", "title\tpath\na\tb\n", "the first line names title, path; expected tab-separated columns"),
        ("a.tsv", "title\tfilepath\nonly a title\n", ":2: 1 instead of 2 columns"),
        ("a.tsv", 'title\tfilepath\n"a"b\tc\n', r":2: '\\t' expected after '\"'; expected tab-separated columns"),
        ("a.tsv", "title\tfilepath\timage_id\nx\ta.jpg\t1\ny\tb.jpg\t1\n", ":3: image_id 1 stands for 'b.jpg' here"),
        ("a.tsv", "title\tfilepath\timage_id\nx\ta.jpg\tone\n", ":2: image_id 'one'; expected a whole number"),
        ("a.tsv", "title\tfilepath\n \ta.jpg\n", ":2: an empty title"),
        ("a.tsv", "title\tfilepath\nx\t\n", ":2: an empty filepath"),
    ],
)
def test_refused(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said):
        read_captions_file(tmp_path / name)


@pytest.mark.parametrize("kind", ["jsonl", "json", "tsv"])
def test_rows_of_one_file_are_of_one_photograph(kind: str, tmp_path: Path) -> None:
    rows = [("a.jpg", "one"), ("b.jpg", "two"), ("./a.jpg", "three")]
    lines = [{"image": path, "captions": [caption], "split": "dev"} for path, caption in rows]
    entries = [{"filename": path, "split": "test", "sentences": [{"raw": caption}]} for path, caption in rows]
    cells = [f"{caption}\t{path}\t{number}" for number, (path, caption) in enumerate(rows)]
    text = {
        "jsonl": "\n".join(map(json.dumps, lines)),
        "json": json.dumps({"images": entries}),
        "tsv": "\n".join(["title\tfilepath\timage_id", *cells]),
    }[kind]
    (tmp_path / f"a.{kind}").write_text(text)
    data = read_captions_file(tmp_path / f"a.{kind}")
    assert data == CaptionedImages.from_rows([(tmp_path / "a.jpg", ["one", "three"]), (tmp_path / "b.jpg", ["two"])])


def test_one_image_in_two_splits_is_of_both(tmp_path: Path) -> None:
    lines = [{"image": "a.jpg", "captions": [split], "split": split} for split in ("dev", "train", "dev")]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert read_captions_file(tmp_path / "a.jsonl", "dev").captions == ("dev", "dev")
    assert read_captions_file(tmp_path / "a.jsonl", "train").captions == ("train",)


def test_ids_of_a_table_may_be_missing(tmp_path: Path) -> None:
    table = "title\tfilepath\timage_id\nx\ta.jpg\t\ny\tb.jpg\t-100\nz\ta.jpg\t\n"
    (tmp_path / "a.tsv").write_text(table)
    assert read_captions_file(tmp_path / "a.tsv").captions == ("x", "z", "y")


def test_a_long_title_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('title\tfilepath\n"' + "dog\n" * 50_000 + '"\ta.jpg\n')
    assert read_captions_file(tmp_path / "a.tsv").captions == ("dog\n" * 50_000,)


def test_more_refusals(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"title\tfilepath\n\xff\tb\n")
    with pytest.raises(InputError, match="UTF-8"):
        read_captions_file(tmp_path / "a.tsv")
    with pytest.raises(InputError, match="one split by itself; leave --split dev out"):
        read_captions_file(tmp_path / "a.tsv", "dev")
    for name in ("b.tsv", "b.json"):
        with pytest.raises(InputError, match="cannot be read"):
            read_captions_file(tmp_path / name)


def test_protocols() -> None:
    data = CaptionedImages.from_rows([(Path(f"{i}"), list("abcdefg"[: 4 + i % 4])) for i in range(1000)])
    counted = PROTOCOLS["flickr30k"].apply(data)
    assert [len(rows) for rows in counted.captions_of()][:4] == [4, 5, 5, 5]
    assert counted.captions[4:9] == tuple("abcde")
    with pytest.raises(InputError, match="coco-1k is measured on 5,000 photographs, the file's split has 1,000"):
        PROTOCOLS["coco-1k"].apply(data)
    assert PROTOCOLS["coco-1k"].folds == 5


def test_folds_and_names() -> None:
    data = CaptionedImages.from_rows([(Path(f"/data/{name}"), ["", ""]) for name in ("a/1", "a/2", "b/1", "b/2")])
    assert data.fold_of_images(2).tolist() == [0, 0, 1, 1]
    with pytest.raises(InputError, match="4 photographs cannot be divided into 3"):
        data.fold_of_images(3)
    images, captions = data.names()
    assert images == ["a/1", "a/2", "b/1", "b/2"]
    assert captions[:3] == ["a/1#0", "a/1#1", "a/2#0"]
    mixed = CaptionedImages.from_rows([(Path("/data/1"), [""]), (Path("2"), [""]), (Path("/data/1"), [""])])
    with pytest.raises(InputError, match="/1 is listed twice"):
        mixed.names()


def test_captions_of() -> None:
    data = CaptionedImages(images=(), captions=(), owner=())
    assert data.captions_of() == []
    data = CaptionedImages((Path("a"), Path("b")), ("x", "y", "z"), (0, 1, 1))
    assert data.captions_of() == [[0], [1, 2]]


def test_karpathys_file_is_read_under_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_bytes(b" " * 101)
    monkeypatch.setattr(caption_files, "_LARGEST_KARPATHY", 100)
    with pytest.raises(InputError, match="larger than 0 MiB, the most that is read"):
        read_captions_file(tmp_path / "a.json")
