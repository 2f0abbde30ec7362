"""Files read back with the engines' own clients, some of which hold a small engine: results equal integer dot products.

Each test skips where its client is missing: `pip install 'lexlip-infer[formats]'`. CIFF, whose readers are programs of
their own, is read by the published schema in `test_ciff.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexlip_infer.vocabulary import Vocabulary

Documents = dict[str, dict[int, int]]
Write = Callable[..., bytes]

pytestmark = pytest.mark.filterwarnings("ignore")  # of other people's libraries

QUERY = {3: 2, 7: 1, 9: 3}


def client(module: str) -> Any:
    return pytest.importorskip(
        module, reason=f"{module} is not installed: pip install 'lexlip-infer[formats]'", exc_type=ImportError
    )


@pytest.fixture
def scores(documents: Documents) -> dict[str, float]:
    """Dot products with QUERY of the documents that share a term with it."""
    found = {
        name: float(sum(weight * vector.get(term, 0) for term, weight in QUERY.items()))
        for name, vector in documents.items()
    }
    return {name: score for name, score in found.items() if score}


def test_qdrant(write: Write, documents: Documents, scores: dict[str, float]) -> None:
    qdrant, models = client("qdrant_client"), client("qdrant_client.models")
    engine = qdrant.QdrantClient(":memory:")
    engine.create_collection("images", sparse_vectors_config={"lexlip": models.SparseVectorParams()})
    for line in write("qdrant", documents).splitlines():
        request = models.PointsList.model_validate_json(line)
        engine.upsert("images", request.points)
    query = models.SparseVector(indices=list(QUERY), values=list(QUERY.values()))
    hits = engine.query_points("images", query, using="lexlip", limit=10, with_vectors=True).points
    assert {hit.payload["id"]: hit.score for hit in hits} == scores
    for hit in hits:
        vector = hit.vector["lexlip"]
        assert dict(zip(vector.indices, vector.values, strict=True)) == documents[hit.payload["id"]]
    assert engine.count("images").count == len(documents)


@pytest.fixture
def milvus_schema() -> Any:
    milvus = client("pymilvus")
    schema = milvus.MilvusClient.create_schema(auto_id=False)
    schema.add_field("id", milvus.DataType.VARCHAR, is_primary=True, max_length=65_535)
    schema.add_field("lexlip", milvus.DataType.SPARSE_FLOAT_VECTOR)
    return schema


def test_milvus_bulk_writer(write: Write, documents: Documents, milvus_schema: Any, tmp_path: Path) -> None:
    """Our rows are those of pymilvus' own writer, which checks them as it goes."""
    bulk = client("pymilvus.bulk_writer")
    writer = bulk.LocalBulkWriter(milvus_schema, str(tmp_path), file_type=bulk.BulkFileType.JSON)
    for name, vector in documents.items():
        writer.append_row({"id": name, "lexlip": {term: float(impact) for term, impact in vector.items()}})
    writer.commit()
    [[file]] = writer.batch_files
    assert json.loads(write("milvus", documents)) == json.loads(Path(file).read_bytes())


def test_milvus(
    write: Write, documents: Documents, scores: dict[str, float], milvus_schema: Any, tmp_path: Path
) -> None:
    milvus = client("pymilvus")
    client("milvus_lite")
    engine = milvus.MilvusClient(str(tmp_path / "milvus.db"))
    index = engine.prepare_index_params()
    index.add_index("lexlip", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    engine.create_collection("images", schema=milvus_schema, index_params=index)
    rows = json.loads(write("milvus", documents))["rows"]
    for row in rows:  # JSON's keys are strings; the server's import reads them as numbers
        row["lexlip"] = {int(term): impact for term, impact in row["lexlip"].items()}
    engine.insert("images", rows)
    [hits] = engine.search(
        "images", [{term: float(weight) for term, weight in QUERY.items()}], anns_field="lexlip", limit=10
    )
    assert {hit["id"]: hit["distance"] for hit in hits if hit["distance"]} == scores
    engine.close()


@pytest.mark.parametrize(("name", "module"), [("opensearch", "opensearchpy"), ("elasticsearch", "elasticsearch")])
def test_bulk(name: str, module: str, write: Write, documents: Documents, vocabulary: Vocabulary) -> None:
    """The client's helper makes the same lines of the same documents."""
    helpers, serializer = client(f"{module}.helpers"), client(f"{module}.serializer").JSONSerializer()
    lines = []
    for document, vector in documents.items():
        source = {"lexlip": {vocabulary.terms[term]: impact for term, impact in vector.items()}}
        action, body = helpers.expand_action({"_id": document, "_source": source})
        lines += [serializer.dumps(action), serializer.dumps(body)]
    ours = write(name, documents).decode().split("\n")
    assert ours.pop() == ""
    assert [serializer.loads(line) for line in ours] == [serializer.loads(line) for line in lines]


def test_pgvector(write: Write, documents: Documents, vocabulary: Vocabulary) -> None:
    vectors = client("pgvector").SparseVector
    for line, vector in zip(write("pgvector", documents).decode().split("\n"), documents.values(), strict=False):
        found = vectors.from_text(line.split("\t")[1])
        assert found == vectors({term: float(impact) for term, impact in vector.items()}, len(vocabulary))


def test_seismic(
    write: Write, documents: Documents, scores: dict[str, float], vocabulary: Vocabulary, tmp_path: Path
) -> None:
    seismic = client("seismic")
    path = tmp_path / "documents.jsonl"
    path.write_bytes(write("seismic", documents))
    index = seismic.SeismicIndex.build(str(path), n_postings=100, centroid_fraction=0.5, min_cluster_size=1)
    assert (index.len, index.nnz) == (len(documents), sum(map(len, documents.values())))
    hits = index.search(
        query_id="q",
        query_components=np.array([vocabulary.terms[term] for term in QUERY], seismic.get_seismic_string()),
        query_values=np.array(list(QUERY.values()), np.float32),
        k=10,
        query_cut=len(QUERY),
        heap_factor=0.0,
    )
    assert {name: score for _, score, name in hits} == scores
