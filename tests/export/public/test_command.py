"""The commands as a user runs them: export, and compare with the oracle."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from public_models import D2S, LINES, VDR, Dense, write_vocabulary

from lexlip_export.cli import run
from lexlip_infer import LexLIPEncoder

Export = Callable[..., int | str | None]


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch) -> Export:
    def call(*arguments: object) -> int | str | None:
        monkeypatch.setattr(sys, "argv", ["lexlip-export", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run()
        return ended.value.code

    return call


@pytest.fixture(scope="module")
def pictures(photographs: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number, image in enumerate(photographs):
        image.save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module", params=["vdr", "d2s"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    vocabulary = write_vocabulary(folder / "vocab.txt")
    arguments: list[object] = [folder / request.param, folder / "bundle", "--tokenizer", vocabulary]
    if request.param == "vdr":
        VDR(LINES).write(folder / "vdr")
        (folder / "vdr" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# A model\n")
    else:
        D2S(len(LINES)).write(folder / "d2s")
        arguments += ["--dense", Dense(len(LINES)).write_checkpoint(folder / "towers.pth"), "--image-top-k", 50]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lexlip-export", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run()
    assert ended.value.code == 0
    return folder / "bundle"


def test_the_licence_is_printed_and_in_the_card(
    bundle: Path, export: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vdr = bundle.parent.name.startswith("vdr")
    said = "The README.md beside them states: license cc-by-nc-4.0." if vdr else "No licence of the weights is stated"
    assert said in (bundle / "README.md").read_text()
    name, more = ("vdr", ()) if vdr else ("d2s", ("--dense", bundle.parent / "towers.pth"))
    folder = bundle.parent
    assert export(folder / name, tmp_path / "again", "--tokenizer", folder / "vocab.txt", *more) == 0
    assert said in capsys.readouterr().out
    # Options of the command win over what the model wants, and defaults are its own.
    kept = [json.loads((path / "lexlip.json").read_text())["top_k"]["image"] for path in (bundle, tmp_path / "again")]
    assert kept == ([20, 20] if vdr else [50, 256])


def test_a_scale_that_makes_many_weights_too_small_is_said(
    export: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Logits far below 0: most terms weigh next to nothing beside the few that the model means."""
    reference = VDR(LINES)
    reference.encoder_p.ln_post.bias.data += 3
    reference.encoder_p.proj.data[5:] -= 0.1
    arguments = (reference.write(tmp_path / "vdr"), "--tokenizer", write_vocabulary(tmp_path / "vocab.txt"))
    assert export(*arguments, tmp_path / "few", "--image-top-k", 1, "--text-top-k", 1) == 0
    told = capsys.readouterr()
    assert "scale: " in told.out
    assert "which fits single words and random images" in told.out
    assert "warning" not in told.err
    assert export(*arguments, tmp_path / "all", "--image-top-k", 1000) == 0
    assert "of the kept terms have weights that this scale makes less than 1" in capsys.readouterr().err


def test_the_oracle_of_a_bundle(
    bundle: Path, pictures: Path, export: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of random weights nobody has published anything: the bundle's own values, and others."""
    picture = pictures / "0.png"
    encoder = LexLIPEncoder.from_pretrained(bundle, threads=1)
    image = encoder.encode_images([picture])
    score = float(encoder.similarity(encoder.encode_query(["a dog"]), image)[0, 0])
    terms = dict(encoder.decode(image, top_k=3)[0])
    values = tmp_path / "values.json"
    values.write_text(json.dumps({"scores": {"a dog": score}, "terms": terms}))
    assert export("--verify-oracle", bundle, "--picture", picture, "--oracle-values", values) == 0
    assert "off by 0.0000" in capsys.readouterr().out
    values.write_text(json.dumps({"scores": {"a dog": score + 0.01}}))
    assert export("--verify-oracle", bundle, "--picture", picture, "--oracle-values", values) == 2
    assert "off by 0.01000, may be by 0.001" in capsys.readouterr().err
    # The published ones, which random weights do not have.
    assert export("--verify-oracle", bundle, "--picture", picture) == 2
    said = capsys.readouterr().err
    assert "mars.png" in said if bundle.parent.name.startswith("vdr") else "its vocabulary has no 'animals'" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "CHECKPOINT or OUTPUT is missing"),
        (("--verify-oracle", "BUNDLE"), "expected lexlip-export --verify-oracle BUNDLE --picture FILE"),
        (("--picture", "PICTURE"), "expected lexlip-export --verify-oracle BUNDLE --picture FILE"),
        (
            ("--verify-oracle", "BUNDLE", "--picture", "PICTURE", "--oracle-values", "NONE"),
            "NONE: no values to compare",
        ),
    ],
)
def test_what_cannot_be_compared(
    arguments: tuple[str, ...],
    said: str,
    bundle: Path,
    pictures: Path,
    export: Export,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "none.json").write_text("{}")
    named = {"BUNDLE": str(bundle), "PICTURE": str(pictures / "0.png"), "NONE": str(tmp_path / "none.json")}
    assert export(*[named.get(argument, argument) for argument in arguments]) == 2
    message = capsys.readouterr().err
    assert said.replace("NONE", named["NONE"]) in message
    assert len(message.splitlines()) == 1
