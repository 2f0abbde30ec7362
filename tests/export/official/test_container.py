"""The container: read without running anything, and refused in one line where it is damaged."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lexlip_export.official import container
from lexlip_export.official.checkpoint import load_official
from lexlip_export.official.container import open_container, state_of, tensor
from lexlip_export.official.pickle_check import check_pickle
from lexlip_kernels.errors import BundleError

Content = Callable[..., dict[str, Any]]


class Callback:
    """An ordinary class of somebody else's, as Lightning's files name them."""


class Attack:
    """Pickled, it makes whoever unpickles it call `function(*arguments)`."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


class StateAttack:
    """Pickled, it makes whoever unpickles it run `__setstate__`."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __setstate__(self, state: dict[str, str]) -> None:
        Path(state["path"]).touch()


class Mapping(dict):  # type: ignore[type-arg]
    """A dictionary of a class of its own, as Sacred's read-only ones."""


def attacks(marker: Path) -> list[object]:
    return [
        Attack(os.system, f"touch {marker}"),
        Attack(exec, f"open({str(marker)!r}, 'w').close()"),
        Attack(eval, f"open({str(marker)!r}, 'w').close()"),
        Attack(subprocess.check_call, ["touch", str(marker)]),
        Attack(Path.touch, marker),
        StateAttack(marker),
    ]


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("place", ["top", "config", "callbacks", "nested", "key"])
def test_a_malicious_pickle_has_no_effect(number: int, place: str, tmp_path: Path, content: Content) -> None:
    marker, path = tmp_path / "marker", tmp_path / "evil.ckpt"
    attack = attacks(marker)[number]
    saved = content()
    if place == "top":
        saved["optimizer_states"] = attack
    elif place == "config":
        saved["hyper_parameters"]["config"]["optim_type"] = attack
    elif place == "callbacks":
        saved["callbacks"] = {Callback: {"best": attack}}
    elif place == "nested":
        saved["lr_schedulers"] = [({"a": [attack]}, {1, 2})]
    else:
        saved["loops"] = {attack: 1}
    torch.save(saved, path)
    model, _ = load_official(path)
    assert not marker.exists()
    assert model.config.hidden_size == 16
    torch.load(path, weights_only=False)  # the attack is a real one
    assert marker.exists()


def test_an_attack_in_place_of_a_tensor_is_an_error(tmp_path: Path, content: Content) -> None:
    saved, marker = content(), tmp_path / "marker"
    saved["state_dict"]["image_queue"] = Attack(os.system, f"touch {marker}")
    torch.save(saved, tmp_path / "evil.ckpt")
    with pytest.raises(BundleError, match="'image_queue' in the state dict is no tensor"):
        load_official(tmp_path / "evil.ckpt")
    assert not marker.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sb.",  # attributes onto a function
        b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00(t(ttR.",  # a tensor of nothing
        b"(X\x07\x00\x00\x00storagecos\nsystem\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ.",  # a false storage type
        b"X\x03\x00\x00\x00abcQ.",  # an unknown reference
        b"cos\nsystem\nN}X\x01\x00\x00\x00aK\x01s\x86b.",  # attributes onto a class
        b"r\xff\xff\xff\x7f.",  # a place two thousand million deep
        b"",
        b"garbage",
    ],
)
def test_hostile_programs_end_in_one_line(program: bytes, tmp_path: Path) -> None:
    path = tmp_path / "hostile.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", program)
    with pytest.raises(BundleError, match=r"hostile\.ckpt: damaged") as caught, open_container(path):
        pass
    assert len(str(caught.value).splitlines()) == 1


def test_unknown_classes_keep_their_items(tmp_path: Path, content: Content) -> None:
    saved = content()
    saved["hyper_parameters"] = Mapping(config=Mapping(saved["hyper_parameters"]["config"]))
    saved["callbacks"] = {Callback: {"best_model_score": torch.tensor(1.5)}}
    torch.save(saved, tmp_path / "a.ckpt")
    model, record = load_official(tmp_path / "a.ckpt")
    assert model.config.text is not None
    assert model.config.text.max_length == 12
    assert record["official"]["training_mode"] == "both"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_numbers_of_any_stride_and_type(dtype: torch.dtype, tmp_path: Path) -> None:
    values = torch.arange(24, dtype=dtype).reshape(4, 6)
    torch.save(
        {"view": values[1:, ::2], "transposed": values.T, "parameter": torch.nn.Parameter(values)}, tmp_path / "a"
    )
    with open_container(tmp_path / "a") as content:
        read = {name: tensor(stored) for name, stored in content.items()}
    torch.testing.assert_close(read["view"], values[1:, ::2].float())
    torch.testing.assert_close(read["transposed"], values.T.float())
    torch.testing.assert_close(read["parameter"], values.float())


def test_what_is_not_asked_for_is_not_read(checkpoint: Path) -> None:
    """Queues and optimiser states are gigabytes: damage in them does not matter, because nobody looks."""
    with zipfile.ZipFile(checkpoint) as archive, open_container(checkpoint) as content:
        name = "text_transformer.decoder_heads.0.output.dense.weight"
        key = content["state_dict"][name].storage.key
        (record,) = [entry for entry in archive.infolist() if entry.filename.endswith(f"/data/{key}")]
    flip(checkpoint, record.header_offset + 200)
    load_official(checkpoint)


