"""A bundle's manifest comes from strangers: whatever it holds, it opens or is refused with one BundleError."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lexlip_infer.bundle import MANIFEST, Bundle, shipped_bundle
from lexlip_infer.errors import BundleError

GOOD: dict[str, Any] = json.loads((shipped_bundle() / MANIFEST).read_bytes())

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def check(folder: Path, data: bytes, limited: Any) -> None:
    (folder / MANIFEST).write_bytes(data)
    message, names = "", list[str]()
    try:
        with limited():
            names = list(Bundle.open(folder).manifest.files)
    except BundleError as error:
        message = str(error)
    assert "\n" not in message
    assert all((folder / name).resolve().is_relative_to(folder.resolve()) for name in names)


@in_one_folder
@given(data=st.binary(max_size=300))
def test_any_bytes(tmp_path: Path, limited: Any, data: bytes) -> None:
    check(tmp_path, data, limited)


@in_one_folder
@given(document=JSON)
def test_any_json(tmp_path: Path, limited: Any, document: Any) -> None:
    check(tmp_path, json.dumps(document).encode(), limited)


@in_one_folder
@given(field=st.sampled_from(sorted(GOOD)), value=JSON)
def test_one_field_of_a_good_one(tmp_path: Path, limited: Any, field: str, value: Any) -> None:
    check(tmp_path, json.dumps(GOOD | {field: value}).encode(), limited)


@in_one_folder
@given(name=st.text(max_size=30))
def test_names_of_files(tmp_path: Path, limited: Any, name: str) -> None:
    record = {"sha256": "0" * 64, "size": 1}
    check(tmp_path, json.dumps(GOOD | {"files": {name: record}}).encode(), limited)


@in_one_folder
@given(position=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_one_byte_of_a_good_one(tmp_path: Path, limited: Any, position: int, byte: int) -> None:
    data = bytearray((shipped_bundle() / MANIFEST).read_bytes())
    data[position % len(data)] = byte
    check(tmp_path, bytes(data), limited)
