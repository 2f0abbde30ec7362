"""A Ray cluster to run on: the one at an address, or one on this machine for as long as the run takes.

Nothing is sent anywhere but between its nodes: usage statistics and the dashboard are off.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from lexlip_infer.errors import BackendUnavailable, InputError, require

__all__ = ["connected", "room"]

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
