"""One run, put together from its settings: model, data, objective, loop, and what is left in the folder."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from accelerate.utils import set_seed
from tokenizers import Tokenizer

from lexlip_kernels.errors import InputError
from lexlip_training.checkpoint import save_checkpoint
from lexlip_training.config import ImageTowerConfig
from lexlip_training.data import GlobalBatchSampler, PairTable, open_pairs, read_pairs
from lexlip_training.data.caption_groups import CaptionGroups
from lexlip_training.engine.batches import GroupBatches, SampledBatches, StemMemory
from lexlip_training.engine.evaluation import Evaluator
from lexlip_training.engine.loop import TrainingLoop
from lexlip_training.engine.monitoring import plot_run, read_log
from lexlip_training.engine.optimisation import describe_groups, make_accelerator, parameter_groups, weights_dtype
from lexlip_training.engine.run_folder import RunFolder
from lexlip_training.engine.settings import TrainingConfig
from lexlip_training.engine.starting_model import enable_gradient_checkpointing, starting_model
from lexlip_training.lexicon.folder import Lexicon
from lexlip_training.model import DenseModel, LexLIP
from lexlip_training.objectives import build_objective
from lexlip_training.record import nowhere, provenance
from lexlip_training.towers import depthwise_in_float32

if TYPE_CHECKING:
    from accelerate import Accelerator

    from lexlip_training.objectives.objective import Objective


#: In a run's folder: what the recipe's frozen stages made of its crops, for a resumed run; as large as 1 GB.
STEM = "stem"


def micro_batch_size(config: TrainingConfig, processes: int) -> int:
    """Pairs that one process takes at a time.

    Raises:
        InputError: the batch does not divide evenly.
    """
    shares = processes * config.optimiser.accumulation
    if config.optimiser.batch_size % shares or config.optimiser.batch_size < shares:
        raise InputError(
            f"optimiser.batch_size {config.optimiser.batch_size} on {processes} processes with accumulation "
            f"{config.optimiser.accumulation}; it must be a multiple of {shares}"
        )
    return config.optimiser.batch_size // shares


def train(config: TrainingConfig, output: Path, resume: bool) -> None:
    """Train to the end, in as many processes as the launcher started.

    Args:
        config: settings.
        output: run folder.
        resume: go on from the folder's last checkpoint, if there is one.

    Raises:
        InputError: settings, data and folder do not fit together.
    """
    torch.set_num_threads(config.run.threads)
    accelerator = make_accelerator(config.run, config.optimiser.accumulation)
    loop = _assemble(config, accelerator, output)
    accelerator.wait_for_everyone()
    loop.run(resume)
    if accelerator.is_main_process:
        if config.model.stem_memory is None:
            shutil.rmtree(output / STEM, ignore_errors=True)
        plot_run(read_log(output / "log.jsonl"), output / "curves.png")
    accelerator.end_training()


def _assemble(config: TrainingConfig, accelerator: Accelerator, output: Path) -> TrainingLoop:
    folder = RunFolder(output)
    set_seed(config.run.seed)
    follows = config.objective.kind == "recipe"  # its draws go on from those that made the model
    if follows and accelerator.num_processes > 1:
        raise InputError("objective.kind 'recipe' trains in one process; start it without a launcher")
    model, tokenizer, earlier = starting_model(config.model, lambda: training_captions(config), rebuild=not follows)
    model.to(weights_dtype(config.run))
    if follows or config.model.frozen_stages:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.model.frozen_stages:
        model.image_tower.split(config.model.frozen_stages)
        model.image_tower.freeze_stem(config.model.unfreeze_epoch is None)
        if config.run.precision == "bf16" and accelerator.device.type == "cpu":
            depthwise_in_float32(model.image_tower.backbone.blocks[config.model.frozen_stages :])
    if config.model.gradient_checkpointing:
        enable_gradient_checkpointing(model)
    objective, batches = (_recipe if follows else _sampled)(config, accelerator, model, tokenizer, output)
    objective.to(weights_dtype(config.run))
    settings = config.optimiser
    groups = parameter_groups(
        objective.named_parameters(),
        settings.learning_rate,
        settings.weight_decay,
        settings.decay,
        settings.backbone_rate,
    )
    record = provenance(config.run.notice or str(earlier.get("notice", "")))
    if earlier:
        record["continued_from"] = {key: value for key, value in earlier.items() if key not in ("notice", "log")}
    loop = TrainingLoop(
        config,
        accelerator,
        objective,
        groups,
        batches,
        _evaluation(config, accelerator, objective.result, tokenizer),
        lambda path, line: _save_model(path, objective.result, tokenizer, config, record | {"selected": line}, output),
        folder,
    )
    if accelerator.is_main_process:
        folder.write_json("config.json", config.model_dump(mode="json"))
        figures = {"steps_per_epoch": batches.first_step(1), "steps": loop.total, "seed": config.run.seed}
        folder.write_json("run.json", record | figures | {"parameter_groups": describe_groups(groups)})
    return loop


def training_captions(config: TrainingConfig) -> list[str]:
    """All captions of the training split, to make a vocabulary of."""
    captions = read_pairs(config.data.train, "train").captions
    return [captions[row] for row in range(len(captions))]


def _sampled(
    config: TrainingConfig, accelerator: Accelerator, model: LexLIP | DenseModel, tokenizer: Tokenizer, output: Path
) -> tuple[Objective, SampledBatches]:
    """One of the paper's objectives, and its pairs."""
    objective, seed = build_objective(config.objective, model), config.run.seed
    failures = output / "data_failures.jsonl"
    pairs = open_pairs(config.data, "train", tokenizer, _image(model), seed, objective.uses_masks, failures)
    if config.model.frozen_stages:
        pairs.remember(_stem_memory(config, model, pairs.table, len(pairs), torch.float16))
    size, rank = micro_batch_size(config, accelerator.num_processes), accelerator.process_index
    sampler = GlobalBatchSampler(len(pairs), size, rank, accelerator.num_processes, seed)
    return objective, SampledBatches(pairs, sampler, config.optimiser.accumulation, config.data.workers, seed, rank)


