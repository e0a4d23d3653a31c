"""A Ray Dataset with vectors: those of one process, no null among them, and every bad row with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ray")
pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.images import encoded, noise
from tests.support.in_memory import write_folder
from tests.support.ray_runs import InMemory, Notes
from vllm_jina_embed import ConfigError
from vllm_jina_embed.corpus.entries import Columns
from vllm_jina_embed.corpus.kinds import ItemError
from vllm_jina_embed.corpus.ray_data import _tell, content, embed_dataset

pytestmark = pytest.mark.wide  # each starts workers of Ray

ROWS = 300
BAD = {10: "empty", 20: "empty", 30: "image", 40: "image"}
IMAGES = set(range(0, ROWS, 25)) - set(BAD)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InMemory]:
    with InMemory(write_folder(tmp_path_factory.mktemp("model")), dimensions=32) as embedder:
        yield embedder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files of texts and images, and one bad row of each kind."""
    folder = tmp_path_factory.mktemp("in")
    texts: list[str | None] = [f"Row {number}" for number in range(ROWS)]
    images: list[bytes | None] = [None] * ROWS
    for number in IMAGES:
        texts[number], images[number] = None, encoded(noise(30 + number % 7, 20, seed=number))
    texts[10], texts[20] = None, " \n"
    images[30], images[40] = b"no image", b""
    texts[40] = None
    table = pa.table({"key": range(ROWS), "body": texts, "scan": pa.array(images, pa.binary())})
    for start in range(0, ROWS, 100):
        pq.write_table(table.slice(start, 100), folder / f"{start}.parquet")
    return folder


def read(out: Path, status: str = "*") -> list[dict[str, Any]]:
    paths = sorted(out.glob(f"status={status}/*.parquet"))
    return [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]


def test_every_row_has_its_vector_or_its_error(source: Path, embedder: InMemory, notes: Notes, tmp_path: Path) -> None:
    """Once, in a file of its status; a second run with the checkpoint computes and writes nothing."""
    import ray

    notes.clear()
    for _ in range(2):
        ds = embed_dataset(
            ray.data.read_parquet(str(source)),
            text="body",
            image="scan",
            id="key",
            model=embedder,
            num_gpus=0,
            rows_per_block=50,
            checkpoint=tmp_path / "checkpoint",
        )
        ds.write_parquet(str(tmp_path / "out"), partition_cols=["status"])
        assert sum(notes.counts().values()) == ROWS - 4
    good = {row["key"]: row for row in read(tmp_path / "out", "ok")}
    bad = {row["key"]: row for row in read(tmp_path / "out") if row["error"]}
    assert len(read(tmp_path / "out")) == ROWS == len(good) + len(bad)
    assert sorted(bad) == [10, 20, 30, 40]
    assert {path.parent.name for path in (tmp_path / "out").rglob("*.parquet")} == {
        "status=ok", "status=empty", "status=image",
    }  # fmt: skip
    assert all(np.isnan(row["embedding"]).all() for row in bad.values())
    items = [row["scan"] if key in IMAGES else row["body"] for key, row in good.items()]
    expected = embedder.embed(items)
    assert np.array_equal(expected, np.array([row["embedding"] for row in good.values()], np.float32))
    (path, *_) = (tmp_path / "out" / "status=ok").iterdir()
    field = pq.ParquetFile(path).schema_arrow.field("embedding")
    assert field.type == pa.list_(pa.field("element", pa.float32()), 32)


def test_multi_vectors_in_float16(source: Path, embedder: InMemory, notes: Notes) -> None:
    """Beside the embeddings; of a row with an error there is no token."""
    import ray

    ds = ray.data.read_parquet(str(source / "0.parquet"))
    made = embed_dataset(ds, text="body", model=embedder, num_gpus=0, vectors="both", dtype="float16").materialize()
    half = pa.field("element", pa.float16())
    token = pa.field("element", pa.list_(half, embedder.settings.checkpoint.token_dimensions))
    types = [made.schema().base_schema.field(name).type for name in ("embedding", "multi_vector")]
    assert types == [pa.list_(half, 32), pa.list_(token)]
    rows = {row["key"]: row for row in made.take_all()}
    assert len(rows) == 100
    for key in (1, 10):
        assert np.isfinite(rows[key]["embedding"]).all() == (key == 1)
        assert (len(rows[key]["multi_vector"]) > 0) == (key == 1) == (rows[key]["status"] == "ok")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "pass text=COLUMN, image=COLUMN or both"),
        ({"text": "body", "dtype": "int8"}, "dtype='int8': expected float32 or float16"),
        ({"text": "body", "checkpoint": "/tmp/c"}, "checkpoint=... needs id=COLUMN"),
        ({"text": "body", "dimensions": 16}, "model is an embedder and has its settings; got also dimensions"),
        ({"text": "body", "rows_per_block": 0}, "rows_per_block=0 must be a whole number over 0"),
        ({"text": "body", "pool_factor": 2}, "pool_factor=2 shortens multi-vectors"),
        ({"text": "body", "concurrency": 4}, "Ray has 4 cores; .* reserve 5. Call ray.init.num_cpus=5"),
        ({"text": "body", "concurrency": 3, "id": "body", "checkpoint": "/tmp/c"}, "Ray has 4 cores; .* reserve 5"),
    ],
)
def test_a_wrong_setting_is_refused(
    options: dict[str, Any], message: str, source: Path, embedder: InMemory, notes: Notes
) -> None:
    import ray

    ds = ray.data.from_items([{"body": "a"}])
    with pytest.raises(ConfigError, match=message):
        embed_dataset(ds, model=embedder, **options)


def test_a_path_needs_the_folder_of_images(tmp_path: Path) -> None:
    """Without it no file is opened, and with it only those inside."""
    (tmp_path / "a.png").write_bytes(encoded(noise(20, 20)))
    with pytest.raises(ItemError, match="image_root was not passed"):
        content({"scan": str(tmp_path / "a.png")}, Columns(image="scan"))
    columns = Columns(text="", image="scan", image_root=str(tmp_path))
    assert content({"scan": "a.png"}, columns).kind == "image"
    with pytest.raises(Exception, match="outside"):
        content({"scan": "/etc/hostname"}, columns)


def test_a_relative_checkpoint_is_one_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself refuses it."""
    monkeypatch.chdir(tmp_path)
    context = SimpleNamespace()
    _tell(context, "id", "checkpoint")
    assert context.checkpoint_config.checkpoint_path == str(tmp_path / "checkpoint")
    _tell(context, "id", f"file://{tmp_path}/other")
    assert context.checkpoint_config.checkpoint_path == f"file://{tmp_path}/other"
