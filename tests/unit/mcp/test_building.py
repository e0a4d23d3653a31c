"""An index is built whole or told why not: texts stay texts, bad items are named, what was computed is kept."""

from __future__ import annotations

import errno
import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import ConfigError, EngineError, InputError, JinaEmbedder, MediaPolicy
from vllm_jina_embed.checkpoints.registry import PUBLISHED
from vllm_jina_embed.errors import WriteError
from vllm_jina_embed.inputs.encoding import data_uri
from vllm_jina_embed.inputs.sources import reference
from vllm_jina_embed.mcp import answers as answers_module
from vllm_jina_embed.mcp import building
from vllm_jina_embed.mcp.index import Index, build
from vllm_jina_embed.mcp.reading import Place, read_folder
from vllm_jina_embed.prompts.base import Prompt

pytestmark = pytest.mark.fire


@pytest.fixture
def engines() -> list[FakeEngine]:
    return []


@pytest.fixture
def embedder(tmp_path: Path, engines: list[FakeEngine]) -> Iterator[JinaEmbedder]:
    with in_memory(engines)(write_folder(tmp_path / "model"), dimensions=32) as embedder:
        yield embedder


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second item goes to the engine, so that few items make many windows."""
    monkeypatch.setattr(answers_module, "WINDOW", 2)


def notes(count: int) -> list[Place]:
    return [Place(id=f"{n}.md#L1-1", source=f"{n}.md", text=f"note {n}") for n in range(count)]


def image(seed: int, width: int = 40) -> tuple[bytes, str]:
    return encoded(noise(width, 30, seed=seed)), "image/png"


@pytest.mark.parametrize("name", ["demo", *PUBLISHED])
def test_what_an_index_says_of_its_model_can_be_opened(name: str) -> None:
    """Also of a model whose processor alone decides an image's size, which refuses bounds of pixels."""
    options: dict[str, Any] = {"engine_kwargs": {"trust_remote_code": True}}
    with JinaEmbedder(name, **options) as embedder:
        facts = building._facts(embedder)
        with JinaEmbedder(**{key: facts[key] for key in facts if key not in ("format", "vectors")}, **options) as again:
            assert again.settings == embedder.settings


def failing(tmp_path: Path, fail: Callable[[Prompt], Exception | None], **options: Any) -> JinaEmbedder:
    return in_memory([], fail=fail)(write_folder(tmp_path / "model"), dimensions=32, **options)


