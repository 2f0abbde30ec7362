"""Parquet: columns found or named, ids, rows and files that are damaged, and memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer.errors import InputError, MissingExtra
from lexlip_infer.inputs.items import BadItem, ImageItem, TextItem
from lexlip_infer.inputs.readers import open_images, open_texts, parquet, parquet_pages
from lexlip_infer.inputs.readers.parquet_pages import page_sizes

pa = pytest.importorskip("pyarrow", reason="the extra io is not installed")
pq = pytest.importorskip("pyarrow.parquet", reason="the extra io is not installed")

Ids = Callable[[Any], list[str]]
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def table(name: str = "p.parquet", row_group_size: int = 2, **columns: Any) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
        return str(path)

    return table


IMAGES = [b"zero", b"one", b"two"]


class TestImages:
    @pytest.mark.parametrize(
        "column",
        [
            pa.array(IMAGES),
            pa.array(IMAGES, pa.large_binary()),
            pa.array(IMAGES, pa.binary_view()),
            pa.array([{"bytes": data, "path": "x.jpg"} for data in IMAGES]),
        ],
        ids=["binary", "large binary", "binary view", "Hugging Face"],
    )
    def test_kinds_of_columns(self, column: Any, write: Write) -> None:
        path = write(caption=["a", "b", "c"], picture=column)
        reader = open_images([path])
        assert reader.count == 3
        assert list(reader) == [
            ImageItem(f"p.parquet:{i}", f"{path}:{i}", data, len(data)) for i, data in enumerate(IMAGES)
        ]
        assert list(reader) == list(reader)

    def test_ids(self, write: Write, ids: Ids) -> None:
        path = write(image=IMAGES, id=["a", "b", "c"], number=[7, 8, 9])
        assert ids(open_images([path])) == ["a", "b", "c"]
        assert ids(open_images([path], id_column="number")) == ["7", "8", "9"]

    def test_ids_of_several_files(self, write: Write, tmp_path: Path, ids: Ids) -> None:
        write("x/a.parquet", image=IMAGES)
        write("y/a.parquet", image=IMAGES)
        expected = [f"{folder}/a.parquet:{i}" for folder in "xy" for i in range(3)]
        assert ids(open_images([f"{tmp_path}/*/a.parquet"])) == expected
        assert ids(open_images([f"{tmp_path}/{{x,y}}/a.parquet"])) == expected
        assert open_images([f"{tmp_path}/*/*.parquet"]).count == 6

    def test_bad_rows_take_their_place(self, write: Write) -> None:
        items = list(open_images([write(image=[b"x", None, b"y", b"z"], id=["a", "b", None, "a"])]))
        assert [type(item).__name__ for item in items] == ["ImageItem", "BadItem", "BadItem", "BadItem"]
        errors = [item.error for item in items if isinstance(item, BadItem)]
        assert errors[0] == "the row has no image bytes"
        assert errors[1] == '"id" is missing; expected a string or a number'
        assert "a second time; the first is item 1" in errors[2]
        assert [item.id for item in items] == ["a", "b", "p.parquet:2", "a"]

    def test_a_path_without_bytes(self, write: Write) -> None:
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        (item,) = open_images([write(image=pa.array([{"bytes": None, "path": "x.jpg"}], kind))])
        assert isinstance(item, BadItem)
        assert item.error == "the row has no image bytes"

    @pytest.mark.parametrize(
        ("columns", "options", "message"),
        [
            ({"a": ["x"]}, {}, r"no column holds images; there are a$"),
            ({"a": [b"x"], "b": [b"y"]}, {}, r"2 columns hold images \(a, b\); name one with --image-column"),
            ({"a": [b"x"]}, {"image_column": "c"}, r"not one column 'c'; there are a"),
            ({"a": [b"x"], "n": [1]}, {"image_column": "n"}, r"the column 'n' holds no images"),
            ({"a": [b"x"]}, {"id_column": "key"}, r"not one column 'key'; there are a"),
            ({"a": pa.array([], pa.binary())}, {}, r"p\.parquet: no images"),
        ],
    )
    def test_refusals(self, columns: dict[str, Any], options: dict[str, str], message: str, write: Write) -> None:
        with pytest.raises(InputError, match=message):
            open_images([write(**columns)], **options)


class TestTexts:
    def test_texts(self, write: Write) -> None:
        path = write(caption=["a", None, "c"], n=[1, 2, 3])
        first, second, third = open_texts([path])
        assert first == TextItem("p.parquet:0", f"{path}:0", "a")
        assert second == BadItem("p.parquet:1", f"{path}:1", "the row has no text")
        assert isinstance(third, TextItem)

    def test_the_id_is_not_taken_for_the_text(self, write: Write) -> None:
        (item,) = open_texts([write(id=["i"], words=["w"])])
        assert (item.id, getattr(item, "text", None)) == ("i", "w")

    def test_kinds_of_columns(self, write: Write) -> None:
        for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())):
            (item,) = open_texts([write(text=pa.array(["x"]).cast(kind))])
            assert getattr(item, "text", None) == "x"

    def test_a_string_that_is_not_utf_8(self, write: Write) -> None:
        bad = pa.array([b"ok", b"caf\xe9", b"ok"]).view(pa.string())
        first, second, third = open_texts([write(text=bad)])
        assert isinstance(second, BadItem)
        assert '"text" is not UTF-8' in second.error
        assert isinstance(first, TextItem)
        assert isinstance(third, TextItem)


class TestDamage:
    def test_no_parquet_file(self, tmp_path: Path) -> None:
        (tmp_path / "p.parquet").write_bytes(b"PAR1 no, it is not PAR1")
        with pytest.raises(InputError, match=r"p\.parquet: not a Parquet file, or damaged \(Arrow"):
            open_images([str(tmp_path / "p.parquet")])

    def test_a_damaged_file_among_others(self, write: Write, tmp_path: Path, ids: Ids) -> None:
        for name in "abc":
            write(f"{name}.parquet", image=IMAGES[:1])
        (tmp_path / "b.parquet").write_bytes(b"PAR1")
        reader = open_images([f"{tmp_path}/*.parquet"])
        assert ids(reader) == ["a.parquet:0", "!b.parquet", "c.parquet:0"]
        assert reader.count is None

    def test_damage_in_the_middle_keeps_what_came_before(self, write: Write, tmp_path: Path) -> None:
        noise = [bytes([i]) * 3000 for i in range(64)]
        path = Path(write(image=noise, row_group_size=16))
        data = bytearray(path.read_bytes())
        offset = pq.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
        data[offset : offset + 40] = b"\xff" * 40
        path.write_bytes(bytes(data))
        *good, last = open_images([str(path)])
        assert [item.id for item in good] == [f"p.parquet:{i}" for i in range(32)]
        assert isinstance(last, BadItem)
        assert "cannot be read further" in last.error

    def test_another_schema_later_on(self, write: Write, tmp_path: Path) -> None:
        write("a.parquet", image=IMAGES[:1])
        write("b.parquet", other=["x"])
        _, last = open_images([f"{tmp_path}/*.parquet"])
        assert isinstance(last, BadItem)
        assert last.error.startswith("no column holds images")


def test_without_the_extra(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(image=IMAGES)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtra, match=r"pip install 'lexlip-infer\[io\]'"):
        open_images([path])


def test_rows_are_not_read_all_at_once(write: Write) -> None:
    path = write(image=[bytes(100_000)] * 300, row_group_size=300)
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    most = 0
    for _ in open_images([path]):
        most = max(most, pool.bytes_allocated() - before)
    assert 0 < most < 12_000_000  # of 30 MB


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    table = pa.table([pa.array([b"x"]), pa.array(["i"]), pa.array(["j"])], names=["image", "id", "id"])
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(InputError, match="not one column 'id'; there are image, id, id"):
        open_images([str(tmp_path / "p.parquet")], id_column="id")


class TestPages:
    def test_their_sizes_are_those_that_were_written(self, write: Write) -> None:
        path = write(text=["a b", "b", "b", "c"] * 500, row_group_size=2000)
        chunk = pq.ParquetFile(path).metadata.row_group(0).column(0)
        with open(path, "rb") as file:  # noqa: PTH123
            sizes = list(page_sizes(file, chunk))
        assert len(sizes) == 2  # a dictionary, and numbers
        assert 0 < chunk.total_uncompressed_size - sum(sizes) < 200  # their headers

    def test_large_ones_are_refused(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write(image=[bytes(10), bytes(2**20 + 1), bytes(10)], row_group_size=1)
        assert len(list(open_images([path]))) == 3
        monkeypatch.setattr(parquet_pages, "MOST_OF_A_PAGE", 2**20)
        good, bad = open_images([path])
        assert good.id == "p.parquet:0"
        assert isinstance(bad, BadItem)
        assert bad.error.startswith("a page of 1 MiB, at most 1 are read")

    def test_of_large_ones_few_rows_are_read_together(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write(text=["a" * 1000] * 100, row_group_size=100)
        monkeypatch.setattr(parquet_pages, "_MOST_TOGETHER", 10_000)
        with open(path, "rb") as file:  # noqa: PTH123
            assert 8 <= parquet_pages.rows_together(file, pq.ParquetFile(path).metadata.row_group(0), ["text"]) <= 10
        assert len(list(open_texts([path]))) == 100

    def test_many_row_groups(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parquet, "_GROUPS", 3)
        path = write(image=[bytes([i]) for i in range(11)], row_group_size=2)
        assert [getattr(item, "source", None) for item in open_images([path])] == [bytes([i]) for i in range(11)]


def test_cells_that_are_too_large(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MAX_FILE_BYTES", 10)
    monkeypatch.setattr(parquet, "LONGEST", 10)
    path = write(image=[bytes(11), b"x"], text=["a" * 11, "x"])
    for bad, good in (open_images([path]), open_texts([path])):
        assert isinstance(bad, BadItem)
        assert "the most that is read" in bad.error
        assert not isinstance(good, BadItem)


@pytest.mark.parametrize("kind", ["image", "text"])
def test_ids_of_parts(kind: str, write: Write) -> None:
    path = write(id=[[1], [2]], image=[b"x", b"y"], text=["x", "y"])
    with pytest.raises(InputError, match="the column 'id' holds no ids"):
        (open_images if kind == "image" else open_texts)([path])


def test_parts_beside_the_bytes_are_not_read(write: Write) -> None:
    (item,) = open_images([write(image=[{"bytes": b"x", "junk": [["a"] * 9] * 9}])])
    assert getattr(item, "source", None) == b"x"
    with pytest.raises(InputError, match="no column holds images"):
        open_images([write(image=[{"bytes": {"bytes": b"x"}}])])
