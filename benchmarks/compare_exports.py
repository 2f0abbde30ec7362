"""Exports of two builds side by side: the same checkpoints in, every byte of the bundles compared.

    python benchmarks/compare_exports.py BEFORE AFTER [--oracle DIR] [--work DIR]

BEFORE and AFTER are virtual environments with an installed build each, the extra `export` included; both are driven
through their commands. Checkpoints are made here, by BEFORE: one of ours with every part of a training record, BEiT and
BERT to start from, a SPLADE folder plain and as sentence-transformers writes it; --oracle adds the official-layout
checkpoints in DIR. A model of random weights comes in every precision and with every further graph.

Files must be equal byte by byte. A graph that is not may differ in its producer and metadata alone, and is counted as
such; every graph must be of opset 20, and of IR 10 (Anserini's: 9). An export that one build refuses must be refused by
the other in the same words. Ends with status 1 at any other difference.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx

ALL_GRAPHS = ("--graph", "merged", "--graph", "logits-fp16", "--graph", "anserini")

#: Run by BEFORE in the working folder.
MAKE_CHECKPOINTS = """
import json
from pathlib import Path
import lexlip_training  # before transformers and timm
import torch
from transformers import BeitConfig, BeitForImageClassification, BertConfig, BertForMaskedLM, BertTokenizer
from lexlip_export.random_bundle import random_parts
from lexlip_training import save_checkpoint

torch.manual_seed(0)
recalls = {"text_to_image": "20.2/47.5/61.0", "image_to_text": "27.1/53.5/66.0", "dev_sum": 275.3}
log = [{"epoch": n, "loss": 9.25, "seconds": 1.5} | recalls for n in (1, 2)]
model, tokenizer = random_parts("lexlip-tiny", 64, 3)
parts = [{"command": f"lexlip-train run{n}", "log": log[n:]} for n in (0, 1)]
save_checkpoint(Path("averaged"), model, tokenizer, {"notice": "Mine.", "average_of": parts})
save_checkpoint(Path("selected"), model, tokenizer, {"notice": "Mine.", "selected": {"epoch": 4} | recalls, "log": log})

words = "[PAD] [UNK] [CLS] [SEP] [MASK] a the dog cat run ##s on green grass . two boat red".split()
sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
bert = BertForMaskedLM(BertConfig(vocab_size=len(words), max_position_embeddings=48, initializer_range=0.3, **sizes))
for folder in ("splade", "splade-st"):
    bert.save_pretrained(folder)
    BertTokenizer(vocab={word: i for i, word in enumerate(words)}, model_max_length=48).save_pretrained(folder)
sizes |= {"use_relative_position_bias": True, "use_absolute_position_embeddings": False}
BeitForImageClassification(BeitConfig(image_size=32, patch_size=16, **sizes)).save_pretrained("beit")

kind = "sentence_transformers.sparse_encoder.models."
modules = [{"idx": 0, "name": "0", "path": "", "type": kind + "MLMTransformer"}]
modules += [{"idx": 1, "name": "1", "path": "1_SpladePooling", "type": kind + "SpladePooling"}]
Path("splade-st/1_SpladePooling").mkdir()
for name, content in {
    "modules.json": modules,
    "1_SpladePooling/config.json": {"pooling_strategy": "max", "activation_function": "relu"},
    "sentence_bert_config.json": {"max_seq_length": 24, "do_lower_case": False},
    "config_sentence_transformers.json": {"similarity_fn_name": "cosine", "prompts": {"query": "", "document": ""}},
}.items():
    Path("splade-st", name).write_text(json.dumps(content))
"""


#: Run by each build: exports one after the other, whose imports take longer than most of them.
EXPORT = """
import json, sys
import lexlip_training
from lexlip_export import cli, initialise, random_bundle
from typer.testing import CliRunner

applications = {"export": cli.app, "initialise": initialise.app, "random_bundle": random_bundle.app}
for name, application, *arguments in json.load(sys.stdin):
    result = CliRunner().invoke(applications[application], arguments)
    print(json.dumps([name, result.exit_code, result.output + str(result.exception)]), flush=True)
