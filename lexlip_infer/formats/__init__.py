"""Output formats: the same stream of documents and impacts, as each engine loads it.

    writer = FORMATS["qdrant"].open(vocabulary, FormatSettings())
    for ids, impacts in chunks:
        file.write(writer.add(ids, impacts))
    file.writelines(writer.finish())

A format refuses a document that its engine would refuse, cut or drop, in one line that names document and rule;
nothing is renamed or left out silently.
"""

from __future__ import annotations

from lexlip_infer.formats import databases
from lexlip_infer.formats.arrays import NpzWriter, ParquetWriter
from lexlip_infer.formats.ciff import CiffWriter
from lexlip_infer.formats.contract import Format, FormatSettings, FormatWriter
from lexlip_infer.formats.toolkits import AnseriniTopicsWriter, AnseriniWriter, IdsWriter, SeismicWriter, TeiWriter

__all__ = ["FORMATS", "Format", "FormatSettings", "FormatWriter"]

_ALL = (
    Format(
        "anserini",
        ".jsonl",
        AnseriniWriter,
        "documents for Anserini and Pyserini, and for PISA's and BMP's own converters",
        "terms without white space, of at most 255 characters; no document without terms",
    ),
    Format(
        "anserini-topics",
        ".tsv",
        AnseriniTopicsWriter,
        "queries for Anserini and Pyserini",
        "at most 1,024 terms a query, impacts up to 65,535; no empty query; ids without tabs and line ends",
    ),
    Format(
        "npz",
        ".npz",
        NpzWriter,
        "one scipy CSR matrix with ids and vocabulary inside",
        "takes every document",
        uses_term_ids=True,
    ),
    Format(
        "parquet",
        ".parquet",
        ParquetWriter,
        "Spark, DuckDB, Polars, Ray Data, pandas",
        "takes every document; needs the extra `io`",
        options=("tokens",),
        uses_term_ids=True,
    ),
    Format(
        "ciff",
        ".ciff",
        CiffWriter,
        "an inverted file for PISA, BMP, OldDog and other engines",
        "fewer than 2^31 documents; BMP takes impacts up to 255",
    ),
    Format(
        "qdrant",
        ".jsonl",
        databases.QdrantWriter,
        "request bodies for Qdrant",
        "a point's id is the UUID5 of the document's, which is in the payload; impacts up to 2^24",
        options=("field",),
        uses_term_ids=True,
    ),
    Format(
        "milvus",
        ".json",
        databases.MilvusWriter,
        "rows for Milvus' bulk import",
        "no document without terms; ids of 1 to 65,535 bytes; impacts up to 2^24",
        options=("field",),
        uses_term_ids=True,
    ),
    Format(
        "opensearch",
        ".ndjson",
        databases.OpenSearchWriter,
        "bulk request for an OpenSearch field of type rank_features",
        "ids of 1 to 512 bytes; OpenSearch keeps 9 bits of an impact",
        options=("field",),
    ),
    Format(
        "elasticsearch",
        ".ndjson",
        databases.ElasticsearchWriter,
        "bulk request for an Elasticsearch field of type sparse_vector",
        "ids of 1 to 512 bytes; no dot in a term (see --replace-dots); Elasticsearch keeps 9 bits of an impact",
        options=("field", "replace_dots"),
    ),
    Format(
        "vespa",
        ".jsonl",
        databases.VespaWriter,
        "feed for a Vespa field of type tensor<float>(token{})",
        "ids of text without control characters; impacts up to 2^24",
        options=("field", "collection"),
    ),
    Format(
        "pgvector",
        ".tsv",
        databases.PgvectorWriter,
        "COPY text for PostgreSQL with a column of type sparsevec",
        "at most 1,000 terms a document, or 16,000 with --no-index; no NUL in an id; impacts up to 2^24",
        options=("indexed",),
        uses_term_ids=True,
    ),
    Format(
        "seismic",
        ".jsonl",
        SeismicWriter,
        "documents for Seismic",
        "impacts up to 2,048, because Seismic keeps half precision; terms of at most 100 characters",
    ),
    Format(
        "tei",
        ".json",
        TeiWriter,
        "what text-embeddings-inference answers to /embed_sparse",
        "holds no ids: documents are in their order, which `--to ids` writes; impacts up to 2^24",
        uses_term_ids=True,
    ),
    Format(
        "ids",
        ".jsonl",
        IdsWriter,
        "the ids alone, one JSON string a line, for formats that hold none",
        "takes every document",
    ),
)

FORMATS: dict[str, Format] = {one.name: one for one in _ALL}
"""By name, in the order of the documentation."""
