"""Anserini (Lucene) from Python: impact indexes and their search. Extra `anserini`.

A process that has opened an engine has Java inside: it must not fork (threads and `spawn` are fine).
"""

from lexlip_infer.search.anserini.impact_search import AnseriniEngine, build_anserini_index
from lexlip_infer.search.anserini.java import check_java
from lexlip_infer.search.anserini.lucene import AnseriniRecord, read_record

__all__ = ["AnseriniEngine", "AnseriniRecord", "build_anserini_index", "check_java", "read_record"]
