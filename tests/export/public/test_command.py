"""The commands as a user runs them: export, compare with the oracle, encode, index, search."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import anserini
import numpy as np
import pytest
from PIL import Image
from public_models import D2S, LINES, VDR, Dense, write_vocabulary

from lexlip_export.cli import run
from lexlip_infer import Index, LexLIPEncoder
from lexlip_infer.errors import BackendUnavailable, MissingExtra
from lexlip_infer.impacts import QuantisationSettings, quantise
from lexlip_kernels.impact_dot import ImpactIndex

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


def test_encode_index_and_search(bundle: Path, pictures: Path, tmp_path: Path) -> None:
    index = Index.from_images(pictures, tmp_path / "photos", model=bundle, threads=1)
    encoder = LexLIPEncoder.from_pretrained(bundle, threads=1)
    names = sorted(path.name for path in pictures.iterdir())
    images = encoder.encode_images([pictures / name for name in names])
    texts = ["a dog runs on green grass", "two boats on blue water"]
    expected = encoder.similarity(encoder.encode_query(texts), images)
    for text, scores in zip(texts, expected, strict=True):
        found = index.search(text, k=len(names))
        order = [names.index(hit.id) for hit in found]
        close = np.abs(np.diff(scores[order])) < 0.02 * scores.max()
        assert sorted(order) == list(range(len(names)))
        assert ((np.diff(scores[order]) <= 0) | close).all(), "but for the rounding of impacts"


def test_anserini_agrees_with_the_exact_engine(bundle: Path, pictures: Path, tmp_path: Path) -> None:
    try:
        anserini.check_installed()
    except (MissingExtra, BackendUnavailable) as error:
        pytest.skip(str(error))
    encoder = LexLIPEncoder.from_pretrained(bundle, threads=1)
    defaults = encoder.manifest.quantisation
    settings = QuantisationSettings(defaults.scale, defaults.cap)
    documents = quantise(encoder.encode_images(sorted(pictures.iterdir())), settings)
    queries = quantise(encoder.encode_query(["a dog runs on green grass", "two boats"]), settings)
    terms = encoder.vocabulary.terms
    index = anserini.build_index(documents, terms, tmp_path / "anserini")
    (found,) = anserini.search_in_new_process(index, queries, terms, [len(documents)])
    anserini.assert_same_hits(ImpactIndex.build(documents).search(queries, len(documents)), found)


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
