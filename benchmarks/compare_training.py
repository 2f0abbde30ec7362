"""Whether two builds train alike: the losses of seeded steps, to the last bit, and the weights that are left.

    python benchmarks/compare_training.py BEFORE_ENV AFTER_ENV [--steps 20] [--only NAME] [--keep FILE]
    python benchmarks/compare_training.py configurations ENV

The first form runs Phase 1, Phase 2, fine-tuning, the dense and CLIP baselines and the recipe of lexlip-tiny through
`lexlip-train` of both environments, on photographs made up here, and compares. The second trains every shipped
configuration two steps on them and exports (or, where it is dense, encodes) what comes out. An environment is a folder
with `bin/python`, or, in BEFORE_ENV's place, a file that `--keep` wrote its losses to. Nothing else is written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from safetensors.numpy import load_file

IMAGES, BATCH, SIZE = 24, 8, 64
WORDS = ["red", "green", "blue", "dog", "cat", "ball", "grass", "beach", "runs", "jumps", "sleeps", "near", "two"]
#: Overrides of every run: a tiny model, a tiny batch, one thread.
SMALL = [
    *(
        "model.preset=lexlip-tiny-plain",
        f"model.image_size={SIZE}",
        "objective.queue_size=16",
        "objective.queue_top_k=64",
    ),
    *("data.workers=0", f"optimiser.batch_size={BATCH}", "optimiser.accumulation=1", "run.precision=f32"),
    *("run.device=cpu", "run.tensorboard=false", "run.log_steps=1", "evaluation.every_steps=10"),
]
#: timm's RandAugment posterises to no bits at all at its largest magnitude, where older builds end.
COMPARED = ["data.augmentation=official_randaugment"]
#: Run: configuration, the run that it starts from, more overrides.
RUNS: dict[str, tuple[str, str | None, list[str]]] = {
    "phase_1": ("pretrain_lexicon", None, ["optimiser.learning_rate=1e-3"]),
    "phase_2": ("pretrain_momentum", "phase_1", ["optimiser.accumulation=2"]),
    "finetune": ("finetune_coco", "phase_2", ["model.image_size=96", "run.precision=bf16"]),
    "finetune_frozen": ("tiny_finetune", "phase_2", ["data.views=2", "data.augmentation=crop_flip"]),
    "dense_pretrain": ("dense_pretrain", None, []),
    "dense_momentum": ("dense_momentum", "dense_pretrain", []),
    "clip": ("clip_momentum", None, []),
}
#: Of the recipe: two views of the frozen stem, then the whole backbone. Three steps an epoch.
RECIPE = [
    *("model.unfreeze_epoch=4", "data.views=2", "evaluation.every_epochs=2", f"optimiser.batch_size={BATCH}"),
    *(f"model.image_size={SIZE}", "run.log_steps=1", "run.seed=3"),
]


def record() -> None:
    """`compare_training.py record LOSSES ARGUMENTS...`: `lexlip-train ARGUMENTS`, every loss written down."""
    import torch

    from lexlip_training.cli import run

    file, losses, backward = Path(sys.argv[2]), [], torch.Tensor.backward

    def recorded(self: torch.Tensor, *arguments: Any, **named: Any) -> None:
        losses.append(float(self.detach()).hex())
        backward(self, *arguments, **named)

    torch.Tensor.backward = recorded  # type: ignore[assignment, method-assign]
    sys.argv = ["lexlip-train", *sys.argv[3:]]
    try:
        run()
    finally:
        file.write_text(json.dumps(losses))


def lexicon(folder: Path) -> None:
    """`compare_training.py lexicon FOLDER`: one of `WORDS`, and of as many classes as an EfficientNet-Lite has."""
    import numpy as np
    import scipy.sparse

    from lexlip_training.lexicon.folder import Lexicon
    from lexlip_training.lexicon.word_list import word_tokenizer

    tokenizer = word_tokenizer(["a", "number", *map(str, range(7)), *WORDS])
    terms, named = tokenizer.get_vocab_size(), [WORDS[number % len(WORDS)] for number in range(1000)]
    columns = [tokenizer.token_to_id(name) for name in named]
    words = scipy.sparse.csr_array((np.ones(1000, np.float32), (range(1000), columns)), shape=(1000, terms))
    vectors = np.random.default_rng(0).normal(size=(terms, 384)).astype(np.float32)
    meanings = [(name, f"number {number % 7}") for number, name in enumerate(named)]
    folder.mkdir()
    Lexicon(
        tokenizer=tokenizer,
        embeddings=vectors,
        class_words=words,
        class_names=[[name] for name in named],
        meaning_words=words,
        meanings=meanings,
        captions=list(WORDS),
        caption_vectors=vectors[: len(WORDS)].astype(np.float16),
        record={},
    ).save(folder)


def photographs(folder: Path) -> Path:
    """captions.jsonl of small pictures with five captions each, a quarter of them for development as well."""
    draw = random.Random(0)  # noqa: S311  (pictures)
    rows = []
    for number in range(IMAGES):
        picture = Image.effect_noise((80, 72), 50).convert("RGB") if number % 3 else Image.new("RGB", (80, 72), "navy")
        corner = draw.randrange(40)
        ImageDraw.Draw(picture).rectangle((corner, 5, corner + 30, 40), tuple(draw.randrange(256) for _ in range(3)))
        picture.save(folder / f"{number}.png")
        captions = [f"a {' '.join(draw.sample(WORDS, 5))} number {number % 7}" for _ in range(5)]
        rows.append({"image": f"{number}.png", "captions": captions, "split": "train"})
        rows += [rows[-1] | {"split": "dev"}] if number % 4 == 0 else []
    file = folder / "captions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def call(environment: Path, arguments: list[str], module: bool = False) -> None:
    """Python of an environment; its output is shown where it fails."""
    command = [str(environment / "bin" / "python"), *(["-m"] if module else []), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def options(captions: Path, start: Path | None, overrides: list[str]) -> list[str]:
    """`--set` for a run on these captions from this checkpoint."""
    source = json.dumps([str(captions)])
    first = "none" if start is None else json.dumps(str(start))
    given = [f"data.train={source}", f"data.dev={source}", f"model.start={first}", "model.backbone=none"]
    return [part for value in [*SMALL, *given, *overrides] for part in ("--set", value)]


def train(environment: Path, folder: Path, captions: Path, steps: int, only: str | None) -> dict[str, Any]:
    """Losses and the hash of the weights of every run."""
    results: dict[str, Any] = {}
    wanted = {only, *(RUNS[only][1:2] if only in RUNS else ()), "phase_1"} if only else {*RUNS, "recipe"}
    here = str(Path(__file__).resolve())
    for name, (config, start, overrides) in RUNS.items():
        if name in wanted:
            before = None if start is None else folder / start / "last"
            more = options(captions, before, [f"schedule.max_steps={steps}", *COMPARED, *overrides])
            losses = str(folder / f"{name}.json")
            call(environment, [here, "record", losses, "run", str(folder / name), "--config", config, *more])
            results[name] = outcome(folder, name, "last")
    if "recipe" in wanted:
        words = str(folder / "lexicon")
        call(environment, [here, "lexicon", words])
        source = json.dumps([str(captions)])
        given = [
            f"model.lexicon={json.dumps(words)}",
            "model.backbone=none",
            f"data.train={source}",
            f"data.dev={source}",
        ]
        more = [*RECIPE, *given, f"schedule.epochs={-(-steps * BATCH // IMAGES)}"]
        arguments = ["run", str(folder / "recipe"), "--config", "lexlip_tiny"]
        arguments += [part for setting in more for part in ("--set", setting)]
        call(environment, [here, "record", str(folder / "recipe.json"), *arguments])
        results["recipe"] = outcome(folder, "recipe", "best")
    return results


def outcome(folder: Path, name: str, checkpoint: str) -> dict[str, Any]:
    """What a run left."""
    # Tensors, not the file: safetensors writes the names of tied ones in any order.
    weights = load_file(folder / name / checkpoint / "model.safetensors")
    digest = hashlib.sha256(b"".join(key.encode() + value.tobytes() for key, value in sorted(weights.items())))
    return {"losses": json.loads((folder / f"{name}.json").read_text()), "weights": digest.hexdigest()}


def compare(environments: list[Path], steps: int, only: str | None, keep: Path | None) -> bool:
    """Print a line a run; whether all are equal."""
    with tempfile.TemporaryDirectory() as name:
        captions = photographs(Path(name))
        found = []
        for number, environment in enumerate(environments):
            folder = Path(name) / str(number)
            folder.mkdir()
            found.append(
                json.loads(environment.read_text())
                if environment.is_file()
                else train(environment, folder, captions, steps, only)
            )
            if keep is not None and number == 0:
                keep.write_text(json.dumps(found[0]))
    equal = True
    for run, after in found[1].items():
        before = found[0][run]
        same = sum(one == other for one, other in zip(before["losses"], after["losses"], strict=False))
        weights = "equal" if before["weights"] == after["weights"] else "DIFFERENT"
        equal &= before == after
        last = float.fromhex(after["losses"][-1])
        print(f"{run:16} {same} of {len(before['losses'])} losses equal, weights {weights}, last loss {last:.6f}")
    return equal


def configurations(environment: Path) -> None:
    """Two steps of every shipped configuration, and a bundle (or dense vectors) of its checkpoint."""
    names = sorted(
        file.stem for file in (Path(__file__).parents[1] / "training/lexlip_training/configs").glob("*.toml")
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        captions = photographs(folder)
        call(environment, [str(Path(__file__).resolve()), "lexicon", str(folder / "words")])
        words = [f"model.lexicon={json.dumps(str(folder / 'words'))}", "model.preset=lexlip-tiny"]
        for config in names:
            run = folder / config
            given = ["schedule.max_steps=2", "evaluation.every_steps=2", *(words if config == "lexlip_tiny" else [])]
            more = options(captions, None, given)
            call(environment, ["lexlip_training.cli", "run", str(run), "--config", config, *more], module=True)
            dense = "representation" in (run / "best" / "config.json").read_text()
            if dense:
                arguments = ["lexlip_training.encode_dense", str(run / "best"), f"{run}-out", "--images", str(folder)]
            else:
                arguments = ["lexlip_export.cli", str(run / "best"), f"{run}-out"]
            call(environment, arguments, module=True)
            print(f"{config}: trained and {'encoded' if dense else 'exported'}", flush=True)


def main() -> None:
    """Command line."""
    if sys.argv[1:2] == ["record"]:
        record()
        return
    if sys.argv[1:2] == ["lexicon"]:
        lexicon(Path(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environments", nargs=2, help="BEFORE_ENV AFTER_ENV, or: configurations ENV")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", choices=[*RUNS, "recipe"])
    parser.add_argument("--keep", type=Path, help="write what BEFORE_ENV gave to this file")
    given = parser.parse_args()
    if given.environments[0] == "configurations":
        configurations(Path(given.environments[1]))
    elif not compare([Path(folder) for folder in given.environments], given.steps, given.only, given.keep):
        sys.exit("the builds do not train alike")


if __name__ == "__main__":
    main()
