"""Parquet's row groups, schema and metadata, as pyarrow reads them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lexlip_infer.errors import MissingExtra
from lexlip_infer.formats import FORMATS, FormatSettings
from lexlip_infer.vocabulary import Vocabulary
from lexlip_kernels import ImpactMatrix

Documents = dict[str, dict[int, int]]


@pytest.fixture
def parquet() -> Any:
    return pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'lexlip-infer[io]'")


@pytest.mark.parametrize("chunk", [9_999, 75_000])
def test_row_groups(chunk: int, parquet: Any, vocabulary: Vocabulary) -> None:
    count = 75_000
    terms, impacts = np.arange(count, dtype=np.int32) % 15, np.arange(1, count + 1, dtype=np.int32)
    writer = FORMATS["parquet"].open(vocabulary, FormatSettings())
    data = b""
    for start in range(0, count, chunk):
        end = min(start + chunk, count)
        matrix = ImpactMatrix(
            np.arange(end - start + 1, dtype=np.int64), terms[start:end], impacts[start:end], len(vocabulary)
        )
        data += writer.add([f"d{number}" for number in range(start, end)], matrix)
        assert len(data) > 100_000 or end < 32_768, "full row groups do not wait for the end"
    data += b"".join(writer.finish())
    file = parquet.ParquetFile(io.BytesIO(data))
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [32_768, 32_768, 9_464]
    table = file.read()
    assert table["id"].to_pylist() == [f"d{number}" for number in range(count)]
    assert table["indices"].combine_chunks().flatten().to_numpy().tolist() == terms.tolist()
    assert table["values"].combine_chunks().flatten().to_numpy().tolist() == impacts.tolist()


def test_schema_and_tokens(
    parquet: Any, write: Callable[..., bytes], documents: Documents, vocabulary: Vocabulary
) -> None:
    table = parquet.read_table(io.BytesIO(write("parquet", documents, tokens=True, scale=51.2)))
    for row, vector in zip(table.to_pylist(), documents.values(), strict=True):
        assert row["tokens"] == [vocabulary.terms[term] for term in vector]
    text = "".join(f"{term}\n" for term in vocabulary.terms).encode()
    assert table.schema.metadata == {
        b"lexlip.vocab_size": b"15",
        b"lexlip.vocabulary_sha256": hashlib.sha256(text).hexdigest().encode(),
        b"lexlip.scale": b"51.2",
    }
    plain = parquet.read_schema(io.BytesIO(write("parquet", documents)))
    assert plain.names == ["id", "indices", "values"]
    assert [str(plain.field(i).type.value_type) for i in (1, 2)] == ["int32", "int32"]
    assert b"lexlip.scale" not in plain.metadata


def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch, vocabulary: Vocabulary) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'lexlip-infer\[io\]'"):
        FORMATS["parquet"].open(vocabulary, FormatSettings())
