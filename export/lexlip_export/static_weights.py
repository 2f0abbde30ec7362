"""Query encoders that are a table: what each term weighs, wherever it stands. No model runs, so none is imported.

Three kinds are told apart by their looks:

- a `SparseStaticEmbedding` of sentence-transformers, alone or as the query side of a Router;
- the idf.json of OpenSearch's models for documents: weights by token, with the tokenizer beside it;
- the query half of V-SPLADE, softplus(E p + c) for every term, added up as often as it stands there.

Pickles go through the loader that runs nothing of the file. Tensor names are total: one that is unknown or missing is
an error. A weight that is negative or no number is one too: an index has no place for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from torch import Tensor

from lexlip_export.folder_settings import (
    FolderSettings,
    prompts_of,
    set_normaliser,
    similarity_of,
    tokenizer_settings,
    top_k_of,
    truncation_side,
)
from lexlip_export.licence import licence_notice
from lexlip_export.pretrained import read_weights
from lexlip_export.sentence_modules import STATIC, Module, Modules, read_modules
from lexlip_infer.files import read_json
from lexlip_infer.manifest import MOST_TOKENS, TextSettings
from lexlip_infer.runtime.head_weights import MOST_WEIGHT
from lexlip_kernels.errors import BundleError
from lexlip_training.checkpoint import stored_shapes
from lexlip_training.wordpiece import read_tokenizer_file

Weights = npt.NDArray[np.float32]

IDF = "idf.json"
_SAFE = "model.safetensors"
#: V-SPLADE's query half, and what its document half, an image and text model, is called beside it.
_QUERY_HALF = tuple(f"query_encoder.{name}" for name in ("embeddings.weight", "projection.weight", "projection.bias"))
_DOCUMENT_HALF = "encoder."
#: Which never weigh anything there.
_SPECIAL = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
#: Tokens of a text where the folder does not say.
_LENGTH = 512


class StaticFolder(NamedTuple):
    """A query encoder that is a table.

    Attributes:
        name: of the model.
        weights: (V,) float32, 0 or more.
        tokenizer: of as many terms; it adds no special tokens.
        record: JSON-serialisable, of where the weights come from.
        similarity: of queries and documents.
        text: how texts are encoded.
        text_top_k: terms kept of a text; None for all.
    """

    name: str
    weights: Weights
    tokenizer: Tokenizer
    record: dict[str, Any]
    similarity: Literal["cosine", "dot"]
    text: TextSettings
    text_top_k: int | None


def load_static_folder(checkpoint: Path, tokenizer_file: Path | None = None) -> StaticFolder | None:
    """Read a query encoder that is a table, with nothing beside it that encodes documents.

    Args:
        checkpoint: folder, or a file whose name ends in idf.json.
        tokenizer_file: another tokenizer than the one beside the table.

    Returns:
        Nothing where this is something else, or a document encoder beside a table.

    Raises:
        BundleError: a file is missing or damaged, a setting cannot be kept, or the weights are none of an index.
    """
    if checkpoint.name.endswith(IDF) and checkpoint.is_file():
        return _idf_table(checkpoint, tokenizer_file or checkpoint.parent)
    modules = read_modules(checkpoint)
    if modules is not None:
        kinds = [module.kind for module in modules.documents]
        if modules.queries is None and kinds == [STATIC]:
            return _module_alone(checkpoint, modules.documents[0], tokenizer_file)
        return None
    if (checkpoint / _SAFE).is_file() and any(name in _QUERY_HALF for name in stored_shapes(checkpoint / _SAFE)):
        return _v_splade(checkpoint, tokenizer_file)
    if (checkpoint / IDF).is_file() and not (checkpoint / "config.json").exists():
        return _idf_table(checkpoint / IDF, tokenizer_file or checkpoint)
    return None


def query_weights(folder: Path, modules: Modules | None, tokenizer: Tokenizer) -> Weights | None:
    """The table beside a document encoder, whose special tokens weigh nothing; None where there is none.

    Args:
        folder: of both.
        modules: of sentence-transformers; without them the table may be an idf.json.
        tokenizer: of the document encoder, which has to be that of queries.

    Raises:
        BundleError: queries take another way than a table, or the table is of another tokenizer.
    """
    if modules is None:
        if not (folder / IDF).is_file():
            return None
        weights = _idf_weights(folder / IDF, tokenizer)
    elif (queries := modules.queries) is None:
        return None
    else:
        if [module.kind for module in queries] != [STATIC]:
            given = ", ".join(module.kind for module in queries)
            raise BundleError(f"{folder}: queries go through {given}; expected {STATIC}, or the way of documents")
        weights = _module_weights(queries[0], folder, tokenizer)
        theirs = _without_ends(_tokenizer_of(queries[0].folder))
        if theirs.to_str() != _without_ends(tokenizer).to_str():
            raise BundleError(f"{folder}: queries and documents have different tokenizers; a bundle can only have one")
    # The bundle's tokenizer adds them to each text, the library's tokenizer for tables does not.
    weights[tokenizer.encode("").ids] = 0
    return weights


def _module_alone(folder: Path, module: Module, tokenizer_file: Path | None) -> StaticFolder:
    tokenizer = read_tokenizer_file(tokenizer_file) if tokenizer_file else _tokenizer_of(module.folder)
    sparse = FolderSettings(folder / "config_sentence_transformers.json", "__version__", "requirements")
    sparse.expect(model_type="SparseEncoder")
    prompts, default = prompts_of(sparse)
    similarity, top_k = similarity_of(sparse), top_k_of(sparse)
    sparse.refuse_rest()
    weights = _module_weights(module, folder, tokenizer)
    text = _text(module.folder, tokenizer, "once").model_copy(update={"prompts": prompts, "default_prompt": default})
    return _whole(folder, weights, tokenizer, "sentence-transformers", similarity, text, top_k)


def _module_weights(module: Module, folder: Path, tokenizer: Tokenizer) -> Weights:
    """The weights of a `SparseStaticEmbedding`, which may be in an idf.json instead."""
    settings = FolderSettings(module.folder / "config.json", "frozen")
    path = settings.take("path", None)
    settings.refuse_rest()
    if path is not None:
        found = [place / Path(str(path)).name for place in (module.folder, folder)]
        there = [file for file in found if file.suffix == ".json" and file.is_file()]
        if not there:
            raise settings.refusal("path", path, "expected an idf.json in the folder")
        return _idf_weights(there[0], tokenizer)
    tensors = read_weights(module.folder, ())
    if set(tensors) != {"weight"}:
        raise BundleError(f"{module.folder}: holds tensors {', '.join(sorted(tensors)[:4])}; expected weight alone")
    return _checked(tensors["weight"].numpy().copy(), tokenizer, str(module.folder))


def _tokenizer_of(folder: Path) -> Tokenizer:
    """As transformers opens it: `tokenizer_config.json` may change what stands in `tokenizer.json`."""
    tokenizer = read_tokenizer_file(folder)
    set_normaliser(tokenizer, tokenizer_settings(folder), folder)
    return tokenizer


def _idf_table(path: Path, tokenizer_file: Path) -> StaticFolder:
    tokenizer = read_tokenizer_file(tokenizer_file)
    text = _text(tokenizer_file if tokenizer_file.is_dir() else tokenizer_file.parent, tokenizer, "once")
    weights = _idf_weights(path, tokenizer)
    return _whole(path.parent, weights, tokenizer, f"OpenSearch's {path.name}", "dot", text, None)


def _idf_weights(path: Path, tokenizer: Tokenizer) -> Weights:
    """Weights by token, as OpenSearch writes them; a token that is not listed weighs nothing."""
    table = read_json(path, refuse=lambda reason: BundleError(f"{path}: {_pointer(path) or reason}"))
    if not isinstance(table, dict) or not table:
        raise BundleError(f"{path}: not a table of weights; expected a JSON object, a weight for each token")
    wrong = [
        token for token, weight in table.items() if isinstance(weight, bool) or not isinstance(weight, int | float)
    ]
    if wrong:
        raise BundleError(f"{path}: {wrong[0]!r} weighs {table[wrong[0]]!r}; expected a number for each token")
    ids = tokenizer.get_vocab(with_added_tokens=True)
    unknown = [token for token in table if token not in ids]
    if unknown:
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        raise BundleError(f"{path}: the tokenizer lacks {unknown[0]!r}{more}; give the tokenizer of this table")
    weights = np.zeros(tokenizer.get_vocab_size(with_added_tokens=True), np.float32)
    with np.errstate(over="ignore"):  # what is too large is refused below
        weights[[ids[token] for token in table]] = list(table.values())
    return _checked(weights, tokenizer, str(path))


def _v_splade(folder: Path, tokenizer_file: Path | None) -> StaticFolder:
    """softplus(E p + c), as its query encoder computes it for every term; the document half is left behind."""
    path = folder / _SAFE
    shapes = stored_shapes(path)
    missing = [name for name in _QUERY_HALF if name not in shapes]
    unknown = [name for name in shapes if name not in _QUERY_HALF and not name.startswith(_DOCUMENT_HALF)]
    if missing or unknown:
        said = f"lacks {missing[0]}" if missing else f"has the unknown tensor {unknown[0]}"
        raise BundleError(f"{path}: {said}; expected V-SPLADE's query_encoder, and encoder beside it")
    try:
        with safe_open(str(path), "pt") as file:
            embeddings, projection, bias = (file.get_tensor(name).float() for name in _QUERY_HALF)
    except SafetensorError as error:
        raise BundleError(f"{path}: damaged ({error}); copy it again") from None
    if embeddings.ndim != 2 or projection.shape != (1, embeddings.shape[1]) or bias.shape != (1,):
        given = ", ".join(str(tuple(part.shape)) for part in (embeddings, projection, bias))
        raise BundleError(f"{path}: query_encoder is {given}; expected (V, D), (1, D) and (1,)")
    tokenizer = read_tokenizer_file(tokenizer_file or folder)
    weights = _table(embeddings, projection[0], bias, tokenizer)
    return _whole(folder, weights, tokenizer, "V-SPLADE's query half", "dot", _text(folder, tokenizer, "sum"), None)


def _table(embeddings: Tensor, projection: Tensor, bias: Tensor, tokenizer: Tokenizer) -> Weights:
    """A weight for each term of the tokenizer: ids beyond the table weigh nothing, rows beyond the tokenizer go."""
    table = torch.nn.functional.softplus(embeddings @ projection + bias).numpy()
    weights = np.zeros(tokenizer.get_vocab_size(with_added_tokens=True), np.float32)
    shared = min(len(table), len(weights))
    weights[:shared] = table[:shared]
    special = [tokenizer.token_to_id(token) for token in _SPECIAL]
    weights[[term for term in special if term is not None]] = 0
    return weights


def _text(folder: Path, tokenizer: Tokenizer, counting: Literal["once", "sum"]) -> TextSettings:
    words = tokenizer_settings(folder)
    length = words.get("model_max_length", _LENGTH)
    if isinstance(length, bool) or not isinstance(length, int | float) or length < 3:
        raise BundleError(f"{folder}: model_max_length is {length!r}; expected a number of tokens")
    side = truncation_side(tokenizer, words, folder)
    return TextSettings(max_length=int(min(length, MOST_TOKENS)), truncation_side=side, static=counting)


def _whole(
    folder: Path,
    weights: Weights,
    tokenizer: Tokenizer,
    kind: str,
    similarity: Literal["cosine", "dot"],
    text: TextSettings,
    top_k: int | None,
) -> StaticFolder:
    name = folder.resolve().name
    checked = _checked(weights, tokenizer, str(folder))
    record = {"notice": licence_notice(folder, f"Term weights of {name}, converted."), "source": name, "kind": kind}
    return StaticFolder(name, checked, _without_ends(tokenizer), record, similarity, text, top_k)


def _checked(weights: Weights, tokenizer: Tokenizer, what: str) -> Weights:
    terms = tokenizer.get_vocab_size(with_added_tokens=True)
    if weights.shape != (terms,):
        raise BundleError(
            f"{what}: weights are {weights.shape}, the tokenizer has {terms} terms; give its own tokenizer"
        )
    least, most = weights.min(), weights.max()
    if not (least >= 0 and most <= MOST_WEIGHT):
        raise BundleError(
            f"{what}: weights reach from {least:g} to {most:g}; expected numbers from 0 to {MOST_WEIGHT:g}: an index "
            "has no negative ones"
        )
    if most == 0:
        raise BundleError(f"{what}: every weight is 0; no query would find anything")
    return np.ascontiguousarray(weights, np.float32)


def _without_ends(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer without special tokens around a text, truncation or padding: a table's texts have none."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    content: Any = copy
    content.post_processor = None
    return copy


def _pointer(path: Path) -> str:
    """What is wrong with a file that git-lfs has not replaced yet."""
    with path.open("rb") as file:
        is_pointer = file.read(64).startswith(b"version https://git-lfs")
    return "is a pointer of Git LFS, not the file; git lfs pull gets it" if is_pointer else ""
