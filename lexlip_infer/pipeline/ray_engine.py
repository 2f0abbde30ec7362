"""A run on many machines, over Ray Data; it writes what `encode_collection` writes, byte for byte.

    read          one task, on this machine     chunks of parts that are not finished
    encode        actors, on all machines       the ordinary pipeline, from sources to JSON lines
    write         this process                  in the order of the input, through `OutputFolder`

Ray Data starts the actors, hands out chunks, restores their order, gives the chunks of an actor that died to another,
and stops reading when results pile up. Only this process writes, so what holds for a run on one machine holds here: a
kill loses the part that is not finished, and the same command, on any engine, continues it.

The cluster is the one at an address, or one on this machine for as long as the run takes. Nothing is sent anywhere but
between its nodes: usage statistics and the dashboard are off.
"""

from __future__ import annotations

import copy
import logging
import os
import socket
import sys
import warnings
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from lexlip_infer.collection.manifest import RunManifest
from lexlip_infer.collection.parts import share
from lexlip_infer.collection.writer import OutputFolder
from lexlip_infer.errors import BackendUnavailable, InputError, OutputError, require
from lexlip_infer.inputs.items import Reader
from lexlip_infer.pipeline import ray_workers
from lexlip_infer.pipeline.progress import Observer, Timings
from lexlip_infer.pipeline.run import Committing

#: No reports to the makers of Ray, no log of its C++ parts on stderr, and no cluster that nobody asked for.
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_ENABLE_AUTO_CONNECT": "0"}
#: Seconds.
_ANSWER_WITHIN = 5.0


@contextmanager
def connected(address: str | None, cpus: int) -> Iterator[Any]:
    """The module `ray`, connected while the block runs; a connection that the caller has made is used and left alone.

    Args:
        address: "host:port" of the head node, "auto" for the cluster that this machine belongs to, or nothing for a
            cluster of this machine alone.
        cpus: that a cluster of this machine alone counts.

    Raises:
        MissingExtra: Ray is not installed.
        InputError: the address is none, or belongs to Ray's client, which is not part of the cluster.
        BackendUnavailable: no cluster answers there.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if address not in (None, "auto"):
        _probe(str(address))
    require("ray.data", extra="ray")
    ray = require("ray", extra="ray")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if address is None and ray.is_initialized():
        yield ray
        return
    # Ray prints what it has to say about workers that died to stdout.
    with redirect_stdout(sys.stderr):
        _initialise(ray, address, cpus)
        try:
            yield ray
        finally:
            ray.shutdown()


def room(nodes: list[dict[str, Any]], threads: int, gpus: int) -> int:
    """How many actors fit on the nodes that are alive, as `ray.nodes()` gives them.

    Args:
        nodes: with their resources.
        threads: of an actor.
        gpus: of an actor.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    return sum(_fit(resources, threads, gpus) for resources in alive)


def _fit(resources: dict[str, float], threads: int, gpus: int) -> int:
    by_cpu = int(resources.get("CPU", 0)) // threads
    return min(by_cpu, int(resources.get("GPU", 0)) // gpus) if gpus else by_cpu


def _initialise(ray: Any, address: str | None, cpus: int) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _unreachable(address or "this machine", str(error)) from None


def _probe(address: str) -> None:
    """Ray itself tries for two minutes, and then ends the process."""
    host, colon, port = address.rpartition(":")
    if not colon or "/" in host or not port.isdecimal():
        raise InputError(
            f"--address is {address!r}; expected HOST:PORT of the head node, such as 10.0.0.1:6379, or auto"
        )
    try:
        socket.create_connection((host, int(port)), _ANSWER_WITHIN).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, str(error)) from None


def _unreachable(address: str, reason: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"no Ray cluster can be used at {address} ({reason.strip().splitlines()[0]}); expected one of the same "
        "versions of Ray and Python, started with: ray start --head; if it asks for a token, set RAY_AUTH_MODE=token"
    )


#: Bytes of results, for each actor, that may wait for being written before reading stops.
_WAITING_BYTES = 2**28


def encode_on_ray(
    reader: Reader[Any],
    output: Path,
    plan: ray_workers.WorkerPlan,
    address: str | None,
    wanted: int | None,
    observer: Observer,
) -> tuple[RunManifest, str]:
    """Encode everything a reader delivers into an output folder, as `encode_collection` does.

    Args:
        reader: what to encode; it is read in a process of its own on this machine, so it cannot be stdin. Image files
            that it names by path are read by the actors: they have to lie on a file system that all nodes share.
        output: see `OutputFolder`.
        plan: for each actor.
        address: see `connected`.
        wanted: how many actors; when absent, as many as the cluster has room for.
        observer: told how it goes.

    Returns:
        The finished run's manifest, and what the reader passed over.

    Raises:
        BackendUnavailable: the cluster cannot be reached, has no room, or fails; an actor cannot run the path.
        BundleError: the model is damaged, or not the same everywhere.
        InputError, MissingExtra, OutputError: as `encode_collection`; the extra is `ray`.
    """
    if next(iter(reader), None) is None:
        raise InputError("the input holds nothing to encode")
    threads = plan.runtime.thread_count
    with connected(address, threads * (wanted or 1)) as ray:
        actors = _actors(ray, plan, wanted)
        with OutputFolder.open(output, plan.settings) as folder, _failures_in_one_line(ray, output):
            committing = Committing(folder, observer, share(reader.count, plan.settings), timings := Timings())
            # Closed before the connection is: Ray Data has threads that would open another.
            with closing(_encoded(ray, reader, folder.manifest, plan, actors)) as messages:
                passed_over = _commit(messages, folder, committing, timings)
    return folder.manifest, passed_over


