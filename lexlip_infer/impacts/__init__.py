"""From weights to impacts, and from impacts to the JSON lines that Anserini indexes.

Everything here is light to import: numba is loaded when something is first quantised or written, because it
takes longer than a short command may take to start. Terms are not chosen here (the lexicon head did that),
nor are files written: parts, compression and resuming belong to `lexlip_infer.collection`.
"""

from lexlip_infer.impacts.json_lines import JsonLinesParser, JsonLinesWriter, collect_terms, read_json_lines
from lexlip_infer.impacts.quantise import QuantisationSettings, drop_placeholders, fill_empty, quantise
from lexlip_infer.impacts.scale import MOST_LIFTED, fitting_scale, largest_weight, lifted_terms
from lexlip_infer.impacts.terms import check_terms

__all__ = [
    "MOST_LIFTED",
    "JsonLinesParser",
    "JsonLinesWriter",
    "QuantisationSettings",
    "check_terms",
    "collect_terms",
    "drop_placeholders",
    "fill_empty",
    "fitting_scale",
    "largest_weight",
    "lifted_terms",
    "quantise",
    "read_json_lines",
]
