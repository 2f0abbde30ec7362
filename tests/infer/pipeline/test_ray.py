"""Many machines write what one writes, whoever dies on the way; here two nodes, which share this machine."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer import LexLIPEncoder, encode_texts_file
from lexlip_infer.collection.manifest import RunManifest, read_manifest
from lexlip_infer.errors import BackendUnavailable, BundleError, OutputError
from lexlip_infer.inputs.images import load_image
from lexlip_infer.inputs.readers import open_images
from lexlip_infer.pipeline.progress import Observer
from lexlip_infer.pipeline.ray_engine import encode_on_ray
from lexlip_infer.pipeline.ray_workers import WorkerPlan
from lexlip_infer.pipeline.stages import PipelineOptions
from lexlip_infer.runtime.choice import RuntimeOptions

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'lexlip-infer[ray]'")
# Ray's own modules warn as they are imported and run; what is tested here is ours.
pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}Warning") for kind in ("Deprecation", "Resource")]

Run = Callable[..., RunManifest]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Two nodes of one CPU each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 2**27}
        made = Cluster(initialize_head=True, head_node_args=head)
        made.add_node(num_cpus=1, object_store_memory=2**27)
        yield made.address
        assert not ray.is_initialized()
        made.shutdown()


@pytest.fixture
def images(photographs: Path, tmp_path: Path) -> Path:
    """Thirty, two of which are none."""
    root = tmp_path / "images"
    for number in range(6):
        shutil.copytree(photographs, root / f"{number}")
    (root / "1" / "b.png").write_bytes(b"")
    (root / "4" / "z.bmp").write_text("no image")
    (root / "notes.txt").write_text("passed over")
    return root


@pytest.fixture
def encode_on_cluster(
    encoder: LexLIPEncoder, bundle_folder: Path, settings: Callable[..., Any], cluster: str
) -> Callable[..., tuple[RunManifest, str]]:
    """Encode images into a folder; keywords of settings."""

    def encode(folder: Path, output: Path, load: Any = load_image, actors: int = 2, **changes: Any) -> Any:
        made = settings(**({"modality": "image", "model": str(bundle_folder), "items_per_shard": 4} | changes))
        options = PipelineOptions(batch_size=3, load=load)
        path = encoder.path("image")
        runtime = RuntimeOptions("cpu", path.precision, path.backend, path.head, threads=1)
        plan = WorkerPlan(runtime, made, options)
        return encode_on_ray(open_images([str(folder)]), output, plan, cluster, actors, Observer())

    return encode


def test_a_worker_that_is_killed_changes_nothing(
    images: Path, encode_on_cluster: Any, encode_images: Run, contents: Any, bundle_folder: Path, tmp_path: Path
) -> None:
    killed = tmp_path / "killed"

    def load(source: Any) -> Any:
        """Takes its actor down in the middle of the collection, once."""
        if Path(source).parent.name == "3" and not killed.exists():
            killed.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return load_image(source)

    encode_images(images, tmp_path / "one", batch_size=3, items_per_shard=4, model=str(bundle_folder))
    manifest, passed_over = encode_on_cluster(images, tmp_path / "many", load)
    assert killed.exists()
    assert killed.read_text() != str(os.getpid())
    assert (manifest.documents, manifest.failed, manifest.complete) == (28, 2, True)
    assert "1 other file passed over" in passed_over
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert manifest.timings is not None
    assert min(manifest.timings.stages[name].core_seconds for name in ("decode", "infer", "quantise")) > 0


def test_a_run_continues_on_another_engine(
    images: Path, encode_on_cluster: Any, encode_images: Run, contents: Any, bundle_folder: Path, tmp_path: Path
) -> None:
    def load(source: Any) -> Any:
        if Path(source).parent.name == "4":
            raise RuntimeError("a bug")
        return load_image(source)

    with pytest.raises(ray.exceptions.RayTaskError, match="a bug"):
        encode_on_cluster(images, tmp_path / "out", load, actors=1)
    assert 0 < len(read_manifest(tmp_path / "out").shards) < 8
    (images / "2" / "a.jpg").rename(images / "2" / "aa.jpg")
    with pytest.raises(OutputError, match=r"the images \(names or sizes\) changed since it began, first in part-00002"):
        encode_on_cluster(images, tmp_path / "out", actors=1)
    (images / "2" / "aa.jpg").rename(images / "2" / "a.jpg")
    one = {"batch_size": 3, "items_per_shard": 4, "model": str(bundle_folder)}
    encode_images(images, tmp_path / "out", **one)
    encode_images(images, tmp_path / "one", **one)
    assert contents(tmp_path / "out") == contents(tmp_path / "one")


def test_refused(images: Path, encode_on_cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match=r"3 actors of 1 threads each were asked for.*has room for 2"):
        encode_on_cluster(images, tmp_path / "out", actors=3)
    assert not (tmp_path / "out").exists()
    with pytest.raises(BundleError, match=r"on .* is another model \(fingerprint .*same bundle there on every node"):
        encode_on_cluster(images, tmp_path / "out", actors=1, model_fingerprint="0" * 64)


def test_a_chunk_that_kills_every_worker_ends_the_run(images: Path, encode_on_cluster: Any, tmp_path: Path) -> None:
    def load(source: Any) -> Any:
        if Path(source).parent.name == "3":
            os.kill(os.getpid(), signal.SIGKILL)
        return load_image(source)

    with pytest.raises(BackendUnavailable, match=r"the Ray cluster failed .*the same command continues"):
        encode_on_cluster(images, tmp_path / "out", load, actors=1)
    assert 0 < len(read_manifest(tmp_path / "out").shards) < 8


def test_texts_that_are_cut_are_counted_once(cluster: str, bundle_folder: Path, contents: Any, tmp_path: Path) -> None:
    texts = ["dog " * (400 if number % 3 == 0 else 1) for number in range(20)]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    settings: Any = {"model": bundle_folder, "device": "cpu", "threads": 1, "items_per_shard": 6, "batch_size": 2}
    ray_settings: Any = settings | {"engine": "ray", "address": cluster, "ray_actors": 2}
    many = encode_texts_file(tmp_path / "texts.txt", tmp_path / "many", **ray_settings)
    encode_texts_file(tmp_path / "texts.txt", tmp_path / "one", **settings)
    assert many.manifest is not None
    assert [part.texts_cut for part in many.manifest.shards] == [2, 2, 2, 1]
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
