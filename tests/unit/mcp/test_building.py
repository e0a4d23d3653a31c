"""An index is built whole or told why not: texts stay texts, bad items are named, what was computed is kept."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from tests.support.indexes import replace_vectors, rows_of, vector, write_files
from tests.support.pdfs import text_pdf
from vllm_jina_embed import ConfigError, EngineError, InputError, JinaEmbedder, MediaPolicy
from vllm_jina_embed.checkpoints.registry import PUBLISHED
from vllm_jina_embed.corpus.locking import locked
from vllm_jina_embed.errors import WriteError
from vllm_jina_embed.inputs.encoding import data_uri
from vllm_jina_embed.inputs.sources import reference
from vllm_jina_embed.mcp import building
from vllm_jina_embed.mcp.building import build
from vllm_jina_embed.mcp.opening import embedder_for, opened
from vllm_jina_embed.prompts.base import Prompt

pytestmark = [pytest.mark.fire, pytest.mark.wide]


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second item is a shard of its own, so that few items make many."""
    monkeypatch.setattr(building, "ROWS_PER_FILE", 2)


def notes(count: int) -> dict[str, str | bytes]:
    return {f"{n:02d}.md": f"note {n}" for n in range(count)}


def prompts(engines: list[FakeEngine]) -> int:
    return sum(len(engine.prompts) for engine in engines)


def failing(tmp_path: Path, fail: Callable[[Prompt], Exception | None], **options: Any) -> JinaEmbedder:
    return in_memory([], fail=fail)(write_folder(tmp_path / "model"), dimensions=32, **options)


