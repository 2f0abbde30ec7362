"""Bundles on the Hugging Face hub, of which a small one runs on this machine: what is fetched, and what is said.

The hub's address and cache are read when its library is imported, so every test is a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

COMMIT = "a" * 40


class Hub(ThreadingHTTPServer):
    """Models are folders of `root`; one is gated, and one has a server that is ill."""

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.root = root
        self.fetched: list[str] = []
        self.tokens: set[str | None] = set()
        self.is_breaking_off = False


class _Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""

    def _answer(self, body: bool) -> None:
        if self.server.is_breaking_off:  # a socket that is closed at once, with a lingering time of none, is reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        self.server.tokens.add(self.headers["Authorization"])
        parts = self.path.partition("?")[0].strip("/").split("/")
        is_question = parts[:2] == ["api", "models"]
        owner, model, kind, revision, *rest = parts[2 * is_question :] + [""] * 4
        folder = self.server.root / owner / model
        file = folder / "/".join(filter(None, rest))
        if model == "gated":
            self._refuse(403, "GatedRepo")
        elif model == "ill":
            self._refuse(500, "")
        elif not folder.is_dir():
            self._refuse(401, "RepoNotFound")
        elif revision not in ("main", "v1", COMMIT):
            self._refuse(404, "RevisionNotFound")
        elif is_question and kind == "revision":
            self._send(json.dumps({"id": f"{owner}/{model}", "sha": COMMIT, "siblings": []}).encode(), body)
        elif is_question:
            self._send(json.dumps(_tree(folder)).encode(), body)
        elif file.is_file():
            if body:
                self.server.fetched.append(file.relative_to(folder).as_posix())
            self._send(file.read_bytes(), body)
        else:
            self._refuse(404, "EntryNotFound")

    def _send(self, data: bytes, body: bool) -> None:
        self.send_response(200)
        for name, value in (
            ("X-Repo-Commit", COMMIT),
            ("ETag", f'"{hashlib.sha1(data).hexdigest()}"'),
            ("Content-Length", str(len(data))),
        ):
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _tree(folder: Path) -> list[dict[str, Any]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        {"type": "file", "path": path.relative_to(folder).as_posix(), "size": path.stat().st_size, "oid": COMMIT}
        for path in files
    ]


@pytest.fixture
def hub(tmp_path: Path, bundle_folder: Path) -> Iterator[Hub]:
    root = tmp_path / "hub"
    bundle = Path(shutil.copytree(bundle_folder, root / "owner" / "bundle"))
    (bundle / "pytorch_model.bin").write_bytes(b"not of the bundle")
    (root / "owner" / "checkpoint").mkdir()
    for name in ("README.md", "config.json", "model.safetensors"):
        (root / "owner" / "checkpoint" / name).write_text("{}")
    with Hub(root) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


_OPEN = """
import json, sys
from lexlip_infer import Bundle, BundleError
try:
    print(Bundle.open(sys.argv[1], **json.loads(sys.argv[2])).folder)
except BundleError as error:
    print(f"refused: {error}")
"""


def opened(hub: Hub, tmp_path: Path, name: str, offline: bool = False, **options: str) -> str:
    """What `Bundle.open` prints in a process whose hub is this one: the folder, or its refusal."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")} | {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": str(int(offline)),
    }
    hub.fetched.clear()
    done = subprocess.run(
        [sys.executable, "-c", _OPEN, name, json.dumps(options)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


def test_fetches_the_files_of_the_manifest_once(hub: Hub, tmp_path: Path, bundle_folder: Path) -> None:
    folder = Path(opened(hub, tmp_path, "owner/bundle"))
    files = {path.relative_to(bundle_folder).as_posix() for path in bundle_folder.rglob("*") if path.is_file()}
    assert set(hub.fetched) == files
    assert folder.name == COMMIT
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == files
    assert opened(hub, tmp_path, "owner/bundle") == str(folder)
    assert hub.fetched == []
    assert opened(hub, tmp_path, "owner/bundle", offline=True) == str(folder)


def test_revision_token_and_cache(hub: Hub, tmp_path: Path) -> None:
    folder = opened(hub, tmp_path, "owner/bundle", revision="v1", token="hf_secret", cache_dir=str(tmp_path / "kept"))
    assert folder.startswith(str(tmp_path / "kept"))
    assert "Bearer hf_secret" in hub.tokens


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        (
            "owner/checkpoint",
            {},
            "owner/checkpoint: on the Hugging Face hub, but no LexLIP bundle",
        ),
        ("owner/none", {}, "the Hugging Face hub has no such model, or a private one"),
        ("owner/gated", {}, "on the Hugging Face hub it is gated: accept its terms there"),
        ("owner/bundle", {"revision": "v2"}, "on the Hugging Face hub it has no revision 'v2'"),
        ("owner/ill", {}, "the Hugging Face hub did not give it (Server error '500"),
        ("owner/-.-", {}, "the Hugging Face hub did not give it (Repo id must"),
    ],
)
def test_what_is_said(hub: Hub, tmp_path: Path, name: str, options: dict[str, str], said: str) -> None:
    answer = opened(hub, tmp_path, name, **options)
    assert answer.startswith("refused: ")
    assert said in answer
    assert "\n" not in answer
    assert "model.safetensors" not in hub.fetched


def test_off_line_is_called_that(hub: Hub, tmp_path: Path) -> None:
    said = "the Hugging Face hub cannot be reached, nor is the model in its cache: go online, or give a folder"
    assert said in opened(hub, tmp_path, "owner/bundle", offline=True)
    hub.shutdown()  # while it listens, the system takes connections for it, closed or not
    hub.server_close()
    assert said in opened(hub, tmp_path, "owner/bundle")


def test_a_connection_that_breaks_off_is_no_connection(hub: Hub, tmp_path: Path) -> None:
    opened(hub, tmp_path, "owner/bundle")
    hub.is_breaking_off = True
    assert "snapshots" in opened(hub, tmp_path, "owner/bundle")  # what is in the cache needs no hub
    assert "the Hugging Face hub cannot be reached" in opened(hub, tmp_path, "owner/another")
