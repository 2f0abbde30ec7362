"""LexLIPEncoder: the one place where inputs, runtime and sparse vectors meet.

Method names follow sentence-transformers' SparseEncoder where it has one. Towers are loaded on first use, and with the
first of them ONNX Runtime: a search needs no image model, and to ask a model its words needs none at all. Weights are
un-normalised; `similarity` normalises where the manifest says cosine.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lexlip_infer.bundle import Bundle, Modality
from lexlip_infer.errors import BundleError, InputError
from lexlip_infer.inputs.items import several, tracked
from lexlip_infer.inputs.read_ahead import batched
from lexlip_infer.inputs.texts import TextTokenizer, check_token_ids
from lexlip_infer.manifest import MODALITIES
from lexlip_infer.runtime.choice import LOOKUP_PATH, PathChoice, RuntimeOptions, choose_any_path, choose_path
from lexlip_infer.runtime.lookup import Lookup, checked_mode
from lexlip_infer.runtime.machine import look_around
from lexlip_infer.runtime.tower import Tower
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_infer.vocabulary import Vocabulary

if TYPE_CHECKING:
    from lexlip_infer.inputs.images import ImageSource
    from lexlip_infer.inputs.preprocessing import ImagePreprocessor

_logger = logging.getLogger(__name__)


class LexLIPEncoder:
    """Images and texts to sparse vectors over one vocabulary.

    Build it with `from_pretrained`. Pickled, it is opened anew where it is unpickled, from the same folder.

        encoder = LexLIPEncoder.from_pretrained()
        images = encoder.encode_images(["beach.jpg", "dog.jpg"])      # 2 rows
        query = encoder.encode_query("a dog")                         # 1 row
        encoder.similarity(query, images)                             # (1, 2)

    What is encoded may be one input or any iterable of them. One input gives one row: a `SparseBatch` of shape (1, V).
    Images are paths, URLs (extra `io`), image files as bytes or open, Pillow images, and arrays (height, width, 3).

    Args:
        bundle: the model.
        options: where and how it runs.
    """

    def __init__(self, bundle: Bundle, options: RuntimeOptions | None = None) -> None:
        self.bundle = bundle
        self.manifest = bundle.manifest
        self.options = options or RuntimeOptions()
        self.threads = self.options.thread_count
        if bundle.manifest.tokenizer is not None:
            _ = self.vocabulary  # a tokenizer that does not fit is found now, not after the first batch

    @cached_property
    def preprocess(self) -> ImagePreprocessor:
        """Image files to `pixel_values`.

        Raises:
            BundleError: the bundle has no image tower.
        """
        image = self.manifest.image
        if image is None:
            raise self._no_tower("image")
        from lexlip_infer.inputs.preprocessing import ImagePreprocessor  # Pillow, which texts do not need

        return ImagePreprocessor(image.size, image.resize, image.mean, image.std)

    @cached_property
    def tokenize(self) -> TextTokenizer:
        """Texts to `input_ids` and `attention_mask`.

        Raises:
            BundleError: the bundle has no text tower.
        """
        text = self.manifest.text
        if text is None:
            raise self._no_tower("text")
        return TextTokenizer(self.bundle.tokenizer_json(), text.max_length, text.truncation_side)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The words of term ids.

        Raises:
            BundleError: the bundle has no tokenizer, or one of another size.
        """
        return self.bundle.vocabulary()

    def _no_tower(self, modality: Modality) -> BundleError:
        other = "text" if modality == "image" else "image"
        return BundleError(
            f"{self.bundle.folder}: {self.manifest.name} has no {modality} tower; it encodes {other}s alone"
        )

    @classmethod
    def from_pretrained(
        cls,
        path_or_hub_id: str | Path | None = None,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        *,
        backend: str = "auto",
        head: str = "auto",
        memory_arena: bool = True,
        cuda_graph: bool = False,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | Path | None = None,
    ) -> LexLIPEncoder:
        """Open a model.

        Args:
            path_or_hub_id: a bundle folder, a name of `list_models`, the id of a bundle on the Hugging Face hub
                (`owner/name`), or nothing for the model that ships with the package.
            device: "auto", "cpu", "cuda" or "cuda:N".
            precision: "auto" (fp16 on a GPU, on a CPU f32 or what the bundle prefers), "f32", "fp16", "bf16" or "int8".
            threads: of the operators and of image decoding; all available when absent.
            backend: what runs the backbone: "auto", "onnxruntime" or "openvino".
            head: what runs the lexicon head: "auto", "native", "onnx" or "triton".
            memory_arena: let ONNX Runtime keep freed CPU memory for the next batch.
            cuda_graph: record and replay a CUDA graph for every shape of batch.
            revision: branch, tag or commit on the hub.
            token: for the hub, where the model is private or gated.
            cache_dir: where downloads are kept; the hub's own cache when absent.

        Raises:
            BundleError: there is no bundle, it is damaged or of a newer format, or the hub cannot be reached.
            InputError: there is no such option.
            BackendUnavailable: no tower of the model can run as asked here; the message says why and what to do.
            MissingExtra: what was asked for needs a package that is not installed.
        """
        options = RuntimeOptions(device, precision, backend, head, threads, memory_arena, cuda_graph)
        bundle = Bundle.open(path_or_hub_id, revision=revision, token=token, cache_dir=cache_dir)
        # A precision may have been stored of one tower only; the other is refused when it is used.
        if towers := [each for each in MODALITIES if bundle.has_tower(each) and bundle.precisions(each)]:
            machine, manifest = look_around(options.cpu_reason is None), bundle.manifest
            choose_any_path(options, machine, towers, manifest.files, manifest.cpu_precision)
        return cls(bundle, options)

    def path(self, modality: Modality) -> PathChoice:
        """What runs a tower here, and why; loads nothing.

        Raises:
            BundleError: the model has no such tower.
            BackendUnavailable: what was asked for cannot run here.
            MissingExtra: it needs a package that is not installed.
        """
        if not self.bundle.has_tower(modality):
            raise self._no_tower(modality)
        if modality == "text" and checked_mode(self.bundle, None) == "lookup":
            return LOOKUP_PATH
        machine = look_around(gpu=self.options.cpu_reason is None)
        return choose_path(self.options, machine, modality, self.manifest.files, self.manifest.cpu_precision)

    def encode_images(
        self,
        images: ImageSource | Iterable[ImageSource],
        batch_size: int = 32,
        top_k: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> SparseBatch:
        """Encode images.

        Args:
            images: one, or several.
            batch_size: images at a time.
            top_k: terms to keep of each; the manifest's default when absent, V for all.
            show_progress_bar: on stderr; when absent, only if that is a terminal and there are several images.

        Returns:
            One row per image, in order; un-normalised weights.

        Raises:
            ImageError: an image cannot be decoded; the message names it and its position.
            InputError: a number is out of range.
        """
        shown = tracked(several(images), "images", show_progress_bar)
        return self._stack(self.iter_encode_images(shown, batch_size, top_k))

    def encode_texts(
        self,
        texts: str | Iterable[str],
        batch_size: int = 32,
        top_k: int | None = None,
        show_progress_bar: bool | None = None,
        prompt_name: str | None = None,
        mode: str | None = None,
    ) -> SparseBatch:
        """Encode texts; other arguments and result as for `encode_images`.

        A text of more tokens than the model takes is cut, and a warning of the logger `lexlip_infer.encoder` says so.
        `prompt_name` says which of the manifest's prompts is put before each; its default when absent, mostly none.
        The `mode` "lookup" runs no model: each term that stands in a text gets the weight that the bundle has for it;
        "tower" does; None is the model's own way, which for queries (the prompt "query") may be another.

        Raises:
            BundleError: the bundle has no text tower, or for "lookup" no such weights.
            InputError: an element is not a string, a number is out of range, or there is no such prompt or mode.
        """
        shown = tracked(several(texts), "texts", show_progress_bar)
        return self._stack(self.iter_encode_texts(shown, batch_size, top_k, prompt_name, mode))

    def encode_query(
        self,
        queries: str | Iterable[str],
        batch_size: int = 32,
        top_k: int | None = None,
        show_progress_bar: bool | None = None,
        mode: str | None = None,
    ) -> SparseBatch:
        """Encode texts that something is searched with: `encode_texts` with the prompt of queries, where there is one.

        Arguments, result and errors as for `encode_texts`.
        """
        return self.encode_texts(queries, batch_size, top_k, show_progress_bar, "query", mode)

    def encode_document(
        self,
        documents: ImageSource | Iterable[ImageSource],
        batch_size: int = 32,
        top_k: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> SparseBatch:
        """Encode what a collection of this model holds: images, or texts where the bundle has no image tower.

        Arguments and result as for `encode_images` and `encode_texts`, with the prompt of documents.
        """
        if self.bundle.has_tower("image"):
            return self.encode_images(documents, batch_size, top_k, show_progress_bar)
        texts: Any = documents
        return self.encode_texts(texts, batch_size, top_k, show_progress_bar, prompt_name="document")

    def iter_encode_images(
        self, images: ImageSource | Iterable[ImageSource], batch_size: int = 32, top_k: int | None = None
    ) -> Iterator[SparseBatch]:
        """Encode a stream of images in flat memory; yields one batch per `batch_size` images.

        Decoding runs ahead on threads by at most two batches.

        Raises:
            ImageError: an image cannot be decoded; the message names it and its position.
            InputError: a number is out of range.
        """
        from lexlip_infer.inputs.preprocessing import decode_images, decoded_only

        k = self._top_k(top_k, self.manifest.top_k.image)
        pixels = decode_images(several(images), self.preprocess, self.threads, ahead=2 * batch_size)
        for rows in batched(decoded_only(pixels), batch_size):
            yield self.encode_pixels(np.stack(rows), k)

    def iter_encode_texts(
        self,
        texts: str | Iterable[str],
        batch_size: int = 32,
        top_k: int | None = None,
        prompt_name: str | None = None,
        mode: str | None = None,
    ) -> Iterator[SparseBatch]:
        """Encode a stream of texts in flat memory; yields one batch per `batch_size` texts.

        Raises:
            BundleError, InputError: as for `encode_texts`.
        """
        k = self._top_k(top_k, self.manifest.top_k.text)
        if (text := self.manifest.text) is None:
            raise self._no_tower("text")
        prompt, mode = text.prompt(prompt_name), checked_mode(self.bundle, mode, prompt_name == "query")
        count = cut = 0
        try:
            for rows in batched(several(texts), batch_size):
                tokens = self.tokenize.encode(rows, prompt)
                count, cut = count + len(rows), cut + int(tokens.cut.sum())
                yield self.encode_token_ids(tokens.ids, tokens.mask, k, mode)
        finally:
            if cut:
                longest = self.tokenize.max_length
                _logger.warning("%d of %d texts are longer than %d tokens and were cut to that", cut, count, longest)

    def encode_pixels(self, pixels: npt.NDArray[np.float32], top_k: int | None = None) -> SparseBatch:
        """Encode preprocessed images (B, 3, S, S), as `preprocess` makes them.

        Raises:
            InputError: the pixels are of another shape or type, or `top_k` is below 1.
        """
        size = self.preprocess.size
        if pixels.shape[1:] != (3, size, size) or pixels.dtype != np.float32:
            raise InputError(
                f"pixels are {pixels.shape} {pixels.dtype}; expected (B, 3, {size}, {size}) float32, from preprocess"
            )
        k = self._top_k(top_k, self.manifest.top_k.image)
        return self._image_tower({"pixel_values": pixels}, k).with_model(self.bundle.fingerprint)

    def encode_token_ids(
        self,
        input_ids: npt.NDArray[np.int64],
        attention_mask: npt.NDArray[np.int64],
        top_k: int | None = None,
        mode: str | None = None,
    ) -> SparseBatch:
        """Encode tokenised texts, as `tokenize` makes them; the only way where the bundle has no tokenizer.

        Args:
            input_ids: (B, L), token ids: term ids, unless the manifest's `tokens` say otherwise.
            attention_mask: (B, L), 1 on tokens, 0 on padding.
            top_k: terms to keep of each; the manifest's default when absent, V for all.
            mode: as for `encode_texts`.

        Raises:
            BundleError: as for `encode_texts`.
            InputError: the arrays do not fit each other, the vocabulary or the model's length, or `top_k` is below 1.
        """
        text = self.manifest.text
        if text is None:
            raise self._no_tower("text")
        check_token_ids(input_ids, attention_mask, text.max_length, self.manifest.token_count)
        inputs, k = {"input_ids": input_ids, "attention_mask": attention_mask}, self.manifest.top_k.text
        return self._text_side(mode)(inputs, self._top_k(top_k, k)).with_model(self.bundle.fingerprint)

    def decode(self, batch: SparseBatch, top_k: int | None = None) -> list[list[tuple[str, float]]]:
        """The heaviest terms of each row with their weights, heaviest first; all of them when `top_k` is absent."""
        return [list(row.items())[:top_k] for row in batch.to_dicts(self.vocabulary.terms)]

    def similarity(self, a: SparseBatch, b: SparseBatch) -> npt.NDArray[np.float32]:
        """Scores (A, B) of every row of `a` with every row of `b`: cosine or dot product, as the manifest says.

        Raises:
            InputError: the two are over different vocabularies, or another model has made one of them.
        """
        both = a.joined_with(b)
        both.check_same_model(SparseBatch.from_rows((), a.vocab_size).with_model(self.bundle.fingerprint))
        scores: npt.NDArray[np.float32] = (a.to_scipy() @ b.to_scipy().T).toarray().astype(np.float32)
        if self.manifest.similarity == "cosine":
            scores /= np.maximum(np.outer(a.norms(), b.norms()), np.finfo(np.float32).tiny)
        return scores

    def load(self, modality: Modality, mode: str | None = None) -> None:
        """Load a tower, or what "lookup" takes its place with, now instead of on first use.

        Raises:
            BundleError: one of its files is missing, damaged, or not what the format says.
        """
        _ = self._image_tower if modality == "image" else self._text_side(mode)

    @cached_property
    def _image_tower(self) -> Tower:
        return self._open("image")

    @cached_property
    def _text_tower(self) -> Tower:
        return self._open("text")

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup(self.bundle)

    def _text_side(self, mode: str | None) -> Tower | Lookup:
        return self._lookup if checked_mode(self.bundle, mode) == "lookup" else self._text_tower

    def _open(self, modality: Modality) -> Tower:
        from lexlip_infer.runtime.opening import open_tower  # and with it ONNX Runtime

        return open_tower(self.bundle, modality, self.options)

    def _top_k(self, top_k: int | None, default: int) -> int:
        if top_k is not None and top_k < 1:
            raise InputError(f"top_k is {top_k}; expected at least 1, or nothing for the model's default {default}")
        return min(default if top_k is None else top_k, self.manifest.vocab_size)

    def _stack(self, batches: Iterator[SparseBatch]) -> SparseBatch:
        return SparseBatch.concatenate([*batches], self.manifest.vocab_size).with_model(self.bundle.fingerprint)

    def __repr__(self) -> str:
        towers = " and ".join(modality for modality in MODALITIES if self.bundle.has_tower(modality))
        return f"LexLIPEncoder({self.manifest.name}: {towers}, device={self.options.device!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (type(self), self.bundle.folder, self.bundle.fingerprint, self.options)


def _reopen(kind: type[LexLIPEncoder], folder: Path, fingerprint: str, options: RuntimeOptions) -> LexLIPEncoder:
    """An encoder that comes out of a pickle, in this process or another."""
    bundle = Bundle.open(folder)
    if bundle.fingerprint != fingerprint:
        raise BundleError(
            f"{folder} holds another model than when the encoder was pickled (fingerprint {bundle.fingerprint[:12]}, "
            f"then {fingerprint[:12]}); open it again with from_pretrained"
        )
    return kind(bundle, options)