def test_a_flipped_bit_in_a_weight_is_found(checkpoint: Path) -> None:
    with zipfile.ZipFile(checkpoint) as archive, open_container(checkpoint) as content:
        key = content["state_dict"]["mlm_head_for_image.predictions.decoder.weight"].storage.key
        (record,) = [entry for entry in archive.infolist() if entry.filename.endswith(f"/data/{key}")]
    flip(checkpoint, record.header_offset + 200)
    with pytest.raises(BundleError, match=r"damaged, or not written by torch\.save"):
        load_official(checkpoint)


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("size", [0, 3, 100, 20_000])
def test_a_truncated_file_is_refused(size: int, checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:size])
    with pytest.raises(BundleError, match=r"last\.ckpt: damaged") as caught:
        load_official(checkpoint)
    assert len(str(caught.value).splitlines()) == 1


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other"
    with pytest.raises(BundleError, match="cannot be read"):
        load_official(path)
    path.write_bytes(pickle.dumps(Attack(os.system, f"touch {tmp_path / 'marker'}")))
    with pytest.raises(BundleError, match=r"damaged, or not written by torch\.save"):
        load_official(path)
    assert not (tmp_path / "marker").exists()
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    with pytest.raises(BundleError, match=r"not one that torch\.save wrote"):
        load_official(tmp_path / "arrays.npz")
    torch.save([1, 2], path)
    with pytest.raises(BundleError, match="holds no state_dict"):
        load_official(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\0" * 100_000)
    with pytest.raises(BundleError, match="compressed"):
        load_official(path)


def test_files_of_old_torch_are_read_by_its_own_safe_loader(tmp_path: Path, content: Content) -> None:
    torch.save(content(), tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    model, _ = load_official(tmp_path / "old.ckpt")
    assert model.config.vocab_size == 40
    saved = content() | {"callbacks": Attack(os.system, f"touch {tmp_path / 'marker'}")}
    torch.save(saved, tmp_path / "evil.ckpt", _use_new_zipfile_serialization=False)
    with pytest.raises(BundleError, match="damaged, or not written"):
        load_official(tmp_path / "evil.ckpt")
    assert not (tmp_path / "marker").exists()


class TestPrograms:
    """A pickle is gone through before it is run."""

    @pytest.mark.parametrize(
        ("program", "said"),
        [
            (b"N" + b"r\xff\xff\xff\x7f" + b".", "asks for the place 2,147,483,647"),
            (b"N" + b"p2147483647\n" + b".", "asks for the place 2,147,483,647"),
            (b"N" + b"\x85" * 101 + b".", "more than 100 tuples lie in each other"),
            (b"N" + (b"q\x01h\x01\x86" * 101) + b".", "more than 100 tuples lie in each other"),
            (b"\x96" + (1).to_bytes(8, "little") + b"a.", "it has the step BYTEARRAY8"),
            (b"\x82\x01.", "it has the step EXT1"),
            (b"0.", "pop from empty list"),
        ],
    )
    def test_steps(self, program: bytes, said: str) -> None:
        with pytest.raises((pickle.UnpicklingError, IndexError), match=said):
            check_pickle(io.BytesIO(program))

    @pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
    def test_what_python_writes_is_let_through(self, protocol: int) -> None:
        value: dict[Any, Any] = {"a": [1, 2.5, None, True], ("b", ("c",)): {"d": b"e", "f": 1 << 80}, "set": {1, 2}}
        value["again"] = value["a"]
        data = pickle.dumps(value, protocol)
        assert check_pickle(io.BytesIO(data + b"rest")) > 10

    def test_as_many_steps_as_allowed(self) -> None:
        data = pickle.dumps([None] * 20, 2)
        steps = check_pickle(io.BytesIO(data))
        assert check_pickle(io.BytesIO(data), steps) == steps
        with pytest.raises(pickle.UnpicklingError, match=f"more than {steps - 1} steps"):
            check_pickle(io.BytesIO(data), steps - 1)

    def test_torchs_own_loader_gets_no_arrays_of_bytes(self) -> None:
        data = b"cbuiltins\nbytearray\nK\x01\x85R."
        check_pickle(io.BytesIO(data))
        with pytest.raises(pickle.UnpicklingError, match="has the step GLOBAL"):
            check_pickle(io.BytesIO(data), for_torch=True)

    def test_classes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(container, "MOST_CLASSES", 2)
        path = tmp_path / "a.ckpt"
        for count, fits in ((2, True), (3, False)):
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("a/data.pkl", b"".join(b"ca\nb%d\n0" % i for i in range(count)) + b"N.")
            refusal = contextlib.nullcontext() if fits else pytest.raises(BundleError, match="more than 2 classes")
            with refusal, open_container(path):
                pass


@pytest.mark.parametrize("old", [False, True])
def test_tensors_that_share_their_numbers(old: bool, tmp_path: Path) -> None:
    values = torch.arange(10.0)
    for count, fits in ((4, True), (5, False)):
        state = {f"t{i}": values for i in range(count)}
        torch.save(state, tmp_path / "a", _use_new_zipfile_serialization=not old)
        refusal = contextlib.nullcontext() if fits else pytest.raises(BundleError, match="numbers are made of 10; ")
        with open_container(tmp_path / "a") as content, refusal:
            state_of(content, "a")
    torch.save({"t": values[:1].expand(1000)}, tmp_path / "a", _use_new_zipfile_serialization=not old)
    with open_container(tmp_path / "a") as content, pytest.raises(BundleError, match="1,000 numbers are made of"):
        state_of(content, "a")


def test_a_special_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    with pytest.raises(BundleError, match="a: is a FIFO; expected a regular file"), open_container(tmp_path / "a"):
        pass
