"""`lexlip`: everything around an encoded collection."""

from __future__ import annotations

from lexlip_infer.cli import (
    bench,
    calibrate,
    check,
    cloud,
    convert,
    doctor,
    encode,
    evaluate,
    index,
    inspect,
    search,
)
from lexlip_infer.cli.shell import Version, application, run_application

app = application("LexLIP: sparse image search on an inverted index.")


@app.callback()
def lexlip(version: Version = False) -> None:
    """Everything that stands before the name of a command."""


app.command("encode")(encode.encode)
app.command("index")(index.index)
app.command("search")(search.search)
app.command("inspect")(inspect.inspect)
app.command("calibrate")(calibrate.calibrate)
app.command("check")(check.check)
app.command("convert")(convert.convert)
app.add_typer(evaluate.app, name="eval")
app.command("bench")(bench.bench)
app.command("cloud")(cloud.cloud)
app.command("doctor")(doctor.doctor)


def run() -> None:
    """Console entry."""
    run_application(app, "lexlip")
