"""A linter for impact collections and topics, ours or anyone's: what Anserini would change or drop without a word.

Nothing is repaired and nothing is refused: a file may be wrong in many places, and all of them are wanted at once.
"""

from lexlip_infer.impacts.lint.checks import lint_collection, lint_topics
from lexlip_infer.impacts.lint.findings import Finding, LintReport

__all__ = ["Finding", "LintReport", "lint_collection", "lint_topics"]
