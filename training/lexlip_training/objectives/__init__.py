"""Training objectives: the paper's pre-training and momentum contrast, the same for dense models, and a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexlip_kernels.errors import InputError
from lexlip_training.objectives.config import ObjectiveConfig

if TYPE_CHECKING:
    from lexlip_training.lexicon.folder import Lexicon
    from lexlip_training.model import DenseModel, LexLIP
    from lexlip_training.objectives.objective import Objective
    from lexlip_training.objectives.recipe_losses import TokenIds

__all__ = ["ObjectiveConfig", "build_objective"]


def build_objective(
    config: ObjectiveConfig,
    model: LexLIP | DenseModel,
    captions: TokenIds | None = None,
    lexicon: Lexicon | None = None,
) -> Objective:
    """An objective around a model whose weights are already loaded: key encoders start as their copies.

    Args:
        config: which, and how.
        model: what it trains.
        captions: of kind "recipe" alone: token ids of every training image's captions, in the order of image ids.
        lexicon: of kind "recipe" alone: what the terms mean.

    Raises:
        InputError: the model lacks a tower, or is not of the kind that the objective trains.
    """
    # Here, so that settings can be read without loading timm and transformers.
    from lexlip_training.model import DenseModel, LexLIP
    from lexlip_training.objectives.momentum import MomentumContrast
    from lexlip_training.objectives.pretrain import PretrainDense, PretrainLexicon
    from lexlip_training.objectives.recipe import RecipeObjective

    if isinstance(model, LexLIP) and len(model.config.modalities) == 1:
        raise InputError(f"{model.config.name} has {model.config.modalities[0]}s only; objectives pair both towers")
    if isinstance(model, DenseModel) and (config.joint_top_k is not None or config.storage == "sparse"):
        raise InputError("joint_top_k and storage 'sparse' prune terms, and a dense model has none; leave them out")
    if config.kind == "momentum_contrast":
        return MomentumContrast(config, model)
    if config.kind == "pretrain_lexicon" and isinstance(model, LexLIP):
        return PretrainLexicon(config, model)
    if config.kind == "pretrain_dense" and isinstance(model, DenseModel):
        return PretrainDense(config, model)
    if config.kind == "recipe" and isinstance(model, LexLIP) and captions is not None and lexicon is not None:
        return RecipeObjective(config, model, captions, lexicon)
    raise InputError(
        f"objective {config.kind!r} with a {type(model).__name__}; "
        "pretrain_lexicon and recipe train a LexLIP (recipe with captions and a lexicon), pretrain_dense a DenseModel"
    )