def _actors(ray: Any, plan: ray_workers.WorkerPlan, wanted: int | None) -> int:
    threads, gpus = plan.runtime.thread_count, _gpus(plan)
    most = room(ray.nodes(), threads, gpus)
    if most < (wanted or 1):
        needs = f"{threads} threads{' and a GPU' if gpus else ''}"
        raise BackendUnavailable(
            f"{wanted or 1} actors of {needs} each were asked for, and the cluster has room for {most}; "
            "pass --ray-actors and --threads, or start more nodes"
        )
    return wanted or most


def _gpus(plan: ray_workers.WorkerPlan) -> int:
    return 0 if plan.settings.device == "cpu" else 1


def _commit(
    messages: Iterator[ray_workers.Message], folder: OutputFolder, committing: Committing, timings: Timings
) -> str:
    """Write everything; what the reader passed over."""
    for message in messages:
        if isinstance(message, ray_workers.EncodedChunk):
            _commit_chunk(message, committing, timings)
        elif isinstance(message, ray_workers.Ended):
            committing.complete()
            return message.passed_over
        elif isinstance(message, ray_workers.Changed):
            raise folder.changed(message.where)
        elif isinstance(message, ray_workers.Stopped):
            raise message.error
    raise AssertionError("reading ends with a word of its own")


def _commit_chunk(chunk: ray_workers.EncodedChunk, committing: Committing, timings: Timings) -> None:
    for name, used in chunk.used.items():
        timings.add(name, used.core_seconds, used.waiting_seconds, elsewhere=True)
    for step in chunk.steps:
        if isinstance(step, tuple):
            committing.add(*step)
        else:
            committing.end_part(step)


def _encoded(
    ray: Any, reader: Reader[Any], manifest: RunManifest, plan: ray_workers.WorkerPlan, actors: int
) -> Generator[ray_workers.Message, None, None]:
    """Messages in the order in which they were read."""
    with _context(ray, actors):
        chunks = ray.data.from_items([None], override_num_blocks=1).map_batches(
            ray_workers.read_chunks,
            batch_size=None,
            batch_format="pyarrow",
            fn_kwargs={"reader": reader, "manifest": manifest, "options": plan.options, "folder": str(Path.cwd())},
            # Every node has a resource of its name; reading waits for disks more than it computes.
            num_cpus=0,
            resources={f"node:{ray.util.get_node_ip_address()}": 0.001},
        )
        encoded = chunks.map_batches(
            ray_workers.EncodeChunks,
            batch_size=None,
            batch_format="pyarrow",
            fn_constructor_kwargs={"plan": plan},
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=plan.runtime.thread_count,
            num_gpus=_gpus(plan),
            ray_remote_args_fn=_retries,
        )
    for table in encoded.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield ray_workers.message_of(table)


def _retries() -> dict[str, int]:
    """Of a chunk whose actor died. Ray's default has no end, and a chunk may be the reason."""
    return {"max_task_retries": 3}


@contextmanager
def _context(ray: Any, actors: int) -> Iterator[None]:
    """Settings of Ray Data for the data sets that are made in the block."""
    context = ray.data.DataContext.get_current()
    before = context.execution_options, context.target_max_block_size, context.enable_progress_bars
    context.execution_options = copy.copy(before[0])
    context.execution_options.preserve_order = True
    limits = ray.data.ExecutionResources.for_limits(object_store_memory=_WAITING_BYTES * (actors + 1))
    context.execution_options.resource_limits = limits
    context.target_max_block_size = 1  # every row is a block, sent as soon as it is there
    context.enable_progress_bars = False
    try:
        # The limit on retries has no other way in (so far); the extra ends where Ray removes this one.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        context.execution_options, context.target_max_block_size, context.enable_progress_bars = before


@contextmanager
def _failures_in_one_line(ray: Any, output: Path) -> Iterator[None]:
    """A cluster that ends; what code of ours raises keeps its traceback."""
    try:
        yield
    except OutputError:
        raise
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BackendUnavailable(
            f"the Ray cluster failed ({reason}); the same command continues {output} where it stopped"
        ) from None
