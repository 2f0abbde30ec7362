"""`python -m lexlip_export.add_openvino_int8 BUNDLE --images DIR --texts FILE`: int8 for OpenVINO in a finished bundle.

Post-training quantisation by NNCF, with activation ranges from calibration inputs. OpenVINO runs ONNX Runtime's dynamic
int8 graphs slower than float32, so it gets a model of its own. Ranges are fixed here, once: a vector does not depend on
what else is in its batch. They are only as good as the inputs, photographs and texts like those that will be encoded,
which the one who exports may not have: hence apart from the export. Needs the extra `openvino-export`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy.typing as npt
import typer

from lexlip_infer.bundle import MANIFEST, Bundle, FileRecord, Modality, backbone_file
from lexlip_infer.cli.shell import application, run_application
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.errors import InputError, require
from lexlip_infer.files import Folder, write_whole
from lexlip_infer.inputs.images import load_image
from lexlip_infer.inputs.items import ImageItem, TextItem
from lexlip_infer.inputs.readers import open_images, open_texts
from lexlip_infer.runtime.choice import openvino_file
from lexlip_infer.runtime.graphs import read_graph
from lexlip_infer.runtime.openvino_session import UNQUANTISED, import_openvino, openvino_core

#: One input of the backbone, by name, of batch size 1: `pixel_values`, or `input_ids` and `attention_mask`.
Sample = Mapping[str, npt.NDArray[Any]]


def openvino_int8_files(
    backbone: bytes, modality: Modality, samples: Iterable[Sample], unquantised: Literal["f32", "bf16"] = "f32"
) -> dict[str, bytes]:
    """Quantise a backbone.

    Args:
        backbone: the float32 ONNX graph.
        modality: of the tower.
        samples: calibration inputs; some dozens are enough.
        unquantised: how softmax, normalisation and what else stays in float computes; bf16 only on CPUs that have it.

    Returns:
        The `.xml` and the `.bin` of the quantised model, by their paths in a bundle.

    Raises:
        MissingExtra: OpenVINO or NNCF is not installed.
        InputError: there is no sample.
    """
    inputs: Sequence[Sample] = list(samples)
    if not inputs:
        raise InputError("no calibration inputs; expected at least one image or text")
    openvino = import_openvino()  # first, so that NNCF does not report home either
    core = openvino_core()  # before those that NNCF makes and drops
    nncf = require("nncf", extra="openvino-export")
    nncf.set_log_level(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # progress bars
        warnings.simplefilter("ignore")  # about its own internals
        model = nncf.quantize(
            core.read_model(io.BytesIO(backbone)),
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            model_type=nncf.ModelType.TRANSFORMER,
        )
    model.set_rt_info(unquantised, [*UNQUANTISED])
    return _files(openvino, model, openvino_file(modality))


def _files(openvino: Any, model: Any, name: str) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        weights = path.with_suffix(".bin").read_bytes()
        return {name: path.read_bytes(), name.removesuffix(".xml") + ".bin": weights}


def add_openvino_int8(
    bundle: Bundle, samples: Mapping[Modality, Iterable[Sample]], unquantised: Literal["f32", "bf16"] = "f32"
) -> Bundle:
    """Write int8 backbones into a bundle, beside what it holds; the manifest comes last and whole.

    Args:
        bundle: of your own; its fingerprint changes.
        samples: calibration inputs of each tower that is to be quantised.
        unquantised: see `openvino_int8_files`.

    Raises:
        MissingExtra: OpenVINO or NNCF is not installed.
        InputError: a tower gets no sample.
        OutputError: the bundle cannot be written; its manifest still names the old files alone.
    """
    files: dict[str, bytes] = {}
    for modality, inputs in samples.items():
        backbone = read_graph(bundle, backbone_file(modality, "f32"))
        files |= openvino_int8_files(backbone, modality, inputs, unquantised)
    records = {
        name: FileRecord(sha256=hashlib.sha256(data).hexdigest(), size=len(data)) for name, data in files.items()
    }
    manifest = bundle.manifest.model_copy(update={"files": {**bundle.manifest.files, **records}})
    files[MANIFEST] = (manifest.model_dump_json(indent=2) + "\n").encode()
    with Folder.open(bundle.folder) as folder:
        for name, data in files.items():
            if "/" in name:
                folder.folder(name.rpartition("/")[0], create=True).close()
            write_whole(name, data, folder)
    return Bundle.open(bundle.folder)


def image_samples(encoder: LexLIPEncoder, folder: Path, count: int) -> Iterator[Sample]:
    """The first images of a folder, preprocessed."""
    images = (item for item in open_images([str(folder)]) if isinstance(item, ImageItem))
    for item in itertools.islice(images, count):
        yield {"pixel_values": encoder.preprocess(load_image(item.source))[None]}


def text_samples(encoder: LexLIPEncoder, path: Path, count: int) -> Iterator[Sample]:
    """The first texts of a file, tokenised."""
    texts = (item for item in open_texts([str(path)]) if isinstance(item, TextItem))
    for item in itertools.islice(texts, count):
        ids, mask = encoder.tokenize([item.text])
        yield {"input_ids": ids, "attention_mask": mask}


app = application("Add int8 backbones for OpenVINO to a bundle.")


@app.command()
def _command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="bundle folder of your own, which is added to")],
    images: Annotated[Path | None, typer.Option(metavar="DIR", help="images to calibrate the image tower on")] = None,
    texts: Annotated[Path | None, typer.Option(metavar="FILE", help="texts to calibrate the text tower on")] = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="of each, at most")] = 100,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="layers that are not quantised compute in bf16 on CPUs that have it")
    ] = False,
) -> None:
    """Quantise the towers that calibration inputs are given for: images and texts like those that will be encoded."""
    if images is None and texts is None:
        raise InputError("nothing to calibrate on; give --images DIR, --texts FILE or both")
    encoder = LexLIPEncoder.from_pretrained(bundle, device="cpu")
    samples: dict[Modality, Iterable[Sample]] = {}
    if images is not None:
        samples["image"] = image_samples(encoder, images, count)
    if texts is not None:
        samples["text"] = text_samples(encoder, texts, count)
    added = add_openvino_int8(encoder.bundle, samples, "bf16" if bf16 else "f32")
    new = [name for name in added.manifest.files if name not in encoder.manifest.files]
    typer.echo(f"{bundle}: added {', '.join(sorted(new)) or 'nothing new, replaced what was there'}")


def run() -> None:
    """Entry of `python -m`."""
    run_application(app, "lexlip_export.add_openvino_int8")


if __name__ == "__main__":
    run()
