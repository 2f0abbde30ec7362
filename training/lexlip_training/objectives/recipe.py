"""The recipe of `lexlip-tiny`, whose parts tie every term of the vocabulary to the word that it spells.

LexLIP's contrast and FLOPS alone leave the terms of a small data set free to mean anything. Here pictures also answer
inference-free queries and predict the words that people and the backbone's classifier have for them (as in the SPLADE
line of work), and two sources know words without pictures (`lessons.py`): made-up verdicts of the classifier, and
WordNet. Temperature and teacher belong to the objective, not to the model, and are not shipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lexlip_kernels.errors import InputError
from lexlip_kernels.lexicon_pool import saturate
from lexlip_training.data.batch import PairBatch, padded
from lexlip_training.lexicon.folder import Lexicon
from lexlip_training.model import LexLIP
from lexlip_training.objectives.config import ObjectiveConfig
from lexlip_training.objectives.lessons import Lesson, Lessons
from lexlip_training.objectives.objective import Objective, full_precision
from lexlip_training.objectives.recipe_losses import (
    TokenIds,
    divergence,
    flops,
    info_nce,
    inverse_document_frequency,
    kin,
    lookup_queries,
    matched,
    positives,
    shares,
    strongest,
    word_targets,
)

#: Parts of the loss, and the setting that weighs each; None weighs 1.
WEIGHTS: dict[str, str | None] = {
    "contrast": None,  # captions find their image, and the reverse
    "bag": "bag_weight",  # so do lookup queries of the captions' terms
    "words": "word_weight",  # an image's terms are the words of its captions and of the teacher's classes
    "own_words": "own_weight",  # a caption's terms are its own words
    "flops": "flops_weight",  # few terms, short posting lists
    "made_up_words": "class_weight",  # a made-up verdict's terms are the words of its classes
    "names": "class_weight",  # names of classes find their made-up verdicts, and the reverse
    "bag_names": "class_weight",  # lookup queries of the names do
    "seen_names": "class_weight",  # lookup queries of the names find what the teacher saw
    "meanings": "meaning_weight",  # a noun's terms are the words of what it is a kind of
    "classes": "teacher_weight",  # a backbone that trains sees what the teacher sees
}

#: Patches of other pictures that stand beside the classes of a made-up verdict.
_STRANGE_PATCHES = 8


@dataclass(frozen=True, slots=True)
class _Said:
    """What the model makes of a step: max-pooled logits before saturation.

    Attributes:
        images: (B, V).
        verdicts: (n, V) of the lesson's.
        captions: (B * captions, V).
        names: (n, V) of the lesson's classes.
        meanings: (n, V) of the lesson's.
    """

    images: Tensor
    verdicts: Tensor
    captions: Tensor
    names: Tensor
    meanings: Tensor


class RecipeObjective(Objective):
    """Several captions an image against the images of the batch, and what ties terms to words.

    Args:
        config: of kind "recipe".
        model: with both towers, class tokens and query weights. The average of its weights over the steps is what is
            evaluated and saved. As it is now, its classifier is the teacher of classes.
        captions: token ids of every training image's captions, in the order of their image ids.
        lexicon: what words mean.
        caption_vectors: (N, E), unit vectors of the images' captions in the mean; read where `kin_share` is not 0.

    Raises:
        InputError: the model has no class tokens or query weights, or the lexicon is of other classes or terms.
    """

    model: LexLIP
    targets: Tensor
    idf: Tensor
    caption_vectors: Tensor | None

    def __init__(
        self,
        config: ObjectiveConfig,
        model: LexLIP,
        captions: TokenIds,
        lexicon: Lexicon,
        caption_vectors: Tensor | None = None,
    ) -> None:
        _refuse_misfits(model, lexicon)
        super().__init__(config, model)
        shapes = model.config
        every = [ids for image in captions for ids in image]
        idf = inverse_document_frequency(every, shapes.vocab_size, shapes.suppressed_ids)
        self.learned = nn.ParameterDict({"log_scale": torch.tensor(20.0).log()})
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.average_decay))  # type: ignore[no-untyped-call]
        self.average.requires_grad_(False)
        self.lessons = Lessons(lexicon, shapes.suppressed_ids)
        self.register_buffer("targets", word_targets(captions, idf.pow(config.word_idf_power)), persistent=False)
        self.register_buffer("idf", idf, persistent=False)
        self.register_buffer("caption_vectors", caption_vectors, persistent=False)
        # In a tuple, where no state dict finds it.
        self._teacher = (deepcopy(model.image_tower).eval().requires_grad_(False),)

    @property
    def result(self) -> LexLIP:
        """The average."""
        averaged = self.average.module
        assert isinstance(averaged, LexLIP)
        return averaged

    def clipped(self) -> Iterable[nn.Parameter]:
        """The model's: the temperature takes gradients of any size."""
        return self.model.parameters()

    def after_step(self) -> None:
        """Let the average follow."""
        self.average.update_parameters(self.model)

    def forward(self, batch: PairBatch) -> dict[str, Tensor]:
        """The loss and its parts.

        Args:
            batch: of B images and n captions of each, those of one image adjacent.
        """
        patches = self.model.image_tower.backbone_tokens(batch.pixels)
        taught = self._teach(batch.pixels)
        images = self.model.image_logits(patches).float()
        lesson = self.lessons.draw(max(1, len(patches) // 2))
        verdicts = self._say_verdicts(patches, lesson.verdicts)
        said = _Said(images, verdicts, *self._say_texts(batch, lesson))
        with full_precision(batch.pixels):
            parts = self._parts(batch, lesson, said, taught)
            if patches.requires_grad:
                parts["classes"] = divergence(self.model.image_tower.class_logits(patches.float()), taught)
        loss = torch.stack([self._weight(name) * part for name, part in parts.items()]).sum()
        return {"loss": loss} | {name: part.detach() for name, part in parts.items()}

    def _weight(self, part: str) -> float:
        setting = WEIGHTS[part]
        weight: float = 1.0 if setting is None else getattr(self.config, setting)
        return weight

    @torch.no_grad()
    def _teach(self, pixels: Tensor) -> Tensor:
        """What the classifier made of the pictures before training: (B, C) probabilities."""
        (teacher,) = self._teacher
        return teacher.class_logits(teacher.backbone_tokens(pixels)).float().softmax(dim=1)

    def _say_verdicts(self, patches: Tensor, verdicts: Tensor) -> Tensor:
        """Logits (n, V) of verdicts (n, C), beside patches (B, L, width) of whatever pictures are at hand."""
        strange = patches.detach()[torch.randperm(len(patches))[: len(verdicts)]]
        tokens = self.model.image_tower.tokens_of_classes(strange, verdicts, _STRANGE_PATCHES)
        head = self.model.image_head
        return self.model.pooled(head.transform(tokens), head).float()

    def _say_texts(self, batch: PairBatch, lesson: Lesson) -> Sequence[Tensor]:
        """Logits of captions, names and meanings, through the tower at once."""
        lengths = batch.attention_mask.sum(1).tolist()
        captions = [ids[:length] for ids, length in zip(batch.input_ids.tolist(), lengths, strict=True)]
        kinds = (captions, lesson.names, lesson.meanings)
        input_ids, mask = padded([ids for texts in kinds for ids in texts])
        device = batch.pixels.device
        logits = self.model.text_logits(input_ids.to(device), mask.to(device)).float()
        return torch.split(logits, [len(texts) for texts in kinds])

    def _parts(self, batch: PairBatch, lesson: Lesson, said: _Said, taught: Tensor) -> dict[str, Tensor]:
        """The parts of the loss but the last, not yet weighed; `taught` (B, C) is the teacher's verdict."""
        images, captions = saturate(said.images), saturate(said.captions)
        scale, lookup = self.learned["log_scale"].exp().clamp(max=100.0), self.model.lookup_weights()
        called, class_words = self.lessons.called, self.lessons.class_words
        # A teacher in doubt names what is not there.
        share = self.config.class_share * taught.amax(dim=1, keepdim=True)
        words = (1 - share) * self.targets[batch.image_ids] + share * shares(taught @ class_words)
        verdicts = normalize(saturate(said.verdicts), dim=1)
        related = self._related(batch.image_ids)
        return {
            "contrast": self._contrast(images, captions, scale, related),
            "bag": self._contrast(images, lookup_queries(batch.input_ids, lookup), scale, related),
            "words": divergence(said.images, words),
            "own_words": divergence(said.captions, shares(lookup_queries(batch.input_ids, self.idf))),
            "flops": flops(images) + flops(captions),
            "made_up_words": divergence(said.verdicts, shares(lesson.verdicts @ class_words)),
            "names": matched(verdicts, normalize(saturate(said.names), dim=1), scale),
            "bag_names": cross_entropy(scale * called(verdicts, lookup), lesson.classes),
            "seen_names": divergence(scale * called(normalize(images, dim=1), lookup), taught),
            "meanings": divergence(said.meanings, lesson.meaning_words),
        }

    def _related(self, image_ids: Tensor) -> Tensor:
        """(B, B), see `info_nce`."""
        own = positives(image_ids)
        if self.caption_vectors is None or not self.config.kin_share:
            return own
        return kin(self.caption_vectors[image_ids], own, self.config.kin_share, self.config.kin_temperature)

    def _contrast(self, images: Tensor, texts: Tensor, scale: Tensor, related: Tensor) -> Tensor:
        """InfoNCE of whole images, and half of it of what an index keeps of them where the settings say so."""
        whole = info_nce(images, texts, scale, related)
        kept = self.config.joint_top_k
        return whole if kept is None else 0.5 * (whole + info_nce(strongest(images, kept), texts, scale, related))


def _refuse_misfits(model: LexLIP, lexicon: Lexicon) -> None:
    image, text = model.config.image, model.config.text
    if image is None or text is None or not image.class_tokens or not text.lookup:
        raise InputError(
            f"objective 'recipe' with {model.config.name}, which has no class tokens or no query weights; "
            "expected a model of preset lexlip-tiny"
        )
    classes, terms = lexicon.class_words.shape
    if (classes, terms) != (image.classes, model.config.vocab_size):
        raise InputError(
            f"a lexicon of {classes:,} classes and {terms:,} terms; the model has {image.classes:,} and "
            f"{model.config.vocab_size:,}: name the lexicon that it started from"
        )