@pytest.mark.parametrize("name", ["demo", *PUBLISHED])
def test_what_an_index_says_of_its_model_can_be_opened(
    name: str, embedder: JinaEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a model whose processor alone decides an image's size, which refuses bounds of pixels."""
    from vllm_jina_embed.corpus.embed import Job, PdfEntries  # noqa: F401
    from vllm_jina_embed.corpus.manifest import _vectors
    from vllm_jina_embed.corpus.parquet_parts import Shape
    from vllm_jina_embed.corpus.work import Vectors

    index = tmp_path / "index"
    build(write_files(tmp_path / "folder", notes(1)), index, embedder)
    kwargs: dict[str, Any] = {"engine_kwargs": {"trust_remote_code": True}}
    with JinaEmbedder(name, **kwargs) as made, opened(index) as corpus:
        has_embedding = made.settings.checkpoint.row.pooling is not None
        vectors = Vectors(embedder=made, embedding=has_embedding, multi_vector=not has_embedding)
        shape = Shape(dimensions=made.settings.dimensions, token_dimensions=None, kept={})
        corpus.manifest["vectors"].update(_vectors(made, vectors, shape))  # type: ignore[index]
        with embedder_for(corpus, media=made.settings.media, **kwargs) as again:
            assert again.settings == made.settings


def test_the_content_of_a_text_file_is_text(embedder: JinaEmbedder, engines: list[FakeEngine], tmp_path: Path) -> None:
    """Whatever it looks like: no image is opened, and the vectors are those of the texts."""
    folder = write_files(tmp_path / "folder", {"a.png": encoded(noise(20, 20))})
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
    build(folder, tmp_path / "index", embedder, left_out)
    assert left_out == {}
    rows = rows_of(tmp_path / "index")
    assert {row.source for row in rows.values()} == {"a.png", *contents}
    for row in rows.values():
        if row.kind == "text":
            assert np.array_equal(vector(tmp_path / "index", row.id), embedder.embed_passages([row.text])[0])
    assert sum(len(prompt.images) for prompt in engines[0].prompts) == 1


@pytest.mark.usefixtures("small_shards")
def test_order_is_kept_and_each_item_is_embedded_once(
    embedder: JinaEmbedder, engines: list[FakeEngine], tmp_path: Path
) -> None:
    files: dict[str, str | bytes] = {**notes(10), "b.png": encoded(noise(40, 30)), "c.pdf": text_pdf("one", "", "two")}
    assert build(write_files(tmp_path / "folder", files), tmp_path / "index", embedder) == 14
    assert prompts(engines) == 16, "two pages are an image and a text, and count once"
    rows = rows_of(tmp_path / "index")
    pages = ["c.pdf#page=1", "c.pdf#page=1/text", "c.pdf#page=2", "c.pdf#page=3", "c.pdf#page=3/text"]
    assert list(rows) == [*[f"{name}#L1-1" for name in notes(10)], "b.png", *pages]
    for row in rows.values():
        again = embedder.embed_passages([row.text]) if row.kind == "text" else embedder.embed_images([row.image])
        assert np.array_equal(vector(tmp_path / "index", row.id), again[0])


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.usefixtures("small_shards")
@pytest.mark.filterwarnings("ignore:rows are NaN")
def test_an_item_that_cannot_be_embedded_is_told_and_the_others_are_there(tmp_path: Path, on_error: str) -> None:
    """An image that the model refuses, a broken one, and a vector of NaN, each by the name of its place."""

    def fail(prompt: Prompt) -> Exception | None:
        return InputError("too many tokens.") if any(image.width == 41 for image in prompt.images) else None

    files = {**notes(5), "large.png": encoded(noise(41, 30)), "bad.png": b"no image"}
    left_out: dict[str, str] = {}
    with failing(tmp_path, fail, on_error=on_error) as embedder:
        assert build(write_files(tmp_path / "folder", files), tmp_path / "index", embedder, left_out) == 5
    assert set(left_out) == {"large.png", "bad.png"}
    assert left_out["large.png"] == "too many tokens."
    assert "not an image" in left_out["bad.png"]
    assert list(rows_of(tmp_path / "index")) == [f"{name}#L1-1" for name in notes(5)]


def test_a_page_without_an_image_is_still_found_by_its_text(tmp_path: Path) -> None:
    """And is named once as left out, whichever of its rows failed."""

    def fail(prompt: Prompt) -> Exception | None:
        return InputError("no images.") if prompt.images else None

    left_out: dict[str, str] = {}
    folder = write_files(tmp_path / "folder", {"a.pdf": text_pdf("one", "")})
    with failing(tmp_path, fail) as embedder:
        assert build(folder, tmp_path / "index", embedder, left_out) == 1
    assert left_out == {"a.pdf#page=1": "no images.", "a.pdf#page=2": "no images."}
    assert list(rows_of(tmp_path / "index")) == ["a.pdf#page=1/text"]


def test_an_embedder_whose_vectors_are_not_normalised_is_refused(
    embedder: JinaEmbedder, engines: list[FakeEngine], tmp_path: Path
) -> None:
    """Before anything is computed: a search compares by dot products."""
    with (
        in_memory(engines)(embedder.model, normalize=False) as raw,
        pytest.raises(ConfigError, match="normalize=False: an index holds vectors of L2 norm 1"),
    ):
        build(write_files(tmp_path / "folder", notes(1)), tmp_path / "index", raw)
    assert (engines, list(tmp_path.glob("index*"))) == ([], [])


def test_a_name_that_is_not_utf_8_is_indexed(embedder: JinaEmbedder, tmp_path: Path) -> None:
    """And one with a line break, as valid UTF-8 on one line."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in (b"na\xff\xfeme.txt", b"a\n[2] fake.md", b"back\\slash.txt"):
        (folder / os.fsdecode(name)).write_text("content")
    (folder / b"caf\xe9.png".decode(errors="surrogateescape")).write_bytes(encoded(noise(20, 20)))
    left_out: dict[str, str] = {}
    build(folder, tmp_path / "index", embedder, left_out)
    assert left_out == {}
    sources = {row.source for row in rows_of(tmp_path / "index").values()}
    assert sources == {r"na\xff\xfeme.txt", r"a\u000a[2] fake.md", r"back\\slash.txt", r"caf\xe9.png"}


def test_several_folders_are_one_index(embedder: JinaEmbedder, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_files(tmp_path / name, {"a.md": name})
    assert build([tmp_path / "one", tmp_path / "two"], tmp_path / "index", embedder) == 2
    assert {id_: row.text for id_, row in rows_of(tmp_path / "index").items()} == {
        "one/a.md#L1-1": "one",
        "two/a.md#L1-1": "two",
    }


# --- again ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_shards")
def test_a_second_run_is_told_of_changed_new_and_removed_files(
    embedder: JinaEmbedder, engines: list[FakeEngine], tmp_path: Path
) -> None:
    """Another image of the same size too; what did not change is not computed again, but for one vector as a proof."""
    image = {"a.bmp": encoded(noise(20, 20, seed=1), "BMP")}
    build(write_files(tmp_path / "folder", {**image, **notes(9)}), tmp_path / "index", embedder)
    before = prompts(engines)
    build(tmp_path / "folder", tmp_path / "index", embedder)
    assert prompts(engines) - before == 1
    new: dict[str, str | bytes] = {**image, **notes(9), "zz.md": "new", "08.md": "changed"}
    write_files(tmp_path / "folder", new)
    (tmp_path / "folder" / "07.md").unlink()
    (tmp_path / "folder" / "a.bmp").write_bytes(encoded(noise(20, 20, seed=2), "BMP"))
    os.utime(tmp_path / "folder" / "a.bmp", (1, 1))
    before = prompts(engines)
    assert build(tmp_path / "folder", tmp_path / "index", embedder) == 10
    assert prompts(engines) - before <= 6
    rows = rows_of(tmp_path / "index")
    assert {row.source for row in rows.values()} == {name for name in new if name != "07.md"}
    assert rows["08.md#L1-1"].text == "changed"
    image_row = embedder.embed_images([encoded(noise(20, 20, seed=2), "BMP")])[0]
    assert np.array_equal(vector(tmp_path / "index", "a.bmp"), image_row)


def test_another_model_makes_all_anew(embedder: JinaEmbedder, engines: list[FakeEngine], tmp_path: Path) -> None:
    folder = write_files(tmp_path / "folder", notes(3))
    build(folder, tmp_path / "index", embedder)
    with in_memory(engines)(embedder.model, dimensions=16) as other:
        build(folder, tmp_path / "index", other)
    assert vector(tmp_path / "index", "00.md#L1-1").shape == (16,)
    assert list(tmp_path.glob(".*")) == []


def test_an_index_that_was_moved_is_made_again(embedder: JinaEmbedder, tmp_path: Path) -> None:
    build(write_files(tmp_path / "folder", notes(3)), tmp_path / "index", embedder)
    (tmp_path / "index").rename(tmp_path / "moved")
    assert len(rows_of(tmp_path / "moved")) == 3
    assert build(write_files(tmp_path / "folder", notes(4)), tmp_path / "moved", embedder) == 4


def test_an_index_of_version_0_1_is_replaced_and_not_read(embedder: JinaEmbedder, tmp_path: Path) -> None:
    old = write_files(tmp_path / "index", dict.fromkeys(("index.json", "places.jsonl", "embeddings.npy"), "{}"))
    with pytest.raises(ConfigError, match=r"is an index of version 0\.1 .* Make it again: vllm-jina-embed index"):
        opened(old)
    assert build(write_files(tmp_path / "folder", notes(1)), old, embedder) == 1
    assert sorted(path.name for path in old.iterdir()) == ["places.journal", "places.lance"]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the kernel refuse to write further, as it does where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("size", [1000, 3500, 9000])
def test_a_full_disk_is_told_and_the_old_index_stays(embedder: JinaEmbedder, tmp_path: Path, size: int) -> None:
    """From the first file on, or in the middle."""
    index = tmp_path / "index"
    build(write_files(tmp_path / "folder", notes(1)), index, embedder)
    files = {name: f"{text!r} {'word ' * 400 * number}word" for number, (name, text) in enumerate(notes(8).items())}
    write_files(tmp_path / "folder", files)
    with largest_file(size), pytest.raises(WriteError, match="cannot be written") as error:
        build(tmp_path / "folder", index, embedder)
    assert re.search("File too large|failed to fill whole buffer", str(error.value))  # LanceDB's, of a part of a write
    assert error.value.__cause__ is not None
    assert len(rows_of(index)) == 1
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] != ".") == ["folder", "index", "model"]
    build(tmp_path / "folder", index, embedder)
    assert {row.source for row in rows_of(index).values()} == set(files)
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.usefixtures("small_shards")
def test_what_a_dead_engine_gave_is_kept(tmp_path: Path) -> None:
    interrupt(tmp_path)
    assert [path.name for path in tmp_path.glob(".*")] == [".index-new"]
    engines: list[FakeEngine] = []
    with in_memory(engines)(tmp_path / "model", dimensions=32) as embedder:
        assert build(tmp_path / "folder", tmp_path / "index", embedder) == 13
        assert prompts(engines) < 8
    assert list(tmp_path.glob(".*")) == []


def interrupt(tmp_path: Path) -> Path:
    """Let the engine die at the last of 13 items, and return the folder in which the others are kept."""

    def fail(prompt: Prompt) -> Exception | None:
        return EngineError("the engine is gone.") if prompt.images else None

    folder = write_files(tmp_path / "folder", {**notes(12), "z.png": encoded(noise(20, 20))})
    with failing(tmp_path, fail) as embedder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("vllm_jina_embed.corpus.work.WINDOW", 2)
        with pytest.raises(EngineError, match="is gone"):
            build(folder, tmp_path / "index", embedder)
    assert not (tmp_path / "index").exists()
    return tmp_path / ".index-new" / "index"


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("damage", ["other weights", "cut", "infinite", "garbage", "gone", "journal"])
def test_kept_embeddings_are_used_only_if_they_are_the_same(tmp_path: Path, damage: str) -> None:
    """An index never holds a vector of other weights or a damaged file."""
    kept = interrupt(tmp_path)
    files = sorted((kept / "places.lance" / "data").iterdir())
    if damage in ("other weights", "infinite"):
        replace_vectors(kept, -1 if damage == "other weights" else np.inf)
    elif damage == "journal":
        for path in (kept / "places.journal" / "done").iterdir():
            path.write_text("{")
    else:
        for file in files:
            data = file.read_bytes()
            file.unlink()
            if damage != "gone":
                file.write_bytes(data[:-50] if damage == "cut" else np.random.default_rng(0).bytes(len(data)))
    with in_memory([])(tmp_path / "model", dimensions=32) as embedder:
        assert build(tmp_path / "folder", tmp_path / "index", embedder) == 13
        for id_, row in rows_of(tmp_path / "index").items():
            if row.kind == "text":
                assert np.array_equal(vector(tmp_path / "index", id_), embedder.embed_passages([row.text])[0])
    assert not kept.exists()


# --- where it goes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["a\0b", "file.txt/index", "x" * 300, "loop", "/proc/index", "taken", "strange"])
def test_a_destination_that_cannot_be_written_is_told_before_anything_is_embedded(
    embedder: JinaEmbedder, engines: list[FakeEngine], tmp_path: Path, target: str
) -> None:
    (tmp_path / "file.txt").write_text("mine")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / ".taken-new").write_text("mine")
    (tmp_path / ".strange-new").mkdir()
    (tmp_path / ".strange-new" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"cannot be written|this command (wrote|did not write)"):
        build(write_files(tmp_path / "folder", notes(3)), tmp_path / target, embedder)
    assert engines == []
    for name in ("file.txt", ".taken-new", ".strange-new/thesis.txt"):
        assert (tmp_path / name).read_text() == "mine"


def test_two_runs_do_not_build_one_index(embedder: JinaEmbedder, engines: list[FakeEngine], tmp_path: Path) -> None:
    folder = write_files(tmp_path / "folder", notes(1))
    with locked(tmp_path / ".index-new", (1, 1)), pytest.raises(ConfigError, match="another run writes to"):
        build(folder, tmp_path / "index", embedder)
    assert engines == []


def test_an_index_behind_a_link_is_replaced_where_it_lies(embedder: JinaEmbedder, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    build(write_files(tmp_path / "folder", notes(2)), tmp_path / "disk" / "index", embedder)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "index")
    build(write_files(tmp_path / "folder", notes(3)), tmp_path / "link", embedder)
    assert (tmp_path / "link").is_symlink()
    assert len(rows_of(tmp_path / "disk" / "index")) == 3


def test_a_new_index_replaces_the_old_one_once_it_is_whole(
    embedder: JinaEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure to put it there leaves the old one."""
    build(write_files(tmp_path / "folder", notes(4)), tmp_path / "index", embedder)
    write_files(tmp_path / "folder", notes(1))
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path.name == "index" and path.parent.name == ".index-new":
            raise OSError(errno.EIO, "the disk is gone")
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(WriteError, match="the disk is gone"):
            build(tmp_path / "folder", tmp_path / "index", embedder)
    assert len(rows_of(tmp_path / "index")) == 4
    assert build(tmp_path / "folder", tmp_path / "index", embedder) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "index", "model"]


def test_a_folder_that_is_no_index_is_not_replaced(embedder: JinaEmbedder, tmp_path: Path) -> None:
    """Nor one that holds a file of an index's name alone; and nothing to index leaves no index."""
    for name in ("mine", "other"):
        write_files(tmp_path / name, {"thesis.txt": "years of work", "index.json": "{}"})
        with pytest.raises(ConfigError, match="exists and is not an index"):
            build(write_files(tmp_path / "folder", notes(1)), tmp_path / name, embedder)
    shutil.rmtree(tmp_path / "other")
    with pytest.raises(InputError, match="no image, text or PDF"):
        build(write_files(tmp_path / "folder", {"data.csv": "1,2"}), tmp_path / "other", embedder)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    assert not (tmp_path / "other").exists()
    assert list(tmp_path.glob(".*")) == []
