"""An index on disk: it gives back what was put in, ranks by the best of a place, and refuses what it is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import ConfigError, InputError, JinaEmbedder
from vllm_jina_embed.mcp.index import Index, build
from vllm_jina_embed.mcp.reading import Place

LONG = "\n\n".join(f"{letter * 700} end" for letter in "abc")


def image(seed: int) -> tuple[bytes, str]:
    return encoded(noise(40, 30, seed=seed)), "image/png"


PLACES = [
    Place(id="notes.md#L1-2", source="notes.md", text="a note"),
    Place(id="report.pdf#page=1", source="report.pdf", page=1, text="first page", image=image(1)),
    Place(id="report.pdf#page=2", source="report.pdf", page=2, text=LONG, image=image(2)),
    Place(id="empty.pdf#page=1", source="empty.pdf", page=1, image=image(3)),
]


@pytest.fixture
def embedder(tmp_path: Path) -> Iterator[JinaEmbedder]:
    engines: list[FakeEngine] = []
    with in_memory(engines)(write_folder(tmp_path / "model"), dimensions=32) as embedder:
        yield embedder


@pytest.fixture
def index(embedder: JinaEmbedder, tmp_path: Path) -> Index:
    assert build(PLACES, tmp_path / "index", embedder) == 4
    return Index(tmp_path / "index")


def test_what_was_put_in_is_given_back(index: Index, embedder: JinaEmbedder) -> None:
    for place, entry in zip(PLACES, index.entries, strict=True):
        assert (entry.id, entry.source, entry.page, entry.text) == (place.id, place.source, place.page, place.text)
        assert (entry.image is None) == (place.image is None)
        if entry.image is not None:
            assert place.image is not None
            assert (index.folder / entry.image).read_bytes() == place.image[0]
            assert np.array_equal(index.embedding(entry), embedder.embed_images([place.image[0]])[0])
    assert index.get("report.pdf#page=2") is index.entries[2]
    assert index.get("report.pdf#page=9") is None
    assert [entry.citation for entry in index.entries[:2]] == ["notes.md", "report.pdf, page 1"]
    assert index.settings["model"] == embedder.model
    assert (index.settings["dimensions"], index.settings["task"]) == (32, embedder.task)


def test_a_place_counts_by_the_best_of_its_image_and_its_pieces(index: Index, embedder: JinaEmbedder) -> None:
    """And comes once."""
    inputs = {0: "a note", 1: "first page", 2: "c" * 700 + " end", 3: image(3)[0]}
    for number, item in inputs.items():
        found = index.search(embedder.embed([item])[0], 10)
        assert found[0][0] is index.entries[number]
        assert found[0][1] == pytest.approx(1, abs=1e-5)
        assert sorted(entry.id for entry, _ in found) == sorted(place.id for place in PLACES)
        assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    assert len(index.search(embedder.embed([image(2)[0]])[0], 1)) == 1


def test_neighbours_are_of_the_same_file(index: Index) -> None:
    note, first, second, empty = index.entries
    assert index.neighbours(first) == (None, second)
    assert index.neighbours(second) == (first, None)
    assert index.neighbours(note) == index.neighbours(empty) == (None, None)


def test_a_new_index_replaces_the_old_one_once_it_is_whole(
    index: Index, embedder: JinaEmbedder, tmp_path: Path
) -> None:
    """A failure leaves the old one, and nothing else."""

    def failing() -> Iterator[Place]:
        yield PLACES[0]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        build(failing(), index.folder, embedder)
    assert len(Index(index.folder).entries) == 4
    assert build(PLACES[:1], index.folder, embedder) == 1
    assert len(Index(index.folder).entries) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "model"]


def test_a_folder_that_is_no_index_is_not_replaced(embedder: JinaEmbedder, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="exists and is not an index"):
        build(PLACES, tmp_path / "mine", embedder)
    with pytest.raises(InputError, match="no image, text or PDF"):
        build([], tmp_path / "other", embedder)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", ["index.json", "places.jsonl", "embeddings.npy"])
@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_damaged_index_is_refused(index: Index, name: str, damage: str) -> None:
    file = index.folder / name
    data = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(b"\n".join(data.split(b"\n")[:-2]) if name == "places.jsonl" else data[: len(data) // 2])
    with pytest.raises(ConfigError, match=r"Index it anew|vllm-jina-embed index FOLDER INDEX"):
        Index(index.folder)


def test_an_index_of_another_version_is_refused(index: Index) -> None:
    file = index.folder / "index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 99}))
    with pytest.raises(ConfigError, match="another version"):
        Index(index.folder)
