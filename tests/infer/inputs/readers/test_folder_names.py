"""The listing of a folder: complete, in an order that only names decide, and clear about what it cannot use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from lexlip_infer.errors import InputError
from lexlip_infer.inputs import image_files
from lexlip_infer.inputs.image_options import IMAGE_SUFFIXES
from lexlip_infer.inputs.items import BadItem, ImageItem
from lexlip_infer.inputs.readers import open_images


def fill(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def list_images(root: Path) -> list[ImageItem]:
    items = list(open_images([str(root)]))
    assert all(isinstance(item, ImageItem) for item in items)
    return items  # type: ignore[return-value]


def ids(root: Path) -> list[str]:
    return [item.id for item in list_images(root)]


def test_nested_and_ordered_by_code_point_of_the_whole_id(tmp_path: Path) -> None:
    names = [
        "b.jpg",
        "B.jpg",
        "a/z.png",
        "a.jpg",
        "a-1.jpg",
        "é.jpg",
        "z.jpg",
        "日本.jpg",
        "a/b/c.gif",
        "10.jpg",
        "9.jpg",
    ]
    fill(tmp_path, *reversed(names))
    assert ids(tmp_path) == sorted(names)
    assert ids(tmp_path)[:5] == ["10.jpg", "9.jpg", "B.jpg", "a-1.jpg", "a.jpg"]


def test_paths_lead_to_the_files(tmp_path: Path) -> None:
    fill(tmp_path, "a/b.jpg", "c.png")
    assert [item.source for item in list_images(tmp_path)] == [tmp_path / "a" / "b.jpg", tmp_path / "c.png"]


def test_ids_do_not_depend_on_how_the_root_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "in/a/b.jpg")
    monkeypatch.chdir(tmp_path)
    for root in (tmp_path / "in", Path("in"), Path("./in/"), Path("in/../in"), Path("in/a/..")):
        assert ids(root) == ["a/b.jpg"]


def test_every_suffix_in_any_case(tmp_path: Path) -> None:
    names = [f"{i}{suffix}" for suffix in IMAGE_SUFFIXES for i, suffix in enumerate((suffix, suffix.upper()))]
    fill(tmp_path, *names)
    assert ids(tmp_path) == sorted(names)


def test_hidden_files_and_folders_are_passed_over_but_not_a_hidden_root(tmp_path: Path) -> None:
    root = tmp_path / ".cache"
    fill(root, "a.jpg", ".b.jpg", "._a.jpg", ".jpg", ".thumbnails/c.jpg", "d/.e/f.jpg")
    assert ids(root) == ["a.jpg"]


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "a.txt", "jpg", "a.jpg.part", "a.svg")
    (tmp_path / "folder.jpg").mkdir()
    assert ids(tmp_path) == ["a.jpg"]


def test_links(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "in" / "away").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "file.jpg").symlink_to(tmp_path / "elsewhere" / "b.jpg")
    assert ids(tmp_path / "in") == ["a.jpg", "file.jpg"]


def test_only_regular_files(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "b.txt", "c.txt", ".hidden.txt")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "null.png").symlink_to("/dev/null")
    assert ids(tmp_path) == ["a.jpg"]
    reader = open_images([str(tmp_path)])
    assert len(list(reader)) == 1
    assert reader.passed_over == "5 other files passed over: 3 x no regular file, 2 x .txt"


def test_sizes(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg")
    (tmp_path / "b.jpg").write_bytes(bytes(7))
    (tmp_path / "c.jpg").symlink_to("b.jpg")
    assert [item.size for item in list_images(tmp_path)] == [0, 7, 7]


def test_suffixes_are_those_of_the_formats_that_are_decoded() -> None:
    Image.init()
    decoded = {suffix for suffix, kind in Image.registered_extensions().items() if kind in image_files.FORMATS}
    heif = {".heic", ".heics", ".heif", ".heifs", ".hif"}
    assert (decoded - {".pfm"}) | heif == set(IMAGE_SUFFIXES)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such a name")
def test_a_name_that_is_not_utf_8_is_listed(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    try:
        fill(tmp_path, "a.jpg", name)
    except OSError:
        pytest.skip("this file system refuses such a name")
    first, second = open_images([str(tmp_path)])
    assert isinstance(second, BadItem)
    assert (first.id, os.fsencode(second.id)) == ("a.jpg", b"caf\xe9.jpg")


def test_names_with_line_feeds_and_the_like(tmp_path: Path) -> None:
    names = ["a\nb.jpg", "a\tb.jpg", 'a"b.jpg', "a\\b.jpg", " .jpg", "-rf.jpg"]
    fill(tmp_path, *names)
    assert ids(tmp_path) == sorted(names)


def test_thousands_of_files(tmp_path: Path) -> None:
    for i in range(3000):
        (tmp_path / f"{i}.jpg").touch()
    assert ids(tmp_path) == sorted(f"{i}.jpg" for i in range(3000))


def test_no_images_says_what_was_looked_for_and_seen(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no images; looked for \.apng .*\.webp, saw no files at all"):
        list_images(tmp_path)
    fill(tmp_path, "a.TXT", "b/c.txt", "README", ".hidden.jpg", *(f"x.{kind}" for kind in "abcde"))
    with pytest.raises(InputError, match=r"saw 2 x \.txt, 1 x ") as caught:
        list_images(tmp_path)
    assert str(caught.value).count(" x ") == 5
    assert str(caught.value).endswith(", …")


def test_not_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent: no such file or folder"):
        list_images(tmp_path / "absent")
    with pytest.raises(InputError, match=r"cannot be read \(File name too long\)"):
        list_images(tmp_path / ("x" * 300))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_not_skipped(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "locked/b.jpg")
    (tmp_path / "locked").chmod(0)
    try:
        with pytest.raises(InputError, match=r"locked: cannot be read \(Permission denied\)"):
            list_images(tmp_path)
    finally:
        (tmp_path / "locked").chmod(0o700)


def test_a_folder_that_disappears_is_not_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a.jpg")
    denied = PermissionError(13, "Permission denied", str(tmp_path / "locked"))

    def scandir(path: str) -> object:
        raise denied

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=r"locked: cannot be read \(Permission denied\)"):
        list_images(tmp_path)
