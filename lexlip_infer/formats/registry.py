"""Every output format by its name, with what people want to know of it."""

from __future__ import annotations

from lexlip_infer.formats.arrays import NpzWriter, ParquetWriter
from lexlip_infer.formats.ciff import CiffWriter
from lexlip_infer.formats.contract import Format
from lexlip_infer.formats.databases import (
    ElasticsearchWriter,
    MilvusWriter,
    OpenSearchWriter,
    PgvectorWriter,
    QdrantWriter,
    VespaWriter,
)
from lexlip_infer.formats.toolkits import AnseriniTopicsWriter, AnseriniWriter, IdsWriter, SeismicWriter, TeiWriter

__all__ = ["FORMATS"]

_ALL = (
    Format(
        "anserini",
        ".jsonl",
        "documents for Anserini and Pyserini, and for PISA's and BMP's own converters",
        "terms without white space, of at most 255 characters; no document without terms",
        (),
        False,
        AnseriniWriter,
    ),
    Format(
        "anserini-topics",
        ".tsv",
        "queries for Anserini and Pyserini",
        "at most 1,024 terms a query, impacts up to 65,535; no empty query; ids without tabs and line ends",
        (),
        False,
        AnseriniTopicsWriter,
    ),
    Format(
        "npz",
        ".npz",
        "one scipy CSR matrix with ids and vocabulary inside",
        "takes every document",
        (),
        True,
        NpzWriter,
    ),
    Format(
        "parquet",
        ".parquet",
        "Spark, DuckDB, Polars, Ray Data, pandas",
        "takes every document; needs the extra `io`",
        ("tokens",),
        True,
        ParquetWriter,
    ),
    Format(
        "ciff",
        ".ciff",
        "an inverted file for PISA, BMP, OldDog and other engines",
        "fewer than 2^31 documents; BMP takes impacts up to 255",
        (),
        False,
        CiffWriter,
    ),
    Format(
        "qdrant",
        ".jsonl",
        "request bodies for Qdrant",
        "a point's id is the UUID5 of the document's, which is in the payload; impacts up to 2^24",
        ("field",),
        True,
        QdrantWriter,
    ),
    Format(
        "milvus",
        ".json",
        "rows for Milvus' bulk import",
        "no document without terms; ids of 1 to 65,535 bytes; impacts up to 2^24",
        ("field",),
        True,
        MilvusWriter,
    ),
    Format(
        "opensearch",
        ".ndjson",
        "bulk request for an OpenSearch field of type rank_features",
        "ids of 1 to 512 bytes; OpenSearch keeps 9 bits of an impact",
        ("field",),
        False,
        OpenSearchWriter,
    ),
    Format(
        "elasticsearch",
        ".ndjson",
        "bulk request for an Elasticsearch field of type sparse_vector",
        "ids of 1 to 512 bytes; no dot in a term (see --replace-dots); Elasticsearch keeps 9 bits of an impact",
        ("field", "replace_dots"),
        False,
        ElasticsearchWriter,
    ),
    Format(
        "vespa",
        ".jsonl",
        "feed for a Vespa field of type tensor<float>(token{})",
        "ids of text without control characters; impacts up to 2^24",
        ("field", "collection"),
        False,
        VespaWriter,
    ),
    Format(
        "pgvector",
        ".tsv",
        "COPY text for PostgreSQL with a column of type sparsevec",
        "at most 1,000 terms a document, or 16,000 with --no-index; no NUL in an id; impacts up to 2^24",
        ("indexed",),
        True,
        PgvectorWriter,
    ),
    Format(
        "seismic",
        ".jsonl",
        "documents for Seismic",
        "impacts up to 2,048, because Seismic keeps half precision; terms of at most 100 characters",
        (),
        False,
        SeismicWriter,
    ),
    Format(
        "tei",
        ".json",
        "what text-embeddings-inference answers to /embed_sparse",
        "holds no ids: documents are in their order, which `--to ids` writes; impacts up to 2^24",
        (),
        True,
        TeiWriter,
    ),
    Format(
        "ids",
        ".jsonl",
        "the ids alone, one JSON string a line, for formats that hold none",
        "takes every document",
        (),
        False,
        IdsWriter,
    ),
)

FORMATS: dict[str, Format] = {one.name: one for one in _ALL}
"""By name, in the order of the documentation."""
