"""`python -m lexlip_export.initialise BEIT BERT OUTPUT`: an untrained checkpoint to start training from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexlip_infer.cli.shell import application, run_application
from lexlip_infer.errors import OutputError
from lexlip_infer.files import new_folder

app = application("Make an untrained LexLIP checkpoint from BEiT and BERT.")


@app.command()
def initialise(
    beit: Annotated[Path, typer.Argument(help="Hugging Face folder of a BEiT")],
    bert: Annotated[Path, typer.Argument(help="Hugging Face folder of a BERT, with its tokenizer")],
    output: Annotated[Path, typer.Argument(help="checkpoint folder to write; must not exist")],
) -> None:
    """Write an untrained checkpoint of BEIT and BERT to OUTPUT."""
    from lexlip_export import initialise_from_pretrained
    from lexlip_training import save_checkpoint

    if output.exists():
        raise OutputError(f"{output}: exists already; name a new folder or remove it")
    model, tokenizer = initialise_from_pretrained(beit, bert)
    record = {"notice": "Not trained: BEiT and BERT as they came.", "beit": beit.name, "bert": bert.name}
    with new_folder(output) as partial:
        save_checkpoint(partial, model, tokenizer, record)
    typer.echo(f"{output}: {sum(parameter.numel() for parameter in model.parameters()) / 1e6:.1f} M parameters")


if __name__ == "__main__":
    run_application(app, "python -m lexlip_export.initialise")
