#!/usr/bin/env bash
# What one would guess: one run and one set of judgements have one reciprocal rank, whichever library computes it; and
# of ten documents, RR and RR@10 are the same.
#
# What happens (ranx 0.3.21, ir-measures 0.4.3 with the providers that it installs, Python 3.11): ten documents of one
# score, one of them relevant. ranx ranks those of equal score as the dictionary lists them; ir_measures gives RR to a
# provider that ranks them by id descending, and RR@10 to another one, by id ascending. So one run has a reciprocal rank
# of 1, 0.1 and 1, or of 0.1, 1 and 0.1. None says so.
#
# Scores that are sums of integer impacts are equal often; a difference of systems may be a difference of libraries.
#
# Installs the packages into a temporary folder; ends with status 1 if any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q ranx==0.3.21 ir-measures==0.4.3 2> "$work/log" || { cat "$work/log"; exit 1; }
cat > "$work/ties.py" <<'PYTHON'
import warnings

warnings.filterwarnings("ignore")
import ranx
from ir_measures import RR, calc_aggregate

documents = [f"d{number}" for number in range(10)]
for relevant in ("d0", "d9"):
    for listed in (documents, documents[::-1]):
        run, judged = {"q": dict.fromkeys(listed, 7.0)}, {"q": {relevant: 1}}
        measured = calc_aggregate([RR, RR @ 10], judged, run)
        mrr = ranx.evaluate(ranx.Qrels(judged), ranx.Run(run), "mrr")
        print(f"{relevant} relevant, {listed[0]} first: ranx {mrr:.1f} RR {measured[RR]:.1f} RR@10 {measured[RR @ 10]:.1f}")
PYTHON
"$work/venv/bin/python" "$work/ties.py" 2> "$work/log" > "$work/found" || { cat "$work/log"; exit 1; }
cat "$work/found"
diff "$work/found" - <<'EXPECTED'
d0 relevant, d0 first: ranx 1.0 RR 0.1 RR@10 1.0
d0 relevant, d9 first: ranx 0.1 RR 0.1 RR@10 1.0
d9 relevant, d0 first: ranx 0.1 RR 1.0 RR@10 0.1
d9 relevant, d9 first: ranx 1.0 RR 1.0 RR@10 0.1
EXPECTED
echo "as described"
