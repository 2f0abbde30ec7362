"""`lexlip check`: a linter for impact collections and topics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexlip_infer.cli.shell import FAILURES_LISTED, console, counted

if TYPE_CHECKING:
    from lexlip_infer.impacts.lint import LintReport

_TOPICS = (".tsv", ".tsv.gz")


def check(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="folder or file of JSON lines, an output of lexlip-encode, or topics (.tsv)"
        ),
    ],
    topics: Annotated[
        Path | None, typer.Option(metavar="FILE", help="queries to check against the collection at PATH")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON list of reports")] = False,
) -> None:
    """Find what Anserini would change, drop or refuse in a collection or in topics, whoever wrote them.

    The exit status is 3 if there are errors; warnings alone leave it at 0.
    """
    from lexlip_infer.impacts.lint import lint_collection, lint_topics

    if path.name.endswith(_TOPICS) and topics is None:
        reports = [lint_topics(path)]
    else:
        report, terms = lint_collection(_vectors(path))
        reports = [report] if topics is None else [report, lint_topics(topics, terms)]
    if as_json:
        typer.echo("[" + ",\n".join(report.model_dump_json(indent=2) for report in reports) + "]")
    else:
        for report in reports:
            _print(report)
    if any(report.errors for report in reports):
        raise typer.Exit(FAILURES_LISTED)


def _vectors(path: Path) -> Path:
    """What Anserini is given of an output of lexlip-encode."""
    from lexlip_infer.collection.manifest import MANIFEST, VECTORS

    return path / VECTORS if (path / MANIFEST).is_file() and (path / VECTORS).is_dir() else path


def _print(report: LintReport) -> None:
    what = ("document",) if report.kind == "collection" else ("query", "queries")
    out = console()
    out.print(
        f"{report.path}: {counted(report.items, *what)}, {counted(report.terms, 'term')}, "
        f"{counted(report.postings, 'impact')} of at most "
        f"{report.largest_impact:,}, sum {report.impact_sum:,}",
        highlight=False,
        markup=False,
    )
    for finding in report.findings:
        out.print(f"{finding.severity} {finding.rule} x{finding.count:,}: {finding.consequence}", markup=False)
        for place in finding.places:
            out.print(f"    {place}", highlight=False, markup=False)
        if finding.count > len(finding.places):
            out.print(f"    and {finding.count - len(finding.places):,} more", highlight=False)
    if not report.findings:
        out.print("nothing found")
