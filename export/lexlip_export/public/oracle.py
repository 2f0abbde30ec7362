"""Whether an imported model gives what its makers say it gives, on a picture of theirs.

Weights and pictures have to be fetched, which nothing here does: the user names the bundle and the picture. The values
are those of the makers' README files; another file of values can be given, for a model of one's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from lexlip_infer import LexLIPEncoder
from lexlip_infer.errors import BundleError, InputError
from lexlip_infer.files import MOST_JSON, first_fault, read_regular


class Oracle(BaseModel):
    """Published values.

    Attributes:
        picture: which one they are of, for people.
        scores: of the picture with texts.
        terms: the picture's heaviest weights.
        tolerance: how far a value may be off: the digits that were printed, and another decoder of pictures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    picture: str = "the picture"
    scores: dict[str, float] = {}
    terms: dict[str, float] = {}
    tolerance: float = Field(default=1e-3, gt=0)

    @pydantic.model_validator(mode="after")
    def _says_something(self) -> Oracle:
        if not self.scores and not self.terms:
            raise ValueError("neither scores nor terms; expected values to compare with")
        return self


#: By the name that an importer records.
PUBLISHED = {
    "vdr-cross-modal": Oracle(
        picture="examples/images/mars.png of github.com/jzhoubu/vsearch",
        scores={
            "Four thousand Martian days after setting its wheels in Gale Crater on Aug. 5, 2012, NASA\u2019s Curiosity "
            "rover remains busy conducting exciting science. The rover recently drilled its 39th sample then dropped "
            "the pulverized rock into its belly for detailed analysis.": 0.3209,
            "ChatGPT is a chatbot developed by OpenAI and launched on November 30, 2022. Based on a large language "
            "model, it enables users to refine and steer a conversation towards a desired length, format, style, level "
            "of detail, and language.": 0.0984,
        },
    ),
    "d2s-blip": Oracle(
        picture=(
            "sample_images/COCO_val2014_000000184613.jpg of github.com/thongnt99/lsr-multimodal, by the head "
            "lsr42/d2s_mscoco-blip-dense_q_reg_0.001_d_reg_0.001 alone"
        ),
        terms={
            "animals": 1.68459,
            "boy": 1.61509,
            "buffalo": 1.51097,
            "animal": 1.36206,
            "people": 1.35475,
            "walking": 1.31713,
            "cow": 1.30119,
            "child": 1.28384,
            "man": 1.27042,
            "crowd": 1.22896,
            "cattle": 1.21290,
            "walks": 1.20145,
            "field": 1.17221,
            "person": 1.12017,
            "umbrella": 1.10238,
            "early": 1.09062,
            "market": 1.08361,
            "kid": 1.07263,
            "young": 1.05972,
            "ox": 1.03186,
        },
        tolerance=0.02,
    ),
}


class Compared(NamedTuple):
    """One value.

    Attributes:
        what: a text or a term.
        published: by its makers.
        found: by this bundle.
    """

    what: str
    published: float
    found: float


def compare_with_oracle(bundle: Path, picture: Path, values: Path | None = None) -> tuple[Oracle, list[Compared]]:
    """Encode the picture, and compare.

    Args:
        bundle: of an imported model.
        picture: the one that the values are of.
        values: JSON of an `Oracle`, instead of the published ones.

    Raises:
        InputError: there are no published values of such a model, or the file holds none.
        BundleError: there is no bundle, or it knows no such term.
        ImageError: the picture cannot be read.
    """
    encoder = LexLIPEncoder.from_pretrained(bundle)
    training = encoder.manifest.provenance.get("training")
    name = training.get("oracle") if isinstance(training, dict) else None
    oracle = PUBLISHED.get(str(name)) if values is None else _read(values)
    if oracle is None:
        known = ", ".join(PUBLISHED)
        raise InputError(f"{bundle}: no values of such a model were published; there are some of {known}")
    image = encoder.encode_images([picture])
    texts = list(oracle.scores)
    scores = encoder.similarity(encoder.encode_query(texts), image)[:, 0].tolist() if texts else []
    if unknown := [term for term in oracle.terms if term not in encoder.vocabulary.ids]:
        raise BundleError(f"{bundle}: its vocabulary has no {unknown[0]!r}; it is another model than the values are of")
    weights = image.to_dense()[0]
    compared = [Compared(*row) for row in zip(texts, oracle.scores.values(), scores, strict=True)]
    terms = encoder.vocabulary.ids
    return oracle, compared + [Compared(term, w, float(weights[terms[term]])) for term, w in oracle.terms.items()]


def _read(path: Path) -> Oracle:
    try:
        return Oracle.model_validate_json(read_regular(path, MOST_JSON, refuse=InputError))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected values to compare with") from None
    except pydantic.ValidationError as error:
        raise InputError(f"{path}: no values to compare with: {first_fault(error)}") from None
