"""`lexlip eval`: a group of commands; without a name, retrieval on captioned photographs."""

from __future__ import annotations

from lexlip_infer.cli import evaluate, evaluate_compare, evaluate_run, evaluate_zero_shot, large_scale
from lexlip_infer.cli.default_command import DefaultCommandGroup
from lexlip_infer.cli.shell import application

app = application(
    "Measure quality. `lexlip eval FILE` is `lexlip eval retrieval FILE`.", DefaultCommandGroup, no_args_is_help=True
)

app.command("retrieval")(evaluate.evaluate)
app.command("zero-shot")(evaluate_zero_shot.zero_shot)
app.command("run")(evaluate_run.evaluate_run)
app.command("compare")(evaluate_compare.compare)
app.command("large-scale")(large_scale.large_scale)