def test_the_content_of_a_text_file_is_text(embedder: JinaEmbedder, engines: list[FakeEngine], tmp_path: Path) -> None:
    """Whatever it looks like: no image is opened, and the vectors are those of the texts."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded(noise(20, 20)))
    good = data_uri(encoded(noise(4, 4)), "image/png")
    contents = {
        "bad.txt": "data:image/png;base64,AAAA",
        "good.txt": f"\n {good}\n",
        "long.txt": data_uri(encoded(noise(60, 60)), "image/png"),
        "note.md": f"First.\n\n{good}\n\nLast.",
        "path.rst": "/etc/passwd",
        "reference.txt": reference(folder / "a.png", MediaPolicy(allowed_root=folder)),
        "made-up.txt": "vllm-jina-embed:image:a.png#" + "0" * 32,
        "url.markdown": "https://example.com/a.png",
    }
    for name, content in contents.items():
        (folder / name).write_text(content)
    left_out: dict[str, str] = {}
    build(read_folder(folder, left_out), tmp_path / "index", embedder, left_out)
    assert left_out == {}
    index = Index(tmp_path / "index")
    assert {entry.source for entry in index.entries} == {"a.png", *contents}
    for entry in index.entries:
        if entry.image is None:
            assert np.array_equal(index.embedding(entry), embedder.embed_passages([entry.text])[0])
    assert sum(len(prompt.images) for prompt in engines[0].prompts) == 1


@pytest.mark.usefixtures("small_windows")
def test_order_is_kept_and_each_item_is_embedded_once(
    embedder: JinaEmbedder, engines: list[FakeEngine], tmp_path: Path
) -> None:
    places = [Place(id=f"{n}", source=f"{n}", text=f"text {n}", image=image(n) if n % 3 else None) for n in range(20)]
    assert build(places, tmp_path / "index", embedder) == 20
    assert len(engines[0].prompts) == sum(1 + (place.image is not None) for place in places)
    index = Index(tmp_path / "index")
    for place, entry in zip(places, index.entries, strict=True):
        data = place.image
        expected = [] if data is None else [embedder.embed_images([data[0]])[0]]
        expected.append(embedder.embed_passages([place.text])[0])
        assert np.array_equal(index._embeddings[slice(*entry.rows)], expected)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.usefixtures("small_windows")
@pytest.mark.filterwarnings("ignore:rows are NaN")
def test_a_place_that_cannot_be_embedded_is_told_and_the_others_are_there(tmp_path: Path, on_error: str) -> None:
    """A bad image, a bad text, and a vector of NaN, each by the name of its place; a place is whole or not there."""

    def fail(prompt: Prompt) -> Exception | None:
        return InputError("too many tokens.") if any(image.width == 41 for image in prompt.images) else None

    places = notes(5)
    places.insert(2, Place(id="r.pdf#page=2", source="r.pdf", page=2, text="its text", image=image(1, 41)))
    places.insert(4, Place(id="bad.png", source="bad.png", image=(b"no image", "image/png")))
    places.insert(6, Place(id="odd.md#L1-1", source="odd.md", text="a lone \ud800 surrogate"))
    left_out: dict[str, str] = {}
    with failing(tmp_path, fail, on_error=on_error) as embedder:
        assert build(places, tmp_path / "index", embedder, left_out) == 5
    assert set(left_out) == {"r.pdf#page=2", "bad.png", "odd.md#L1-1"}
    assert "not valid Unicode" in left_out["odd.md#L1-1"]
    if on_error == "raise":
        assert left_out["r.pdf#page=2"] == "too many tokens."
        assert "not an image" in left_out["bad.png"]
    assert not any("images[" in reason or "texts[" in reason for reason in left_out.values())
    index = Index(tmp_path / "index")
    assert [entry.source for entry in index.entries] == [f"{n}.md" for n in range(5)]
    assert list((index.folder / "images").iterdir()) == []


def test_an_embedder_whose_vectors_are_not_normalised_is_refused(
    embedder: JinaEmbedder, engines: list[FakeEngine], tmp_path: Path
) -> None:
    """Before anything is computed: a search compares by dot products."""
    with (
        in_memory(engines)(embedder.model, normalize=False) as raw,
        pytest.raises(ConfigError, match="normalize=False: an index holds vectors of L2 norm 1"),
    ):
        build(notes(1), tmp_path / "index", raw)
    assert (engines, list(tmp_path.glob("index*"))) == ([], [])


def test_a_name_that_is_not_utf_8_is_indexed(embedder: JinaEmbedder, tmp_path: Path) -> None:
    """And one with a line break, in files that are valid UTF-8."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in (b"na\xff\xfeme.txt", b"a\n[2] fake.md", b"back\\slash.txt"):
        (folder / os.fsdecode(name)).write_text("content")
    (folder / b"caf\xe9.png".decode(errors="surrogateescape")).write_bytes(encoded(noise(20, 20)))
    left_out: dict[str, str] = {}
    build(read_folder(folder, left_out), tmp_path / "index", embedder, left_out)
    assert left_out == {}
    lines = (tmp_path / "index" / "places.jsonl").read_bytes().decode().splitlines()
    sources = {json.loads(line)["source"] for line in lines}
    assert sources == {r"na\xff\xfeme.txt", r"a\u000a[2] fake.md", r"back\\slash.txt", r"caf\xe9.png"}
    assert {entry.source for entry in Index(tmp_path / "index").entries} == sources


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the kernel refuse to write further, as it does where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("size", [1000, 2000, 3500, 5200])
def test_a_full_disk_is_told_and_the_next_run_goes_on(
    embedder: JinaEmbedder, engines: list[FakeEngine], tmp_path: Path, size: int
) -> None:
    """While the embeddings are kept and, at 5200 bytes, when all are and the places are written.

    The old index stays, and nothing is computed twice but what proves the kept ones.
    """
    folder = tmp_path / "index"
    build(notes(1), folder, embedder)
    embedder.embed_queries(["start"])
    before = len(engines[0].prompts)
    places = [replace(place, text=f"{place.text} {'word ' * 99}word") for place in notes(32)]
    with largest_file(size), pytest.raises(WriteError, match="cannot be written") as error:
        build(places, folder, embedder)
    assert isinstance(error.value.__cause__, OSError)
    assert error.value.__cause__.errno == errno.EFBIG
    assert "File too large" in str(error.value)
    first = len(engines[0].prompts) - before
    assert len(Index(folder).entries) == 1
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == ["index", "model"]
    (kept,) = tmp_path.glob(".*")
    assert str(kept) in str(error.value)
    stored = (kept.stat().st_size - 32) // (32 + 4 * 32)
    assert f"{stored // 2 * 2} embeddings are kept" in str(error.value)
    assert build(places, folder, embedder) == 32
    again = len(engines[0].prompts) - before - first
    assert again <= 32 - stored + 6  # up to three windows of two prove that the weights are the same
    index = Index(folder)
    for entry in index.entries:
        assert np.array_equal(index.embedding(entry), embedder.embed_passages([entry.text])[0])
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.usefixtures("small_windows")
def test_what_a_dead_engine_gave_is_kept(tmp_path: Path) -> None:
    def fail(prompt: Prompt) -> Exception | None:
        return EngineError("the engine is gone.") if prompt.images else None

    places = [*notes(12), Place(id="a.png", source="a.png", image=image(1))]
    with failing(tmp_path, fail) as embedder, pytest.raises(EngineError, match="is gone"):
        build(places, tmp_path / "index", embedder)
    assert [path.name for path in tmp_path.glob(".*")] == [".index-computed"]
    engines: list[FakeEngine] = []
    with in_memory(engines)(tmp_path / "model", dimensions=32) as embedder:
        assert build(places, tmp_path / "index", embedder) == 13
        assert len(engines[0].prompts) < 13


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("damage", ["other weights", "cut", "NaN", "garbage", "other settings"])
def test_kept_embeddings_are_used_only_if_they_are_the_same(tmp_path: Path, damage: str) -> None:
    """An index never holds a vector of other weights or a damaged file."""

    def fail(prompt: Prompt) -> Exception | None:
        return EngineError("the engine is gone.") if prompt.images else None

    places = [*notes(12), Place(id="a.png", source="a.png", image=image(1))]
    with failing(tmp_path, fail) as embedder, pytest.raises(EngineError):
        build(places, tmp_path / "index", embedder)
    kept = tmp_path / ".index-computed"
    data = kept.read_bytes()
    records = np.frombuffer(data, offset=32, dtype=[("key", "V32"), ("row", "<f4", (32,))]).copy()
    if damage == "other weights":
        records["row"] = -records["row"]
    elif damage == "NaN":
        records["row"][::2] = np.nan
    head = b"x" * 32 if damage == "other settings" else data[:32]
    kept.write_bytes(np.random.default_rng(0).bytes(3000) if damage == "garbage" else head + records.tobytes())
    if damage == "cut":
        kept.write_bytes(data[:-50])
    with in_memory([])(tmp_path / "model", dimensions=32) as embedder:
        assert build(places, tmp_path / "index", embedder) == 13
        index = Index(tmp_path / "index")
        for entry in index.entries[:-1]:
            assert np.array_equal(index.embedding(entry), embedder.embed_passages([entry.text])[0])
    assert not kept.exists()


@pytest.mark.parametrize("target", ["a\0b", "file.txt/index", "x" * 300, "loop", "/proc/index", "taken"])
def test_a_destination_that_cannot_be_written_is_told_before_anything_is_embedded(
    embedder: JinaEmbedder, engines: list[FakeEngine], tmp_path: Path, target: str
) -> None:
    (tmp_path / "file.txt").write_text("mine")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / ".taken-computed").mkdir()
    with pytest.raises(ConfigError, match=r"cannot be written|is not a file that this command wrote"):
        build(notes(3), tmp_path / target, embedder)
    assert engines == []
    assert (tmp_path / "file.txt").read_text() == "mine"


def test_an_index_behind_a_link_is_replaced_where_it_lies(embedder: JinaEmbedder, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    build(notes(2), tmp_path / "disk" / "index", embedder)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "index")
    build(notes(3), tmp_path / "link", embedder)
    assert (tmp_path / "link").is_symlink()
    assert len(Index(tmp_path / "disk" / "index").entries) == 3
