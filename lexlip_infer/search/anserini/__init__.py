"""Anserini (Lucene) from Python: impact indexes, BM25 indexes, and their search. Extra `anserini`.

A process that has opened an engine has Java inside: it must not fork (threads and `spawn` are fine).
"""

from lexlip_infer.search.anserini.bm25 import BM25Engine, build_bm25_index
from lexlip_infer.search.anserini.impact_search import AnseriniEngine, build_anserini_index
from lexlip_infer.search.anserini.index_folder import AnseriniRecord, read_record
from lexlip_infer.search.anserini.java import check_java

__all__ = [
    "AnseriniEngine",
    "AnseriniRecord",
    "BM25Engine",
    "build_anserini_index",
    "build_bm25_index",
    "check_java",
    "read_record",
]
