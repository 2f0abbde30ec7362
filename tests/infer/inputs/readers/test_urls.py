"""Collections behind URLs: the same items as from a folder here, and every error of a store in one line."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer.errors import InputError, MissingExtra
from lexlip_infer.inputs.items import BadItem, ImageItem
from lexlip_infer.inputs.readers import open_images, open_texts, places
from lexlip_infer.inputs.readers.places import fetched, place_of

fsspec = pytest.importorskip("fsspec", reason="the extra io is not installed")

Shard = Callable[[Path, Sequence[tuple[str, bytes]]], Path]
Ids = Callable[[Any], list[str]]

FILES = {
    "in/a.png": b"a",
    "in/b/c.png": b"c",
    "in/b/.hidden.png": b"h",
    "in/b.png": b"b",
    "in/b.txt": b"a caption",
    "t.jsonl": json.dumps({"id": 1, "text": "x"}).encode(),
}


@pytest.fixture
def bucket(tmp_path: Path, shard: Shard) -> Iterator[str]:
    store = fsspec.filesystem("memory")
    for name, data in FILES.items():
        store.pipe(f"/bucket/{name}", data)
    for number in range(2):
        shard(tmp_path / "s.tar", [(f"{number}.jpg", b"x"), (f"{number}.txt", b"y")])
        store.pipe(f"/bucket/s/{number:02}.tar", (tmp_path / "s.tar").read_bytes())
    yield "memory://bucket"
    store.rm("/bucket", recursive=True)


class TestStore:
    def test_folders_and_patterns(self, bucket: str, ids: Ids) -> None:
        reader = open_images([f"{bucket}/in"])
        items = list(reader)
        assert items[0] == ImageItem("a.png", "memory:///bucket/in/a.png", b"a", 1)
        assert [item.id for item in items] == ["a.png", "b.png", "b/c.png"]
        assert (reader.count, reader.passed_over) == (3, "1 other file passed over: 1 x .txt")
        assert ids(open_images([f"{bucket}/in/**/c*.png"])) == ["b/c.png"]
        assert ids(open_images([f"{bucket}/in/a.png"])) == ["a.png"]

    def test_shards(self, bucket: str, ids: Ids) -> None:
        assert ids(open_images([f"{bucket}/s/{{00..01}}.tar"])) == ids(open_images([f"{bucket}/s/*.tar"])) == ["0", "1"]
        assert ids(open_texts([f"{bucket}/s/*.tar"])) == ["0", "1"]

    def test_a_missing_shard_is_one_bad_item(self, bucket: str, ids: Ids) -> None:
        assert ids(open_images([f"{bucket}/s/{{00..02}}.tar"])) == ["0", "1", "!02.tar"]

    def test_parquet(self, bucket: str, tmp_path: Path, ids: Ids) -> None:
        pa = pytest.importorskip("pyarrow", reason="the extra io is not installed")
        pq = pytest.importorskip("pyarrow.parquet", reason="the extra io is not installed")
        pq.write_table(pa.table({"image": [b"x", b"y"]}), tmp_path / "p.parquet")
        fsspec.filesystem("memory").pipe("/bucket/p.parquet", (tmp_path / "p.parquet").read_bytes())
        assert ids(open_images([f"{bucket}/p.parquet"])) == ["p.parquet:0", "p.parquet:1"]

    def test_texts_and_captions(self, bucket: str, ids: Ids) -> None:
        assert ids(open_texts([f"{bucket}/t.jsonl"])) == ["1"]
        (caption,) = open_texts([f"{bucket}/in"])
        assert (caption.id, getattr(caption, "text", None)) == ("b.png", "a caption")

    def test_in_a_list(self, bucket: str, tmp_path: Path) -> None:
        (tmp_path / "here.png").touch()
        lines = [f"{bucket}/in/a.png", f"{bucket}/none.png\tN", str(tmp_path / "here.png"), f"{bucket}/in/b.png\tB"]
        (tmp_path / "list.txt").write_text("\n".join([*lines, "foo://x"]))
        a, none, here, b, foo = open_images([str(tmp_path / "list.txt")])
        assert (a.id, getattr(a, "source", None)) == (f"{bucket}/in/a.png", b"a")
        assert isinstance(none, BadItem)
        assert none.id == "N"
        assert isinstance(here, ImageItem)
        assert (b.id, getattr(b, "source", None)) == ("B", b"b")
        assert foo == BadItem("foo://x", "foo://x", "cannot be opened (ValueError: Protocol not known: foo)")

    def test_beside_local_ones(self, bucket: str, tmp_path: Path, ids: Ids) -> None:
        (tmp_path / "here.png").touch()
        first, *_, last = ids(open_images([str(tmp_path), f"{bucket}/in"]))
        assert first == f"{tmp_path}/here.png".removeprefix("/")
        assert last == "memory/bucket/in/b/c.png"

    def test_file_urls_are_paths(self, tmp_path: Path) -> None:
        (tmp_path / "here.png").touch()
        (item,) = open_images([f"file://{tmp_path}"])
        assert getattr(item, "source", None) == tmp_path / "here.png"

    def test_too_large(self, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(places, "MAX_FILE_BYTES", 0)
        item = next(iter(open_images([f"{bucket}/in"])))
        assert item == BadItem("a.png", "memory:///bucket/in/a.png", places.too_large(0))


class TestErrors:
    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("memory://nowhere/x.tar", "memory://nowhere/x.tar: no such file or folder"),
            ("nonsense://x", r"nonsense://x: cannot be opened \(ValueError: Protocol not known"),
            ("memory://nowhere/*.png", "cannot be read|no images"),
        ],
    )
    def test_in_one_line(self, spec: str, message: str) -> None:
        with pytest.raises(InputError, match=message) as caught:
            open_images([spec])
        assert len(str(caught.value).splitlines()) == 1

    def test_a_store_that_fails_in_the_middle(self, bucket: str, monkeypatch: pytest.MonkeyPatch, ids: Ids) -> None:
        store = fsspec.filesystem("memory")
        real = type(store)._open

        def fail(self: Any, path: str, *args: Any, **options: Any) -> Any:
            if path.endswith("b.png"):
                raise RuntimeError("the network\nis down")
            return real(self, path, *args, **options)

        monkeypatch.setattr(type(store), "_open", fail)
        items = list(open_images([f"{bucket}/in"]))
        assert items[1] == BadItem(
            "b.png", "memory:///bucket/in/b.png", "cannot be read (RuntimeError: the network is down)"
        )
        assert [item.id for item in items] == ["a.png", "b.png", "b/c.png"]

    def test_without_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
        with pytest.raises(MissingExtra, match=r"pip install 'lexlip-infer\[io\]'"):
            open_images(["s3://bucket/x"])

    def test_without_the_module_of_the_protocol(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
        with pytest.raises(MissingExtra, match=r"gs://bucket/x: .*gcsfs"):
            open_images(["gs://bucket/x"])

    def test_no_password_in_a_message(self) -> None:
        class Web:
            def unstrip_protocol(self, path: str) -> str:
                return f"https://me:secret@{path}"

        assert str(places.RemotePlace(Web(), "host/a@b.png")) == "https://host/a@b.png"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


def test_over_http(tmp_path: Path, shard: Shard, ids: Ids) -> None:
    pytest.importorskip("aiohttp", reason="the extra io is not installed")
    (tmp_path / "a.png").write_bytes(b"a")
    shard(tmp_path / "s.tar", [("k.jpg", b"x")])
    (tmp_path / "list.txt").write_text("a.png")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert ids(open_images([f"{url}/a.png?token=x"])) == ["a.png"]
        assert ids(open_images([f"{url}/s.tar"])) == ["k"]
        with pytest.raises(InputError, match="no such file or folder"):
            open_images([f"{url}/none.tar"])
        server.shutdown()


class TestFetching:
    def test_order_and_bound(self) -> None:
        begun = 0

        def places_() -> Iterator[int]:
            nonlocal begun
            for number in range(50):
                begun += 1
                yield number

        for taken, result in enumerate(fetched(places_(), lambda number: number * 2)):
            assert result == 2 * taken
            assert begun <= taken + places._AHEAD

    def test_an_error_comes_through_and_no_thread_stays(self) -> None:
        with pytest.raises(ZeroDivisionError):
            list(fetched([1, 0, 2], lambda number: 1 // number))
        for thread in threading.enumerate():
            if thread.name.startswith("fetch"):
                thread.join(timeout=60)
                assert not thread.is_alive()


def test_names_of_places() -> None:
    assert place_of("memory://bucket/in/a.png").name == "a.png"
    assert str(place_of("memory://bucket/in/").parent) == "memory:///bucket"