def _recipe(
    config: TrainingConfig, _accelerator: Accelerator, model: LexLIP | DenseModel, tokenizer: Tokenizer, output: Path
) -> tuple[Objective, GroupBatches]:
    """The recipe of lexlip-tiny, and its images with several captions each."""
    lexicon = _lexicon(config, tokenizer)
    groups = CaptionGroups(config.data, read_pairs(config.data.train, "train"), tokenizer, _image(model))
    vectors = caption_vectors(groups.table, lexicon) if config.objective.kin_share else None
    objective = build_objective(config.objective, model, groups.input_ids, lexicon, vectors)
    stem, unfreeze = None, config.model.unfreeze_epoch
    if config.model.frozen_stages and unfreeze != 0:
        # In the run's folder, so that a resumed run finds the crops of its first epochs.
        where = config.model.model_copy(update={"stem_memory": config.model.stem_memory or output / STEM})
        remembered = config.model_copy(update={"model": where})
        stem = _stem_memory(remembered, model, groups.table, len(groups), torch.bfloat16)
    return objective, GroupBatches(groups, config.optimiser.batch_size, stem, config.data.views or 1, unfreeze)


def _lexicon(config: TrainingConfig, tokenizer: Tokenizer) -> Lexicon:
    """What the words of a model's tokenizer mean.

    Raises:
        InputError: it is the lexicon of other words.
    """
    assert config.model.lexicon is not None  # settings are checked
    lexicon = Lexicon.load(config.model.lexicon)
    if lexicon.tokenizer.get_vocab() != tokenizer.get_vocab():
        raise InputError(
            f"{config.model.lexicon}: its words are not those of the model; name the lexicon that it started from"
        )
    return lexicon


def caption_vectors(table: PairTable, lexicon: Lexicon) -> torch.Tensor:
    """Unit vectors (N, E): the mean of where an image's captions lie in the lexicon's sentence encoder.

    Raises:
        InputError: the lexicon was made without one of the captions.
    """
    rows = {caption: row for row, caption in enumerate(lexicon.captions)}
    means = []
    for captions in table.captions_of():
        texts = [table.captions[row] for row in captions]
        unknown = [text for text in texts if text not in rows]
        if unknown:
            raise InputError(f"the lexicon does not know the caption {unknown[0][:60]!r}; make it from these captions")
        means.append(torch.from_numpy(lexicon.caption_vectors[[rows[text] for text in texts]]).float().mean(dim=0))
    return torch.nn.functional.normalize(torch.stack(means), dim=1)


def _stem_memory(
    config: TrainingConfig, model: LexLIP | DenseModel, table: PairTable, samples: int, dtype: torch.dtype
) -> StemMemory:
    assert config.data.views is not None  # settings are checked
    data = config.data.model_dump_json(include={"augmentation", "crop_scale", "rows", "views"})
    files = "\n".join(table.origin(image) for image in range(table.images))
    crops = f"{data}\n{_image(model).model_dump_json()}\n{config.run.seed}\n{samples}\n{files}"
    return StemMemory(model.image_tower, config.data.views, samples, config.model.stem_memory, crops, dtype)


def _evaluation(
    config: TrainingConfig, accelerator: Accelerator, model: LexLIP | DenseModel, tokenizer: Tokenizer
) -> Evaluator:
    pairs = open_pairs(config.data, "dev", tokenizer, _image(model), config.run.seed, None)

    def autocast() -> AbstractContextManager[Any]:
        return cast("AbstractContextManager[Any]", accelerator.autocast())

    return Evaluator(model, pairs, config.evaluation, accelerator.device, autocast)


def _image(model: LexLIP | DenseModel) -> ImageTowerConfig:
    image = model.towers.image
    assert image is not None  # objectives refuse models without
    return image


def _save_model(
    path: Path,
    model: LexLIP | DenseModel,
    tokenizer: Tokenizer,
    config: TrainingConfig,
    record: dict[str, Any],
    output: Path,
) -> None:
    tokenizer.no_padding()
    settings = {"settings": nowhere(config.model_dump(mode="json")), "log": read_log(output / "log.jsonl")}
    save_checkpoint(path, model, tokenizer, record | settings)
