"""`lexlip-train`: the paper's training phases from a configuration, the recipe of lexlip-tiny, averages, resizing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexlip_infer.cli.shell import application, run_application
from lexlip_infer.errors import InputError, require
from lexlip_training.checkpoint_tools import average, resize
from lexlip_training.recipe import recipe

app = application("Train LexLIP and its dense baselines.")
app.command("recipe")(recipe)
app.command("average")(average)
app.command("resize")(resize)


@app.command("run")
def run_config(
    output: Annotated[Path | None, typer.Argument(help="run folder to write; not needed for --dry-run")] = None,
    config: Annotated[str, typer.Option(help="name of a shipped configuration, or a .toml file")] = "",
    set_: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; may be repeated")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the folder's last checkpoint")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print shapes, steps, cost and memory; train nothing")
    ] = False,
    processes: Annotated[int, typer.Option(min=1, help="of --dry-run: processes to plan for, one a GPU")] = 1,
    pairs: Annotated[
        int | None, typer.Option(min=1, help="of --dry-run: training pairs, where the data is elsewhere")
    ] = None,
) -> None:
    """Train from a configuration file; under `accelerate launch` or `torchrun` in several processes."""
    for module in ("torch", "timm", "transformers", "accelerate"):
        require(module, extra="train")
    from lexlip_training.engine.settings import load_config, shipped_configs

    if not config:
        raise InputError(f"--config is missing; a .toml file or one of {', '.join(shipped_configs())}")
    settings = load_config(config, set_)
    if dry_run:
        from lexlip_training.engine.dry_run import plan

        typer.echo(plan(settings, processes, pairs))
        return
    if output is None:
        raise InputError("the run folder is missing: lexlip-train run FOLDER --config ...")
    from lexlip_training.engine.run import train

    train(settings, output, resume)


def run() -> None:
    """Console entry."""
    run_application(app, "lexlip-train")


if __name__ == "__main__":
    run()