"""


def main() -> int:
    """Export with both builds and compare; 1 where anything differs that should not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--oracle", type=Path, help="folder of official-layout checkpoints, *.ckpt")
    parser.add_argument("--work", type=Path, help="new folder to keep the bundles in  [default: a temporary one]")
    options = parser.parse_args()
    builds = {"before": options.before.absolute(), "after": options.after.absolute()}
    official = sorted(options.oracle.resolve().glob("*.ckpt")) if options.oracle else []
    with tempfile.TemporaryDirectory() as temporary:
        work: Path = (options.work or Path(temporary)).resolve()
        (work / "inputs").mkdir(parents=True)
        run(builds["before"], ["-c", MAKE_CHECKPOINTS], work / "inputs")
        said = {build: export(environment, work, build, official) for build, environment in builds.items()}
        failed = 0
        for name, words in said["before"].items():
            differences = list(compare(work / "before" / name, work / "after" / name))
            if words != said["after"].get(name):
                differences.append(f"said {words}, then {said['after'].get(name)}")
            failed += bool(differences)
            files = sum(path.is_file() for path in (work / "after" / name).rglob("*"))
            print(f"{name}: {'; '.join(differences) or 'equal'} ({files} files, status {words[0]})")
    print("different" if failed else "all equal")
    return int(failed > 0)


def export(environment: Path, work: Path, build: str, official: Sequence[Path]) -> dict[str, tuple[int, str]]:
    """Everything with one build: exit status and words of each export by name."""
    (work / build).mkdir()
    commands = [[part.format(out=work / build / command[0]) for part in command] for command in cases(official)]
    name, module, *arguments = commands.pop(0)
    run(environment, ["-m", f"lexlip_export.{module}", *arguments], work / "inputs")
    said = run(environment, ["-c", EXPORT], work / "inputs", json.dumps(commands))
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("[")]
    return {name: (0, "")} | {name: (status, words.replace(str(work / build), "OUT")) for name, status, words in lines}


def cases(official: Sequence[Path]) -> Iterator[list[str]]:
    """Of each export its name, its command, and the arguments, `{out}` standing for where it writes."""
    random = ["random_bundle", "lexlip-tiny", "{out}", "--image-size", "64"]
    yield ["random", *random, "--seed", "3"]
    yield ["random-everything", *random, "--precision", "all", *ALL_GRAPHS]
    yield ["averaged", "export", "averaged", "{out}", "--half-storage", "--image-top-k", "99"]
    yield ["selected", "export", "selected", "{out}", "--precision", "all", "--text-top-k", "32"]
    yield ["splade", "export", "splade", "{out}", *ALL_GRAPHS]
    yield ["splade-st", "export", "splade-st", "{out}", "--graph", "merged"]
    yield ["initialised", "initialise", "beit", "splade", "{out}"]
    for path in official:
        yield [path.stem, "export", str(path), "{out}", "--graph", "merged", "--precision", "int8"]
        yield [f"{path.stem}-fp16", "export", str(path), "{out}", "--graph", "logits-fp16"]
        yield [f"{path.stem}-384", "export", str(path), "{out}", "--image-size", "384"]


def run(environment: Path, arguments: Sequence[str], folder: Path, words: str = "") -> str:
    """What a build's Python prints, on one thread and off-line."""
    variables = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    command = [str(environment / "bin" / "python"), *arguments]
    result = subprocess.run(
        command, cwd=folder, env=variables, input=words, capture_output=True, text=True, check=False
    )
    if result.returncode:
        sys.exit(f"{' '.join(command[:3])[:80]} ended with status {result.returncode}:\n{result.stderr}")
    return result.stdout


def compare(before: Path, after: Path) -> Iterator[str]:
    """What differs between two bundles, and what about their graphs is not of the format."""
    names = [{str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} for root in (before, after)]
    yield from (f"{name} is in one alone" for name in sorted(names[0] ^ names[1]))
    for name in sorted(names[0] & names[1]):
        if (before / name).read_bytes() != (after / name).read_bytes():
            same = name.endswith(".onnx") and bare(before / name) == bare(after / name)
            yield f"{name} {'differs in its producer or metadata' if same else 'differs'}"
        if name.endswith(".onnx"):
            model = onnx.load(after / name)
            form = (model.ir_version, *(entry.version for entry in model.opset_import))
            if form != (9 if "anserini" in name else 10, 20):
                yield f"{name} is of IR and opset {form}"


def bare(path: Path) -> bytes:
    """A graph without what its producer says of itself."""
    model = onnx.load(path)
    model.producer_name = model.producer_version = ""
    del model.metadata_props[:]
    return model.SerializeToString(deterministic=True)


if __name__ == "__main__":
    sys.exit(main())
