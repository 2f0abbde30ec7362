"""The recipe of `lexlip-tiny`, whose parts tie every term of the vocabulary to the word that it spells.

LexLIP's contrast and FLOPS alone leave the terms of a small data set free to mean anything. Here pictures also answer
inference-free queries and predict the words that people and the backbone's classifier have for them (as in the SPLADE
line of work), and two sources know words without pictures: made-up verdicts of the classifier, which cover all of its
classes, and WordNet, which says what a thing is a kind of. Temperature and teacher belong to the objective, not to the
model, and are not shipped.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax, normalize
from torch.nn.utils.rnn import pad_sequence
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lexlip_kernels.lexicon_pool import saturate
from lexlip_training.data.batch import PairBatch
from lexlip_training.lexicon.folder import Lexicon
from lexlip_training.model import LexLIP
from lexlip_training.objectives.config import ObjectiveConfig
from lexlip_training.objectives.objective import Objective

#: Token ids of the captions of each image.
TokenIds = Sequence[Sequence[Sequence[int]]]

#: Patches of other pictures that stand beside the classes of a made-up one.
_STRANGE_PATCHES = 8


class RecipeObjective(Objective):
    """Several captions an image against the images of the batch, and what ties terms to words.

    Args:
        config: of kind "recipe".
        model: with both towers, class tokens and query weights. The average of its weights over the steps is what is
            evaluated and saved. As it is now, its classifier is the teacher of classes.
        captions: token ids of every training image's captions, in the order of their image ids.
        lexicon: what words mean.
    """

    model: LexLIP
    idf: Tensor
    targets: Tensor
    class_words: Tensor
    teacher: nn.Module

    def __init__(self, config: ObjectiveConfig, model: LexLIP, captions: TokenIds, lexicon: Lexicon) -> None:
        super().__init__(config, model)
        shapes = model.config
        every = [ids for image in captions for ids in image]
        idf = inverse_document_frequency(every, shapes.vocab_size, shapes.suppressed_ids)
        self.learned = nn.ParameterDict({"log_scale": torch.tensor(20.0).log()})
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.average_decay))  # type: ignore[no-untyped-call]
        self.average.requires_grad_(False)
        self._keep("teacher", deepcopy(model.image_tower).eval().requires_grad_(False))
        self.register_buffer("idf", idf, persistent=False)
        self.register_buffer("targets", word_targets(captions, idf), persistent=False)
        kept = torch.ones(shapes.vocab_size)
        kept[list(shapes.suppressed_ids)] = 0
        self.register_buffer("class_words", shares(torch.from_numpy(lexicon.class_words.toarray()) * kept), persistent=False)
        self.names = Texts(lexicon, [[name for name in names] for names in lexicon.class_names])
        self.meanings = Texts(lexicon, [[name, gloss, f"{name}: {gloss}"] for name, gloss in lexicon.meanings])
        self.meaning_words = lexicon.meaning_words
        self.name_terms = self._name_terms(kept)
        self.kept = kept

    def _keep(self, name: str, module: nn.Module) -> None:
        """Hold a module that is neither trained nor saved."""
        object.__setattr__(self, name, module)

    def called(self, units: Tensor, weights: Tensor) -> Tensor:
        """Cosines (B, C) of unit vectors (B, V) with the inference-free queries of the names of all classes."""
        norms = (self.name_terms @ weights.square().unsqueeze(1)).clamp_min(1e-9).sqrt()
        return (self.name_terms @ (units * weights).T / norms).T

    def _name_terms(self, kept: Tensor) -> Tensor:
        """(C, V) CSR, 1 for each term of the first name of a class."""
        terms = torch.zeros(len(self.names.ids), len(kept))
        for row, names in zip(terms, self.names.ids, strict=True):
            row[names[0]] = 1.0
        return (terms * kept).to_sparse_csr()

    @property
    def result(self) -> LexLIP:
        """The average."""
        averaged = self.average.module
        assert isinstance(averaged, LexLIP)
        return averaged

    def clipped(self) -> Iterable[nn.Parameter]:
        """The model's: the temperature takes gradients of any size."""
        return self.model.parameters()

    def forward(self, batch: PairBatch) -> dict[str, Tensor]:
        """The loss and its parts.

        Args:
            batch: of B images and n captions of each, those of one image adjacent.
        """
        tower, config = self.model.image_tower, self.config
        patches = tower.backbone_tokens(batch.pixels)
        posterior = self._teach(batch.pixels)
        logits = self.model.image_logits(patches).float()
        made_up, classes = self._made_up(len(patches) // 2)
        made_up_logits = self._say_classes(patches, made_up)

        names = [random.choice(self.names.ids[c]) for c in classes]
        chosen = random.sample(range(len(self.meanings.ids)), len(classes))
        meanings = [random.choice(self.meanings.ids[row]) for row in chosen]
        own = [ids[: int(n)] for ids, n in zip(batch.input_ids.tolist(), batch.attention_mask.sum(1), strict=True)]
        text_logits = self._text_logits([*own, *names, *meanings])
        with torch.autocast(batch.pixels.device.type, enabled=False):  # similarities never run in half precision
            parts = self._losses(batch, patches, posterior, logits, (made_up, made_up_logits, classes), text_logits, chosen)
        weights = {"bag": config.bag_weight, "words": config.word_weight, "flops": config.flops_weight}
        weights |= {"made_up_words": config.class_weight, "names": config.class_weight, "meanings": config.meaning_weight}
        weights |= {"bag_names": config.class_weight, "seen_names": config.class_weight, "classes": config.teacher_weight}
        loss = torch.stack([weights.get(name, 1.0) * part for name, part in parts.items()]).sum()
        return {"loss": loss} | {name: part.detach() for name, part in parts.items()}

    def _losses(
        self,
        batch: PairBatch,
        patches: Tensor,
        posterior: Tensor,
        logits: Tensor,
        verdicts: tuple[Tensor, Tensor, list[int]],
        text_logits: Tensor,
        chosen: list[int],
    ) -> dict[str, Tensor]:
        """The parts of the loss, not yet weighed.

        Args:
            batch: see `forward`.
            patches: (B, L, C) of the backbone.
            posterior: (B, C) of the teacher.
            logits: (B, V) of images.
            verdicts: made-up ones (n, C), logits (n, V) of them, their classes.
            text_logits: (B * captions + 2n, V) of captions, names of those classes, meanings.
            chosen: rows of these meanings.
        """
        made_up, made_up_logits, classes = verdicts
        captions, names, meanings = text_logits.split([len(batch.input_ids), len(classes), len(chosen)])
        images, texts = saturate(logits), saturate(captions)
        scale, lookup = self.learned["log_scale"].exp().clamp(max=100.0), self.model.lookup_weights()
        share = self.config.class_share
        words = (1 - share) * self.targets[batch.image_ids] + share * shares(posterior @ self.class_words)
        unit_made_up = normalize(saturate(made_up_logits), dim=1)
        named = scale * unit_made_up @ normalize(saturate(names), dim=1).T
        own = torch.arange(len(classes))
        parts = {
            "contrast": info_nce(images, texts, scale, batch.image_ids),
            "bag": info_nce(images, self.bag_queries(batch.input_ids, lookup), scale, batch.image_ids),
            "words": divergence(logits, words),
            "flops": flops(images) + flops(texts),
            "made_up_words": divergence(made_up_logits, shares(made_up @ self.class_words)),
            "names": 0.5 * (cross_entropy(named, own) + cross_entropy(named.T, own)),
            "bag_names": cross_entropy(scale * self.called(unit_made_up, lookup), torch.tensor(classes)),
            "seen_names": divergence(scale * self.called(normalize(images, dim=1), lookup), posterior),
            "meanings": divergence(meanings, self._meaning_targets(chosen)),
        }
        if patches.requires_grad:
            parts["classes"] = divergence(self.model.image_tower.class_logits(patches.float()), posterior)
        return parts

    def after_step(self) -> None:
        """Let the average follow."""
        self.average.update_parameters(self.model)

    @torch.no_grad()
    def _teach(self, pixels: Tensor) -> Tensor:
        """What the classifier made of the pictures before training: (B, C) probabilities."""
        teacher = self.teacher
        return teacher.class_logits(teacher.backbone_tokens(pixels)).float().softmax(dim=1)

    def _made_up(self, count: int) -> tuple[Tensor, list[int]]:
        """Verdicts (count, C) of a classifier, each for a class of its own, and those classes.

        The rest is shared among classes that have words in common with it, as a real classifier's doubts are.
        """
        classes = random.sample(range(len(self.class_words)), count)
        likeness = self.class_words[classes] @ self.class_words.T
        likeness[torch.arange(count), classes] = 0
        doubts = likeness.pow(2) * torch.rand_like(likeness).pow(4)
        sure = torch.empty(count, 1).uniform_(0.3, 1.0)
        posterior = (1 - sure) * shares(doubts)
        posterior[torch.arange(count), classes] += sure.squeeze(1)
        return shares(posterior), classes

    def _say_classes(self, patches: Tensor, posterior: Tensor) -> Tensor:
        """Logits (n, V) of made-up verdicts, beside patches of whatever pictures are at hand."""
        strange = patches.detach()[torch.randperm(len(patches))[: len(posterior)]]
        tower = self.model.image_tower
        tokens = tower.tokens_of_classes(strange, posterior, _STRANGE_PATCHES)
        hidden = self.model.image_head.transform(tokens)
        return self.model.pooled(hidden, self.model.image_head).float()

    def _text_logits(self, texts: list[list[int]]) -> Tensor:
        input_ids = pad_sequence([torch.tensor(ids) for ids in texts], batch_first=True)
        lengths = torch.tensor([len(ids) for ids in texts])
        mask = (torch.arange(input_ids.shape[1]) < lengths[:, None]).long()
        return self.model.text_logits(input_ids, mask).float()

    def _meaning_targets(self, rows: list[int]) -> Tensor:
        return shares(torch.from_numpy(self.meaning_words[rows].toarray()) * self.kept)

    def bag_queries(self, input_ids: Tensor, weights: Tensor) -> Tensor:
        """Inference-free queries (B, V): the learned weight of each term that stands in the text."""
        present = torch.zeros(len(input_ids), len(weights), device=input_ids.device)
        return present.scatter(1, input_ids, 1.0) * weights


class Texts:
    """Token ids of several wordings each."""

    def __init__(self, lexicon: Lexicon, texts: list[list[str]], length: int = 24) -> None:
        lexicon.tokenizer.no_padding()
        lexicon.tokenizer.enable_truncation(length)
        flat = lexicon.tokenizer.encode_batch([text for wordings in texts for text in wordings])
        lexicon.tokenizer.no_truncation()
        ids = iter([encoding.ids for encoding in flat])
        self.ids = [[next(ids) for _ in wordings] for wordings in texts]


def inverse_document_frequency(captions: Sequence[Sequence[int]], vocab_size: int, suppressed: Sequence[int]) -> Tensor:
    """ln(number of captions / captions that hold the term), of a term in none as if one did, 0 if suppressed; (V,)."""
    frequency = torch.zeros(vocab_size)
    for ids in captions:
        frequency[list(set(ids))] += 1
    idf = (len(captions) / frequency.clamp_min(1)).log()
    idf[list(suppressed)] = 0.0
    return idf


def word_targets(images: TokenIds, idf: Tensor) -> Tensor:
    """Each image's words, counted over its captions, weighted by idf, summing to one; (N, V)."""
    targets = torch.zeros(len(images), len(idf))
    for row, captions in zip(targets, images, strict=True):
        for ids in captions:
            row[list(set(ids))] += 1
    return shares(targets * idf)


def shares(rows: Tensor) -> Tensor:
    """Rows divided by their sums; an empty one stays empty."""
    return rows / rows.sum(dim=1, keepdim=True).clamp_min(1e-9)


def info_nce(images: Tensor, texts: Tensor, scale: Tensor, image_ids: Tensor) -> Tensor:
    """Symmetric InfoNCE with several texts an image, positives sharing the target equally.

    Args:
        images: (B, V) weights.
        texts: (B*n, V) weights, the n texts of an image adjacent.
        scale: (), inverse temperature.
        image_ids: (B,), equal where two rows show the same image, whose pairs are then positives, too.
    """
    texts_each = len(texts) // len(images)
    scores = scale * normalize(images.float(), dim=1) @ normalize(texts.float(), dim=1).T
    positive = (image_ids[:, None] == image_ids.repeat_interleave(texts_each)[None, :]).float()
    to_text = -(log_softmax(scores, dim=1) * positive).sum(1) / positive.sum(1)
    to_image = -(log_softmax(scores, dim=0) * positive).sum(0) / positive.sum(0)
    return 0.5 * (to_text.mean() + to_image.mean())


def divergence(logits: Tensor, target: Tensor) -> Tensor:
    """Kullback-Leibler divergence from a distribution to the softmax of logits, mean over rows; empty rows give 0.

    Args:
        logits: (B, V); of max-pooled logits before saturation the softmax is LexLIP's lexicon bottleneck.
        target: (B, V), each row a distribution.
    """
    log_target = torch.where(target > 0, target, 1.0).log()
    return (target * (log_target - log_softmax(logits.float(), dim=1))).sum(1).mean()


def flops(weights: Tensor) -> Tensor:
    """Expected number of multiplications of an inverted index: the sum over terms of the squared mean weight.

    Args:
        weights: (B, V), not normalised: on unit vectors this could only spread mass, never shrink it.
    """
    return weights.float().mean(0).square().sum()
