#!/usr/bin/env bash
# What one would guess: alpha = 1 and beta = 1, at which block-max pruning is safe, give the k documents of the highest
# scores; fewer only where fewer match; and those scores are the dot products of the weights that were given.
#
# What happens (bmp 0.2.8 of PyPI, x86-64): of 200 documents that all match, and have 200 different impacts, a search with
# k = 10 finds eight. Where the heaviest ones stand in the first block of 32, k = 5 finds none, and k = 20 finds 20. Query
# weights are scaled to 32 and rounded up, so that of {dog: 100, cat: 1} the second counts three times as much as it
# should, and changes which document comes first. Nothing says so.
#
# Installs the package into a temporary folder; ends with status 1 if any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q bmp==0.2.8 2> "$work/log" || { cat "$work/log"; exit 1; }
cat > "$work/search.py" <<'PYTHON'
import sys

from bmp import Indexer, Searcher

ONE = {"dog": 1.0}


def searcher(documents):
    indexer = Indexer(sys.argv[1], bsize=32, compress_range=False)
    for name, vector in documents.items():
        indexer.add_document(name, vector)
    indexer.finish()
    return Searcher(sys.argv[1])


def hits(index, query, k):
    return index.search(query, k=k, alpha=1.0, beta=1.0)


rising = searcher({f"d{number}": {"dog": 1 + number} for number in range(200)})
print("rising impacts, k = 10:", len(hits(rising, ONE, 10)[0]), "hits")
falling = searcher({f"d{number}": {"dog": 200 - number} for number in range(200)})
print("falling impacts, k = 5, 20:", len(hits(falling, ONE, 5)[0]), "and", len(hits(falling, ONE, 20)[0]), "hits")

# By dot product: d60 has 5,201, d50 has 5,100.
documents = {f"d{number}": {"dog": 1 + number % 40} for number in range(200)}
documents |= {"d50": {"dog": 50, "cat": 100}, "d60": {"dog": 52, "cat": 1}}
names, scores = hits(searcher(documents), {"dog": 100.0, "cat": 1.0}, 20)
print("two terms:", *(f"{name} {score:.0f}" for name, score in list(zip(names, scores))[:2]))
PYTHON
"$work/venv/bin/python" "$work/search.py" "$work/index" > "$work/found"
cat "$work/found"
diff "$work/found" - <<'EXPECTED'
rising impacts, k = 10: 8 hits
falling impacts, k = 5, 20: 0 and 20 hits
two terms: d50 1700 d60 1665
EXPECTED
echo "as described"
