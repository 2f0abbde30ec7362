"""The door of the pipeline, used as somebody else's program would: from the package, with files and nothing else."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from lexlip_infer import Collection, InputError, LexLIPEncoder, OutputError, encode_folder, encode_texts_file
from lexlip_infer.pipeline.encode import EncodeOptions, ImageEncodeOptions, TextEncodeOptions
from lexlip_infer.pipeline.settings import EncodeRequest


def lines(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for part in sorted((folder / "vectors").iterdir()) for line in part.read_bytes().splitlines()
    ]


def test_a_folder_of_images(photographs: Path, bundle_folder: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    settings: Any = {"model": bundle_folder, "device": "cpu", "top_k": 4, "scale": 50, "items_per_shard": 2}
    collection = encode_folder(photographs, tmp_path / "out", **settings, progress=lambda *counts: told.append(counts))
    written = lines(tmp_path / "out")
    assert collection.manifest is not None
    assert collection.documents == len(written) > 1
    assert (collection.manifest.settings.top_k, collection.scale) == (4, 50)
    assert told[0][0] == 0
    assert told[-1] == (told[-1][1], len(written) + collection.manifest.failed)
    ids, impacts = collection.in_id_order(threads=2)
    assert ids == sorted(document["id"] for document in written)
    terms = collection.vocabulary.terms
    for name, (row, values) in zip(ids, map(impacts.row, range(len(ids))), strict=True):
        vector = next(document["vector"] for document in written if document["id"] == name)
        assert dict(zip([terms[term] for term in row], values.tolist(), strict=True)) == vector
    assert Collection.open(tmp_path / "out").in_id_order()[0] == ids
    again = encode_folder(
        str(photographs),
        str(tmp_path / "out"),
        model=str(bundle_folder),
        device="cpu",
        top_k=4,
        scale=50,
        items_per_shard=2,
    )
    assert again.manifest == collection.manifest


def test_the_command_writes_the_same(photographs: Path, bundle_folder: Path, tmp_path: Path) -> None:
    encode_folder([photographs], tmp_path / "a", model=bundle_folder, compress="gz", threads=1, background="black")
    options = ["--compress", "gz", "--threads", "1", "--background", "black", "--output", tmp_path / "b"]
    program = [sys.executable, "-c", "from lexlip_infer.cli.encode import run; run()"]
    subprocess.run([*program, "--images", photographs, "--model", bundle_folder, *options], check=True)
    a, b = ({path.name: path.read_bytes() for path in (tmp_path / name / "vectors").iterdir()} for name in "ab")
    assert a == b
    settings = [json.loads((tmp_path / name / "manifest.json").read_text())["settings"] for name in "ab"]
    assert settings[0] == settings[1]


def test_texts_that_are_cut_are_counted_once(bundle_folder: Path, encoder: LexLIPEncoder, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(bundle_folder / "tokenizer.json"))
    tokenizer.no_truncation()
    assert encoder.manifest.text is not None
    most = encoder.manifest.text.max_length
    words = next(count for count in range(most) if len(tokenizer.encode("dog " * (count + 1)).ids) > most)
    texts = ["dog", "dog " * words, "dog " * (words + 1), "cat " * 400, "cat"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    for repeat in range(2):
        collection = encode_texts_file(tmp_path / "texts.txt", tmp_path / "out", model=bundle_folder, items_per_shard=3)
        assert collection.manifest is not None
        assert collection.manifest.texts_cut == 2, repeat
    shards = json.loads((tmp_path / "out" / "manifest.json").read_text())["shards"]
    assert [shard.get("texts_cut") for shard in shards] == [1, 1]
    whole = encode_texts_file([tmp_path / "texts.txt"], tmp_path / "whole", model=bundle_folder)
    assert whole.manifest is not None
    assert whole.manifest.shards[0].texts_cut == 2


def test_a_manifest_without_cuts_is_as_it_always_was(bundle_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("dog\n")
    collection = encode_texts_file(tmp_path / "texts.txt", tmp_path / "out", model=bundle_folder)
    assert collection.manifest is not None
    assert collection.manifest.texts_cut == 0
    assert "texts_cut" not in (tmp_path / "out" / "manifest.json").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"top_k": 0}, "top_k is 0; expected at least 1"),
        ({"batch_size": 0}, "batch_size is 0; expected at least 1"),
        ({"decode_timeout": float("nan")}, "decode_timeout is nan; expected at least 0.001"),
        ({"shard_id": -1}, "shard_id is -1; expected at least 0"),
        ({"shard_id": 1}, "--shard-id is 1 of --shard-num 1"),
        ({"items_per_shard": 0}, "items_per_shard is 0; expected at least 1"),
        ({"compress": "xz"}, "--compress is 'xz'; expected none or gz"),
        ({"precision": "f8"}, "precision is 'f8'; expected one of"),
        ({"device": "tpu"}, "device is 'tpu'; expected"),
        ({"frames": "some"}, "frames is 'some'; expected first or all"),
        ({"scale": -1.0}, "quantisation scale is -1.0; expected a positive, finite"),
    ],
)
def test_choices_that_are_not_to_be_had(
    options: Any, said: str, photographs: Path, bundle_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as raised:
        encode_folder(photographs, tmp_path / "out", model=bundle_folder, **options)
    assert str(raised.value).startswith(said)
    assert not (tmp_path / "out").exists()


def test_inputs_that_are_none(photographs: Path, bundle_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an empty list was given"):
        encode_folder([], tmp_path / "out", model=bundle_folder)
    with pytest.raises(InputError, match="no such file or folder"):
        encode_texts_file(tmp_path / "none.txt", tmp_path / "out", model=bundle_folder)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not an output of lexlip-encode; name a new folder"):
        encode_folder(photographs, tmp_path / "full", model=bundle_folder)


def test_an_option_that_does_not_exist(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'top'"):
        encode_folder(photographs, tmp_path / "out", top=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("door", "options"), [(encode_folder, ImageEncodeOptions), (encode_texts_file, TextEncodeOptions)]
)
def test_every_choice_can_be_named(door: Callable[..., Any], options: Any) -> None:
    named = {*inspect.signature(door).parameters, *typing.get_type_hints(options)}
    known = set(inspect.signature(EncodeRequest).parameters)
    assert typing.get_type_hints(EncodeOptions).keys() <= known
    images = {"image_column", "decode_workers", "decode_timeout", "background", "frames", "truncated", "max_megapixels"}
    others = images if door is encode_texts_file else {"text_column", "prompt", "query_mode"}
    assert named & known == known - {"modality", "source"} - others
