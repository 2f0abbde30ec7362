"""What goes with `--engine ray`, and what is refused before anything is started."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from lexlip_infer.errors import BackendUnavailable, InputError, MissingExtra
from lexlip_infer.pipeline.encode import encode
from lexlip_infer.pipeline.progress import Observer
from lexlip_infer.pipeline.ray_engine import connected
from lexlip_infer.pipeline.settings import EncodeRequest


def request(**changes: Any) -> EncodeRequest:
    return EncodeRequest(modality="image", **({"source": ["in"], "engine": "ray"} | changes))


def test_accepted() -> None:
    assert request(engine="local").engine == "local"
    assert request(address="head:6379", ray_actors=2, device="cuda").ray_actors == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": "spark"}, "--engine is 'spark'; expected local or ray"),
        ({"engine": "local", "address": "head:6379"}, "--address goes with --engine ray; leave it out"),
        ({"engine": "local", "ray_actors": 2}, "--ray-actors goes with --engine ray; leave it out"),
        ({"source": ["a", "-"]}, "which has no stdin; put the list into a file"),
        ({"device": "cuda:0"}, "--device is 'cuda:0'; Ray gives every actor a GPU of its own: use cuda"),
        ({"device": "cuda:0,cuda:1"}, "--device is 'cuda:0,cuda:1'; Ray gives"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        request(**changes)
    assert message in str(raised.value)


def test_ray_has_no_standard_output() -> None:
    with pytest.raises(InputError, match="--engine ray writes into a folder, not to stdout; name one"):
        encode(request(), io.BytesIO(), Observer())


@pytest.mark.parametrize("address", ["head", "ray://head:10001", "head:port", ":"])
def test_no_address(address: str) -> None:
    with pytest.raises(InputError, match=r"expected HOST:PORT of the head node, .* or auto"), connected(address, 1):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999"])
def test_nobody_there(address: str) -> None:
    with pytest.raises(BackendUnavailable, match=rf"no Ray cluster can be used at {address} \("), connected(address, 1):
        pass


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray.data", None)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'lexlip-infer\[ray\]'"), connected(None, 1):
        pass
