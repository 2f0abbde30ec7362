"""`lexlip-train`: the paper's phases from a configuration, the lexicon and recipe of lexlip-tiny, averages, resizing.

Runs that share a start stay in one basin of the loss, and their mean lies lower in it than any of them: "Model soups",
Wortsman et al., ICML 2022 (arXiv 2203.05482); `average` is their uniform soup. Runs with starts of their own do not
average. Random crops show objects larger in training than they are when whole photographs are encoded; encoding at a
larger size makes up for it: "Fixing the train-test resolution discrepancy", Touvron et al., NeurIPS 2019 (arXiv
1906.06423), and `resize` interpolates the tables of positions for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexlip_infer.cli.shell import application, run_application
from lexlip_infer.errors import InputError, require
from lexlip_infer.files import new_folder
from lexlip_training.lexicon.build import lexicon
from lexlip_training.recipe import recipe
from lexlip_training.record import mean_record, provenance

app = application("Train LexLIP and its dense baselines.")
app.command("lexicon")(lexicon)
app.command("recipe")(recipe)


@app.command()
def average(
    output: Annotated[Path, typer.Argument(help="checkpoint folder to write; must not exist")],
    checkpoints: Annotated[list[Path], typer.Argument(help="two or more, trained from the same start")],
) -> None:
    """Average the weights of checkpoints that were trained from the same start, each counting the same."""
    for module in ("torch", "timm", "transformers"):
        require(module, extra="train")
    if len(checkpoints) < 2:
        raise InputError("one checkpoint is no average; give two or more")
    from lexlip_training.checkpoint import load_checkpoint, save_checkpoint

    model, tokenizer, record = load_checkpoint(checkpoints[0])
    mean = {name: values.double() for name, values in model.state_dict().items()}
    records = [record]
    for count, folder in enumerate(checkpoints[1:], 2):
        other, words, record = load_checkpoint(folder)
        if other.config != model.config:
            raise InputError(f"{folder}: its configuration is not that of {checkpoints[0]}; only equal models average")
        if words.to_str() != tokenizer.to_str():
            raise InputError(f"{folder}: its tokenizer is not that of {checkpoints[0]}; their terms are not the same")
        for name, values in other.state_dict().items():
            mean[name] += (values.double() - mean[name]) / count
        records.append(record)
    model.load_state_dict({name: values.to(model.state_dict()[name].dtype) for name, values in mean.items()})
    with new_folder(output) as folder:
        save_checkpoint(folder, model, tokenizer, mean_record(records))


@app.command()
def resize(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint folder to read")],
    output: Annotated[Path, typer.Argument(help="checkpoint folder to write; must not exist")],
    image_size: Annotated[int, typer.Option(min=32, help="in pixels")],
) -> None:
    """Make a checkpoint encode images of another size; the weights stay, positions are interpolated."""
    for module in ("torch", "timm", "transformers"):
        require(module, extra="train")
    from lexlip_training.checkpoint import load_checkpoint, save_checkpoint
    from lexlip_training.engine.starting_model import fit_position_tables, image_size_changed
    from lexlip_training.model import LexLIP

    earlier, tokenizer, record = load_checkpoint(checkpoint)
    if earlier.config.image is None:
        raise InputError(f"{checkpoint}: encodes texts only, there is no image size to change")
    image = image_size_changed(earlier.config.image, image_size)
    with new_folder(output) as folder:
        model = LexLIP(earlier.config.model_copy(update={"image": image}))
        model.load_state_dict(fit_position_tables(earlier.state_dict(), model))
        sizes = {"image_size": image_size, "earlier_image_size": earlier.config.image.image_size}
        made = {key: value for key, value in provenance().items() if key != "notice"}
        save_checkpoint(folder, model, tokenizer, record | {"resized": [*record.get("resized", []), sizes | made]})


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
