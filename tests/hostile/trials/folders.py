"""Small folders of four kinds that are whole, and the inputs of the commands that are run on them.

    ROOT/valid/<kind>-<variant>/     of which a trial damages a copy
    ROOT/inputs/                     texts, photographs, queries, identifiers

They are made through the commands and functions that users have. No file of them holds the time.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from captions import CAPTIONS

KINDS = ("output", "index", "bundle", "checkpoint")

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a the dog cat run ##s on green grass . two boat red".split()  # noqa: SIM905


def make(root: Path, kinds: tuple[str, ...]) -> None:
    """Make the folders of these kinds, and all inputs; in a process of its own, for models are loaded."""
    os.chdir(root)
    for folder in ("valid", "inputs"):
        (root / folder).mkdir()
    _inputs(Path("inputs"))
    bundle = _bundle(root)
    for kind in kinds:
        _MAKERS[kind](bundle)
    for manifest in (root / "valid").glob("output-*/manifest.json"):
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"timings": None}, indent=2))


def variants(root: Path, kind: str) -> list[Path]:
    """The folders of a kind."""
    return sorted((root / "valid").glob(f"{kind}-*"))


def run(entry: Callable[[], object], *arguments: object) -> int:
    """One of our commands in this process; its exit status."""
    sys.argv = list(map(str, arguments))
    try:
        entry()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


def _lexlip(*arguments: object) -> None:
    from lexlip_infer.cli import encode, main

    entry = encode if arguments[0] == "encode" else main
    status = run(entry.run, f"lexlip {arguments[0]}", *(arguments[1:] if entry is encode else arguments))
    assert status in (0, 3), arguments


def _inputs(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    texts = [{"id": f"t{i:02}", "text": f"{CAPTIONS[i % 6]} {CAPTIONS[i * 5 % 6]}"} for i in range(12)]
    _write_lines(folder / "texts.jsonl", texts)
    for name in ("later", "newest"):
        _write_lines(folder / f"{name}.jsonl", [{"id": f"{name[0]}{i}", "text": CAPTIONS[i]} for i in range(4)])
    queries = [{"id": f"q{i}", "contents": "", "vector": {"dog": 9 - i, "red": 3 + i, "beach": 4}} for i in range(4)]
    _write_lines(folder / "queries.jsonl", queries)
    generator = np.random.default_rng(0)
    terms = [words.lower().split() for words in CAPTIONS * 2]
    vectors = [{word: int(generator.integers(1, 99)) for word in words} for words in terms]
    documents = [{"id": f"d{i}", "contents": "", "vector": vector} for i, vector in enumerate(vectors)]
    for name, rows in (("documents", documents[:6]), ("more", documents[6:9]), ("latest", documents[9:])):
        _write_lines(folder / f"{name}.jsonl", rows)
    (folder / "ids.txt").write_text("d1\nd3\n")
    (folder / "images").mkdir()
    for number in range(3):
        coarse = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((40 + number, 30), Image.Resampling.BICUBIC).save(
            folder / f"images/{number}.png"
        )
    (folder / "images/broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    pairs = [{"image": f"images/{i}.png", "captions": [CAPTIONS[i]]} for i in range(3)]
    _write_lines(folder / "captions.jsonl", [pair | {"split": split} for pair in pairs for split in ("train", "dev")])


def _write_lines(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _bundle(root: Path) -> Path:
    """Beside the folders that are damaged, for it encodes their queries."""
    from small_models import small_config, small_model

    from lexlip_export import ExportSettings
    from lexlip_export.bundle_writer import write_bundle
    from lexlip_training.wordpiece import train_wordpiece

    tokenizer = train_wordpiece(CAPTIONS, 150)
    model = small_model(small_config(tokenizer))
    settings = ExportSettings(image_top_k=24, text_top_k=16)
    write_bundle(model, tokenizer, {"notice": "Random weights."}, root / "inputs/bundle", settings)
    return root / "inputs/bundle"


def _outputs(bundle: Path) -> None:
    texts = ("--texts", "inputs/texts.jsonl", "--items-per-shard", 4, "--threads", 1)
    plain = Path("valid/output-plain")
    _lexlip("encode", *texts, "--model", bundle, "--output", plain)
    _lexlip("encode", *texts, "--model", bundle, "--output", "valid/output-gz", "--compress", "gz")
    images = ("--images", "inputs/images", "--items-per-shard", 2, "--threads", 1, "--decode-workers", 0)
    _lexlip("encode", *images, "--model", bundle, "--output", "valid/output-images")
    unfinished = shutil.copytree(plain, Path("valid/output-unfinished"))
    manifest = json.loads((unfinished / "manifest.json").read_text())
    last = manifest["shards"].pop()
    (unfinished / "manifest.json").write_text(json.dumps(manifest | {"complete": False}, indent=2))
    (unfinished / ".tmp").mkdir()
    (unfinished / "vectors" / last["name"]).rename(unfinished / ".tmp" / last["name"])


def _indexes(bundle: Path) -> None:
    for given in ("texts", "later", "newest"):
        texts = ("--texts", f"inputs/{given}.jsonl", "--threads", 1)
        _lexlip("encode", *texts, "--model", bundle, "--output", f"inputs/encoded-{given}")
    _index("encoded", "encoded-texts", "encoded-later", ("t03", "t05", "l1"))
    _index("lines", "documents.jsonl", "more.jsonl", ("d0", "d7"))


def _index(name: str, first: str, second: str, deleted: tuple[str, ...]) -> None:
    index = f"valid/index-{name}"
    _lexlip("index", f"inputs/{first}", index)
    _lexlip("index", "--append", f"inputs/{second}", index)
    for document in deleted:
        _lexlip("index", index, "--delete", document)


def _bundles(bundle: Path) -> None:
    shutil.copytree(bundle, "valid/bundle-both")


def _checkpoints(bundle: Path) -> None:
    import torch
    from official_checkpoint import official_content
    from small_models import small_config, small_model
    from transformers import BertConfig, BertForMaskedLM, BertTokenizer

    from lexlip_training import save_checkpoint
    from lexlip_training.wordpiece import train_wordpiece

    tokenizer = train_wordpiece(CAPTIONS, 150)
    save_checkpoint(
        Path("valid/checkpoint-ours"), small_model(small_config(tokenizer)), tokenizer, {"notice": "Random."}
    )
    Path("valid/checkpoint-official").mkdir()
    torch.save(official_content(), "valid/checkpoint-official/last.ckpt")
    torch.manual_seed(0)
    shapes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48}
    model = BertForMaskedLM(BertConfig(vocab_size=len(WORDS), max_position_embeddings=24, **shapes))
    model.save_pretrained("valid/checkpoint-splade")
    words = BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}, model_max_length=24)
    words.save_pretrained("valid/checkpoint-splade")
    _run_folder()


def _run_folder() -> None:
    from lexlip_training.engine.run import train
    from lexlip_training.engine.settings import TrainingConfig

    captions = [str(Path("inputs/captions.jsonl").absolute())]
    values = {
        "model": {"start": str(shutil.copytree("valid/checkpoint-ours", Path("inputs/start")).absolute())},
        "objective": {"kind": "momentum_contrast", "queue_size": 6, "queue_top_k": 64},
        "data": {"train": captions, "dev": captions, "max_length": 16, "augmentation": "crop_flip"},
        "optimiser": {"batch_size": 2, "learning_rate": 1e-3},
        "schedule": {"max_steps": 2, "warmup": 0.2},
        "evaluation": {"every_steps": 1, "image_top_k": 32, "text_top_k": 16},
        "run": {"precision": "f32", "device": "cpu", "log_steps": 1, "checkpoint_steps": 1, "tensorboard": False},
    }
    config = TrainingConfig.model_validate(values)
    Path("inputs/training.json").write_text(config.model_dump_json())
    train(config, Path("valid/checkpoint-run"), resume=False)


_MAKERS: dict[str, Callable[[Path], None]] = {
    "output": _outputs,
    "index": _indexes,
    "bundle": _bundles,
    "checkpoint": _checkpoints,
}
