"""What an objective is made of, as validated settings; the defaults are the paper's. Unknown keys are errors.

Where the official code differs from the paper, or has a defect, the default is the repaired behaviour and the official
one has a name: `gather="official"`, `counts="local"`, `same_image_negatives`, `queue_overflow="drop"`,
`queue_start="gaussian"`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lexlip_training.config import Settings


class ObjectiveConfig(Settings):
    """One objective. Fields that its kind does not read are ignored.

    Attributes:
        kind: "pretrain_lexicon" is Phase 1; "pretrain_dense" its dense counterpart; "momentum_contrast" is Phase 2,
            fine-tuning, and, on a dense model, the Dense and CLIP baselines; "recipe" makes lexlip-tiny (`recipe.py`).
        temperature: divides every similarity; fixed, not learned (the recipe learns its own).
        flops_weight: of FLOPS(images) + FLOPS(texts).
        flops_normalised: FLOPS of unit vectors, as published; it can spread mass but never shrink it. False takes the
            vectors before normalisation, which makes them sparse.
        joint_top_k: the contrast sees only the k strongest terms of both sides, as an index will; gradients pass
            straight through to all terms. None prunes nothing. The recipe's contrasts see, each for half of their
            loss, the k strongest terms of images, which alone then take gradients.
        same_image_negatives: count other captions of the same image as negatives, as the official code does.
        gather: gradient of the in-batch contrast over several processes; "official" keeps the local share and lets
            it be averaged, which divides it by the number of processes.
        counts: "global" means masked-token losses and FLOPS over all processes' batches, so that their number changes
            nothing; "local" averages each process's own figure, as the official code does.
        encoder_mask: share of tokens hidden from the text encoder in pre-training.
        decoder_mask: share of tokens hidden from the decoder.
        decoder_layers: of the weakened decoder that both bottlenecks share.
        decoder_disabled: an ablation: no decoder, no bottleneck losses.
        bottleneck_disabled: an ablation of the official code: the decoder keeps its own [CLS].
        momentum: of the key encoders, per optimiser step.
        queue_size: N, keys kept of each side.
        storage: how the queue holds them: "sparse" the strongest terms in float16, "half" all in float16, "dense" all
            in float32; "auto" is sparse for a lexicon model and dense for a dense one.
        queue_top_k: terms that a sparse queue keeps of a key; the figure `queue_mass` says whether they suffice.
        queue_overflow: "wrap" puts keys that reach beyond the end at its beginning; "drop" loses them.
        queue_start: "empty" takes no negatives until there are keys; "gaussian" starts full of random unit vectors,
            which a sparse queue cannot hold.
        bag_weight: of the recipe's contrast with inference-free queries.
        word_weight: of the recipe's divergence from the words of the captions.
        word_idf_power: of the inverse document frequency that these words are weighed by. 1 brings the rarer words of a
            picture to its top, 0 the likelier ones, which more of its captions say.
        own_weight: of the recipe's divergence of captions from their own words, which a text tower otherwise trades for
            whatever words find the picture.
        class_share: of the recipe's words of a picture: how much of them the classifier says where it is certain, not
            the captions; where it is not, as much less as its likeliest class is.
        class_weight: of what made-up verdicts of the classifier are to say, and of names of classes.
        meaning_weight: of what WordNet says that a noun is.
        teacher_weight: of the divergence from what the classifier said before training, while its backbone trains.
        kin_share: of the recipe's contrasts: how much of the target goes to images whose captions are alike, as a
            sentence encoder sees them; the rest is the pair's own.
        kin_temperature: divides these similarities.
        average_decay: of the average of the weights, per optimiser step, that the recipe evaluates and saves.
    """

    kind: Literal["pretrain_lexicon", "pretrain_dense", "momentum_contrast", "recipe"]
    temperature: float = Field(default=0.05, gt=0)
    flops_weight: float = Field(default=0.002, ge=0)
    flops_normalised: bool = True
    joint_top_k: int | None = Field(default=None, gt=0)
    same_image_negatives: bool = False
    gather: Literal["true", "official"] = "true"
    counts: Literal["global", "local"] = "global"
    encoder_mask: float = Field(default=0.3, gt=0, lt=1)
    decoder_mask: float = Field(default=0.5, gt=0, lt=1)
    decoder_layers: int = Field(default=2, gt=0)
    decoder_disabled: bool = False
    bottleneck_disabled: bool = False
    momentum: float = Field(default=0.99, ge=0, lt=1)
    queue_size: int = Field(default=11520, gt=0)
    storage: Literal["auto", "sparse", "half", "dense"] = "auto"
    queue_top_k: int = Field(default=1024, gt=0)
    queue_overflow: Literal["wrap", "drop"] = "wrap"
    queue_start: Literal["empty", "gaussian"] = "empty"
    bag_weight: float = Field(default=0.5, ge=0)
    word_weight: float = Field(default=1.0, ge=0)
    word_idf_power: float = Field(default=1.0, gt=0)
    own_weight: float = Field(default=0.0, ge=0)
    class_share: float = Field(default=0.3, ge=0, le=1)
    class_weight: float = Field(default=0.25, ge=0)
    meaning_weight: float = Field(default=0.25, ge=0)
    teacher_weight: float = Field(default=1.0, ge=0)
    kin_share: float = Field(default=0.0, ge=0, lt=1)
    kin_temperature: float = Field(default=0.1, gt=0)
    average_decay: float = Field(default=0.995, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits_together(self) -> ObjectiveConfig:
        if self.queue_start == "gaussian" and self.storage in ("auto", "sparse"):
            raise ValueError(f"queue_start 'gaussian' with storage {self.storage!r}; expected 'half' or 'dense'")
        if self.decoder_disabled and self.bottleneck_disabled:
            raise ValueError("decoder_disabled leaves no decoder for bottleneck_disabled; set one of them")
        return self
