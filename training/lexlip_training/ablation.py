"""`python -m lexlip_training.ablation CAPTIONS OUT`: what each of LexLIP's parts is worth, in small, on one CPU.

Four models of the same towers, with the same number of optimiser steps: LexLIP (Phase 1, Phase 2, fine-tuning),
LexLIP without Phase 1 (its steps go to Phase 2), Dense (the same phases), CLIP (momentum contrast alone). Each phase is
a run folder of its own; a repeated command skips what is finished and resumes what is not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from lexlip_infer.cli.shell import application, run_application
from lexlip_infer.errors import InputError, LexLIPError
from lexlip_infer.files import write_whole

app = application("Train LexLIP, LexLIP without Phase 1, Dense and CLIP at equal steps, and compare them.")


@dataclass(frozen=True, slots=True)
class _Phase:
    config: str
    steps: int


@app.command()
def ablation(
    captions: Annotated[Path, typer.Argument(help="captions.jsonl with splits train and dev")],
    output: Annotated[Path, typer.Argument(help="folder for the runs and the table; resumed if it exists")],
    backbone: Annotated[Path | None, typer.Option(help="EfficientNet-Lite2 weights (.pth); without: random")] = None,
    steps: Annotated[int, typer.Option(min=8, help="optimiser steps of each model, all phases together")] = 1488,
    jobs: Annotated[int, typer.Option(min=1, help="models trained at a time, one thread each")] = 1,
    set_: Annotated[list[str] | None, typer.Option("--set", help="section.key=value for every run")] = None,
) -> None:
    """Run what is not finished, then write ablation.json and ablation.md."""
    models = _models(steps)

    def train(name: str) -> dict[str, Any]:
        folder: Path | None = None
        for phase in models[name]:
            folder = _run(phase, captions, output / name.replace(" ", "_"), folder, backbone, set_ or [])
        assert folder is not None
        return {"model": name, "steps": sum(phase.steps for phase in models[name])} | _figures(folder)

    with ThreadPoolExecutor(jobs) as pool:
        _write(output, list(pool.map(train, models)))


def _models(steps: int) -> dict[str, list[_Phase]]:
    """Phases of each model: a quarter of the steps, a half, a quarter."""
    quarter = steps // 4
    rest = steps - 2 * quarter
    return {
        "LexLIP": [
            _Phase("tiny_pretrain_lexicon", quarter),
            _Phase("tiny_momentum", rest),
            _Phase("tiny_finetune", quarter),
        ],
        "LexLIP without Phase 1": [_Phase("tiny_momentum", quarter + rest), _Phase("tiny_finetune", quarter)],
        "Dense": [
            _Phase("tiny_dense_pretrain", quarter),
            _Phase("tiny_dense_momentum", rest),
            _Phase("tiny_dense_finetune", quarter),
        ],
        "CLIP": [_Phase("tiny_clip_momentum", quarter + rest), _Phase("tiny_clip_finetune", quarter)],
    }


def _run(
    phase: _Phase, captions: Path, model: Path, before: Path | None, backbone: Path | None, overrides: list[str]
) -> Path:
    """One phase in a process of its own; returns its folder."""
    folder = model / phase.config
    if (folder / "curves.png").exists():  # the last thing that a run writes
        return folder
    settings = {
        "data.train": json.dumps([str(captions)]),
        "data.dev": json.dumps([str(captions)]),
        "schedule.max_steps": str(phase.steps),
        "model.start": "none" if before is None else json.dumps(str(before / "best")),
        "model.backbone": json.dumps(str(backbone)) if before is None and backbone else "none",
        "model.preset": "lexlip-tiny-plain",
        "model.stem_memory": json.dumps(str(model.parent / "stem")),
    }
    arguments = [*(f"{key}={value}" for key, value in settings.items()), *overrides]
    command = [sys.executable, "-m", "lexlip_training.cli", "run", str(folder), "--config", phase.config, "--resume"]
    typer.echo(f"{model.name}: {phase.config}, {phase.steps} steps", err=True)
    done = subprocess.run(  # noqa: S603  (this interpreter)
        command + [part for argument in arguments for part in ("--set", argument)], check=False, env=os.environ
    )
    if done.returncode:
        raise LexLIPError(f"{folder}: the run failed (exit status {done.returncode}); its message stands above")
    return folder


def _figures(folder: Path) -> dict[str, Any]:
    """Of the selected checkpoint."""
    try:
        selected = json.loads((folder / "best" / "training.json").read_text("utf-8"))["selected"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder}: holds no finished run ({error}); remove it and repeat the command") from None
    names = ("t2i_1", "t2i_5", "t2i_10", "i2t_1", "i2t_5", "i2t_10", "dev_terms_image", "dev_terms_text")
    return {name: selected.get(name) for name in names}


def _write(output: Path, rows: list[dict[str, Any]]) -> None:
    lines = [
        "| model | steps | text to image R@1/5/10 | image to text R@1/5/10 | terms of an image | of a text |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        both = ["/".join(f"{row[f'{way}_{k}']:.1f}" for k in (1, 5, 10)) for way in ("t2i", "i2t")]
        terms = ["-" if row[name] is None else f"{row[name]:.0f}" for name in ("dev_terms_image", "dev_terms_text")]
        lines.append(f"| {' | '.join([row['model'], str(row['steps']), *both, *terms])} |")
    for name, text in (("ablation.json", json.dumps(rows, indent=2)), ("ablation.md", "\n".join(lines))):
        write_whole(output / name, text.encode() + b"\n")
    typer.echo("\n".join(lines))


if __name__ == "__main__":
    run_application(app, "python -m lexlip_training.ablation")
