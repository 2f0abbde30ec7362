"""A whole benchmark: ceilings first, then every setting in turn, round after round, each in a process of its own.

Going round the settings, and not from one to the next, spreads whatever the machine does meanwhile over all of them;
and processes, not loops in one, are what differs from run to run (see `report.py`).
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from lexlip_infer.bench.assemble import Measured, assemble
from lexlip_infer.bench.ceilings import Ceilings, measure_ceilings
from lexlip_infer.bench.machine import listen, machine_info
from lexlip_infer.bench.presentation import name_of
from lexlip_infer.bench.report import Report
from lexlip_infer.bench.settings import Job, Mode, Setting
from lexlip_infer.bench.work import Work, work_of
from lexlip_infer.bench.worker import Sample, run_worker
from lexlip_infer.bundle import Bundle, Modality
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.runtime.choice import PathChoice

_MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes:
        bundle: the model.
        settings: in the order of the table.
        inputs: by modality, a folder of images or a file of texts.
        items: images or texts a round; rounded up to full batches of each setting.
        rounds: turns of every setting.
        described: the inputs, for people.
    """

    bundle: Bundle
    settings: Sequence[Setting]
    inputs: Mapping[Modality, Path]
    items: int
    rounds: int
    described: str


def run_benchmark(plan: Plan, tell: Tell, ceilings_width: int = 2048) -> Report:
    """Measure everything; an interrupt ends it early, with the rounds that all settings have had.

    Args:
        plan: what.
        tell: hears of every step.
        ceilings_width: of the products that the ceilings are measured with.

    Raises:
        BackendUnavailable, MissingExtra: a setting cannot run here; found before anything is measured.
        InputError: an input cannot be encoded.
        KeyboardInterrupt: before the first round was complete.
    """
    paths = [LexLIPEncoder(plan.bundle, each.options).path(each.modality) for each in plan.settings]
    plan = replace(plan, settings=[_named(each, path) for each, path in zip(plan.settings, paths, strict=True)])
    noise = [listen()]
    ceilings = _ceilings(plan.settings, paths, tell, ceilings_width)
    samples = _samples(plan, tell)
    plan = replace(plan, rounds=len(samples[0]) // len(_MODES))
    tell("counting operations")
    works = _works(plan, samples)
    results = [
        assemble(
            Measured(setting, samples[number]),
            works[setting.modality],
            plan.bundle.manifest.files[path.graph.replace(".xml", ".bin")].size,
            path.precision,
            ceilings[path.device, setting.threads],
        )
        for number, (setting, path) in enumerate(zip(plan.settings, paths, strict=True))
    ]
    noise.append(listen())
    return Report(
        machine=machine_info(),
        noise=noise,
        model=_model(plan.bundle),
        inputs=plan.described,
        rounds=plan.rounds,
        ceilings=list(ceilings.values()),
        results=results,
    )


def _named(setting: Setting, path: PathChoice) -> Setting:
    """What was left to "auto", by the name of what it came to: so that reports can be compared."""
    return setting.model_copy(update={"device": path.device, "backend": path.backend, "precision": path.precision})


_Key = tuple[str, int]


def _ceilings(settings: Sequence[Setting], paths: Sequence[PathChoice], tell: Tell, width: int) -> dict[_Key, Ceilings]:
    keys = dict.fromkeys((path.device, each.threads) for each, path in zip(settings, paths, strict=True))
    found = {}
    for device, threads in keys:
        tell(f"ceilings of {device}, {threads} threads")
        found[device, threads] = measure_ceilings(device, threads, width)
    return found


def _samples(plan: Plan, tell: Tell) -> dict[int, list[Sample]]:
    """By number of the setting, of complete rounds."""
    found: dict[int, list[Sample]] = {number: [] for number in range(len(plan.settings))}
    turns, started = list(itertools.product(range(plan.rounds), enumerate(plan.settings))), time.monotonic()
    try:
        for done, (turn, (number, setting)) in enumerate(turns):
            left = _remaining(done, len(turns), started)
            tell(f"round {turn + 1} of {plan.rounds}: {name_of(setting)}; {left}")
            found[number] += [run_worker(job) for job in _jobs(plan, setting)]
    except KeyboardInterrupt:
        complete = min(map(len, found.values()))
        if complete == 0:
            raise
        tell(f"interrupted: {complete // len(_MODES)} of {plan.rounds} rounds are complete and kept")
        return {number: samples[:complete] for number, samples in found.items()}
    return found


def _jobs(plan: Plan, setting: Setting) -> Iterator[Job]:
    full = -(-plan.items // setting.batch_size) * setting.batch_size
    for mode in _MODES:
        place = plan.inputs[setting.modality]
        yield Job(setting=setting, mode=mode, model=plan.bundle.folder, inputs=place, items=full)


def _works(plan: Plan, samples: Mapping[int, Sequence[Sample]]) -> dict[Modality, Work]:
    works: dict[Modality, Work] = {}
    for number, setting in enumerate(plan.settings):
        run = next(each.sequential for each in samples[number] if each.sequential is not None)
        if setting.modality not in works:
            works[setting.modality] = work_of(plan.bundle, setting.modality, round(run.tokens / run.items))
    return works


def _model(bundle: Bundle) -> dict[str, object]:
    manifest = bundle.manifest
    return {
        "name": manifest.name,
        "fingerprint": bundle.fingerprint,
        "vocab_size": manifest.vocab_size,
        "hidden_size": manifest.hidden_size,
        "image_size": None if manifest.image is None else manifest.image.size,
        "top_k": manifest.top_k.model_dump(),
    }


#: Told what is being done, for a progress line.
Tell = Callable[[str], None]


@contextmanager
def telling() -> Iterator[Tell]:
    """A line on a terminal that says what is being done; a line for each step elsewhere, on standard error."""
    if not sys.stderr.isatty():
        yield lambda text: print(text, file=sys.stderr, flush=True)
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("") as status:
        yield lambda text: status.update(escape(text))


def _remaining(done: int, steps: int, started: float) -> str:
    """How long the rest of equal steps takes, from those that are done."""
    if done == 0:
        return "no estimate yet"
    left = (time.monotonic() - started) / done * (steps - done)
    return f"about {left / 60:.0f} min left" if left >= 90 else f"about {left:.0f} s left"
