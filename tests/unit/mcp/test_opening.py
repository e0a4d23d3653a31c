"""A corpus may come from anybody: each fault is one error that names it, costs little, and runs no code."""

from __future__ import annotations

import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory
from tests.support.indexes import indexed, replace_vectors
from vllm_jina_embed import ConfigError, MediaPolicy
from vllm_jina_embed.corpus import embed_corpus
from vllm_jina_embed.errors import VllmJinaError
from vllm_jina_embed.mcp.opening import embedder_for, opened
from vllm_jina_embed.mcp.proof import check_vectors, sample_of

pytestmark = pytest.mark.fire


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index, and the same files as Parquet beside it."""
    folder = tmp_path_factory.mktemp("made")
    indexed(folder, {"a.md": "a note", "b.png": encoded(noise(30, 20))})
    with in_memory([])(folder / "model", dimensions=32) as embedder:
        embed_corpus(folder / "folder", folder / "parquet", embedder=embedder)
    return folder


@pytest.fixture
def index(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "index", tmp_path / "index")
    return tmp_path / "index"


def read(place: Path | str) -> None:
    """Do what the server does with a corpus before its first answer."""
    with opened(place) as corpus:
        check_vectors(corpus)
        sample_of(corpus, MediaPolicy())


def test_the_corpora_themselves_are_read(made: Path, index: Path) -> None:
    """An index, its table by name, and a folder of Parquet files."""
    for place in (index, f"lancedb://{index}/places", made / "parquet"):
        read(place)


def part(**changes: Any) -> Callable[[Path], object]:
    """Return what changes a part of the manifest; ``...`` takes a name out of it."""

    def change(path: Path) -> None:
        manifest = json.loads(path.read_text())
        for name, values in changes.items():
            if isinstance(values, dict) and isinstance(manifest.get(name), dict):
                manifest[name] = {key: value for key, value in {**manifest[name], **values}.items() if value is not ...}
            else:
                manifest[name] = values
        path.write_text(json.dumps(manifest))

    return change


def content(data: str | bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data if isinstance(data, bytes) else data.encode())


def replaced(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        path.unlink()
        make(path)

    return change


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 35)


MANIFEST: dict[str, Callable[[Path], object]] = {
    "empty": content(""),
    "no JSON": content("{"),
    "a list": content("[]"),
    "deep": content("[" * 200_000),
    "deep objects": content('{"a":' * 200_000),
    "no UTF-8": content(b"\xff\xfe\n"),
    "a giant number": content('{"format": 1' + "0" * 10_000 + "}"),
    "giant": sparse,
    "gone": Path.unlink,
    "a pipe": replaced(os.mkfifo),
    "a device": replaced(lambda path: path.symlink_to("/dev/zero")),
    "a folder": replaced(Path.mkdir),
    "a link to itself": replaced(lambda path: path.symlink_to(path)),
    "another file": replaced(lambda path: path.symlink_to("/etc/passwd")),
    "another version": part(format=99),
    "no vectors": part(vectors=None),
    "vectors of a list": part(vectors=[]),
    "no items": part(items=5),
    "no columns": part(columns=None),
    "columns of numbers": part(columns={"id": 5}),
    "dimensions as text": part(vectors={"dimensions": "32"}),
    "dimensions 0": part(vectors={"dimensions": 0}),
    "dimensions true": part(vectors={"dimensions": True}),
    "other dimensions": part(vectors={"dimensions": 16}),
    "giant dimensions": part(vectors={"dimensions": 2**40}),
    "no dimensions": part(vectors={"dimensions": None, "token_dimensions": None}),
    "token dimensions that are not there": part(vectors={"dimensions": None, "token_dimensions": 64}),
    "a model of a list": part(vectors={"model": ["demo"]}),
    "a model with NUL": part(vectors={"model": "de\0mo"}),
    "a model with a line break": part(vectors={"model": "demo\nx"}),
    "a model of surrogates": part(vectors={"model": "\ud800"}),
    "no task": part(vectors={"task": None}),
    "no row": part(vectors={"row": ...}),
    "pixels of a float": part(vectors={"max_pixels": 1e9}),
    "another dtype": part(vectors={"dtype": "float64"}),
    "a dtype of a list": part(vectors={"dtype": []}),
    "the dtype of others": part(vectors={"dtype": "binary"}),
    "engine_kwargs that are no JSON": part(vectors={"engine_kwargs": "{"}),
    "engine_kwargs of a list": part(vectors={"engine_kwargs": "[]"}),
    "deep engine_kwargs": part(vectors={"engine_kwargs": "[" * 100_000}),
    "sources of numbers": part(items={"sources": [5]}),
    "sources without a root": part(items={"sources": [{"prefix": ""}]}),
    "no sources": part(items={"sources": ...}),
    "dpi of text": part(items={"dpi": "1e9"}),
    "giant dpi": part(items={"dpi": 1e9}),
    "dpi of NaN": part(items={"dpi": float("nan")}),
}


@pytest.mark.parametrize("name", MANIFEST)
@pytest.mark.timeout(60)
def test_a_hostile_manifest_is_one_error_with_its_place(index: Path, name: str) -> None:
    """And takes less than 64 MB to refuse, whatever it claims."""
    MANIFEST[name](index / "places.journal" / "manifest.json")
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError) as error:
            read(index)
        assert tracemalloc.get_traced_memory()[1] < 64_000_000
    finally:
        tracemalloc.stop()
    assert str(index) in str(error.value)
    assert "root:" not in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 1000


DONE = {
    "no JSON": "{",
    "a list": "[]",
    "deep": "[" * 200_000,
    "rows of text": '{"shard": 0, "rows": "many"}',
    "rows of a list": '{"shard": 0, "rows": []}',
    "too many rows": '{"shard": 0, "rows": 99999}',
    "infinite rows": '{"shard": 0, "rows": 1e999}',
}


@pytest.mark.parametrize("name", DONE)
def test_a_hostile_done_file_is_one_error(index: Path, name: str) -> None:
    (index / "places.journal" / "done" / "00000.json").write_text(DONE[name])
    with pytest.raises(VllmJinaError) as error:
        read(index)
    assert str(index) in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("damage", ["gone", "cut", "garbage", "empty", "zeros"])
@pytest.mark.parametrize("which", ["data/*", "_versions/*", "*"])
def test_a_damaged_table_is_one_error(index: Path, which: str, damage: str) -> None:
    """LanceDB's own errors do not leave raw."""
    files = [path for path in (index / "places.lance").rglob(which) if path.is_file()]
    assert files
    for file in files:
        data = file.read_bytes()
        new = {"cut": data[: len(data) // 2], "garbage": np.random.default_rng(0).bytes(len(data)), "empty": b""}
        file.unlink()
        if damage != "gone":
            file.write_bytes(new.get(damage, bytes(len(data))))
    with pytest.raises(VllmJinaError) as error:
        read(index)
    assert len(str(error.value)) < 2000


@pytest.mark.parametrize("damage", ["gone", "cut", "garbage"])
def test_a_damaged_file_of_parquet_is_one_error(made: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(made / "parquet", tmp_path / "parquet")
    file = tmp_path / "parquet" / "part-00000.parquet"
    data = file.read_bytes()
    file.unlink()
    if damage != "gone":
        file.write_bytes(data[:-9] if damage == "cut" else np.random.default_rng(0).bytes(len(data)))
    with pytest.raises(VllmJinaError):
        read(tmp_path / "parquet")


@pytest.mark.parametrize(
    ("factor", "told"), [(np.inf, "L2 norm inf"), (37, "L2 norm 37"), (0, "L2 norm 0"), (1e30, "L2 norm inf")]
)
def test_a_vector_that_is_none_is_named(index: Path, factor: float, told: str) -> None:
    replace_vectors(index, factor)
    with pytest.raises(ConfigError, match=rf"row 0 has {told}.*index it anew"):
        read(index)


@pytest.mark.parametrize("path", ["nowhere", "a\0b", "x" * 5000, "lancedb://nowhere/places", "http://a/b"])
def test_a_path_that_is_no_corpus_is_told(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"is not a corpus|cannot be read as a corpus|expected a folder"):
        opened(path)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"trust_remote_code": True},
        {"worker_cls": "os.system"},
        {"hf_overrides": {"architectures": ["x"]}},
        {"dtype": {"a": 1}},
        {"load_format": "pt"},
    ],
)
def test_arguments_for_vllm_that_may_run_code_are_not_taken_from_a_corpus(index: Path, kwargs: dict[str, Any]) -> None:
    """Whoever starts the server may give them."""
    part(vectors={"engine_kwargs": json.dumps(kwargs)})(index / "places.journal" / "manifest.json")
    with opened(index) as corpus, pytest.raises(ConfigError, match="They may run code"):
        embedder_for(corpus, engine_kwargs=None, media=MediaPolicy())


def test_harmless_arguments_for_vllm_are_taken(index: Path) -> None:
    part(vectors={"engine_kwargs": '{"dtype": "bfloat16"}'})(index / "places.journal" / "manifest.json")
    with (
        opened(index) as corpus,
        embedder_for(corpus, engine_kwargs=None, media=MediaPolicy(), make=in_memory([])) as embedder,
    ):
        assert embedder.settings.engine.options == {"dtype": "bfloat16"}
    with (
        opened(index) as corpus,
        embedder_for(corpus, engine_kwargs={}, media=MediaPolicy(), make=in_memory([])) as embedder,
    ):
        assert embedder.settings.engine.options == {}
