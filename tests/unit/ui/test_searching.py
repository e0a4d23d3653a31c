"""One ranking over dropped items and a corpus, by an engine in memory whose vectors are those of equal contents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.images import encoded, noise
from tests.support.indexes import write_files
from vllm_jina_embed import ConfigError, InputError, JinaEmbedder
from vllm_jina_embed.corpus import Columns, embed_corpus
from vllm_jina_embed.mcp.opening import opened
from vllm_jina_embed.scoring.maxsim import maxsim
from vllm_jina_embed.ui.ranking import Hit
from vllm_jina_embed.ui.searching import CANDIDATES, Question, Searcher
from vllm_jina_embed.ui.shelf import Bounds, Item, Shelf, item_of, text_item

PHOTO, OTHER = encoded(noise(60, 40, seed=1)), encoded(noise(60, 40, seed=2))
FILES: dict[str, str | bytes] = {"photo.png": PHOTO, "note.md": "a note on trees", "other.md": "something else"}


@pytest.fixture
async def shelf(embedder: JinaEmbedder) -> Shelf:
    shelf = Shelf(is_open=True)
    for item in (await item_of("own.png", OTHER, Bounds()), text_item("my own words", Bounds())):
        shelf.put(item, (await embedder.aembed([item.content]))[0])
    return shelf


def corpus_of(
    tmp_path: Path, embedder: JinaEmbedder, *, vectors: str = "embedding", keep: tuple[str, ...] = ("text", "image")
) -> Path:
    pytest.importorskip("pyarrow")
    folder, out = write_files(tmp_path / "folder", FILES), tmp_path / f"corpus-{vectors}-{len(keep)}"
    embed_corpus(folder, out, embedder=embedder, columns=Columns(keep=keep), vectors=vectors)
    return out


def names(hits: list[Hit]) -> list[str]:
    return [hit.source.name if isinstance(hit.source, Item) else hit.source.id for hit in hits]


async def test_dropped_items_are_found_by_words_and_by_an_image(embedder: JinaEmbedder, shelf: Shelf) -> None:
    """The scores are those of the embedder itself."""
    searcher = Searcher(embedder)
    answer = await searcher.search(Question(text="my own words"), shelf)
    scores = {hit.source.name: (hit.cosine, hit.maxsim) for hit in answer.hits}  # type: ignore[union-attr]
    contents = [item.content for item in shelf.items.values()]
    cosines = (await embedder.ascore(["my own words"], contents, multi_vector=False))[0]
    sums = (await embedder.ascore(["my own words"], contents, multi_vector=True))[0]
    assert scores == {
        item.name: (pytest.approx(float(cosine), abs=1e-5), pytest.approx(float(total), abs=1e-4))
        for item, cosine, total in zip(shelf.items.values(), cosines, sums, strict=True)
    }
    assert [hit.maxsim for hit in answer.hits] == sorted((hit.maxsim for hit in answer.hits), reverse=True)  # type: ignore[type-var]
    assert len(answer.stages) == 2
    by_image = await searcher.search(Question(image=OTHER), shelf, second_look=False)
    assert names(by_image.hits)[0] == "own.png"
    assert [hit.maxsim for hit in by_image.hits] == [None, None]
    assert len(by_image.stages) == 1


@pytest.mark.parametrize("vectors", ["embedding", "both", "multi-vector"])
async def test_a_corpus_and_dropped_items_are_one_ranking(
    embedder: JinaEmbedder, shelf: Shelf, tmp_path: Path, vectors: str
) -> None:
    """By each kind of vector that a corpus may have; an image that both have is found in both."""
    shelf.put(photo := await item_of("mine.png", PHOTO, Bounds()), (await embedder.aembed([photo.content]))[0])
    searcher = Searcher(embedder, opened(corpus_of(tmp_path, embedder, vectors=vectors)))
    await searcher.start()
    answer = await searcher.search(Question(image=PHOTO), shelf)
    assert sorted(names(answer.hits)[:2]) == ["mine.png", "photo.png"]
    assert len(answer.hits) == 6
    assert answer.compared == 6
    assert all(hit.maxsim is not None for hit in answer.hits)
    first, second = answer.hits[:2]
    assert first.maxsim == pytest.approx(second.maxsim, rel=1e-2)  # stored rows are float16
    assert first.cosine == (None if vectors == "multi-vector" else pytest.approx(second.cosine, abs=1e-5))
    words = await searcher.search(Question(text="a note on trees"), shelf)
    (tokens,) = await embedder.aembed_multi_vector(["a note on trees"], prompt_name="query")
    (stored,) = await embedder.aembed_multi_vector(["a note on trees"])
    (note,) = [hit for hit in words.hits if names([hit])[0].startswith("note.md")]
    assert note.maxsim == pytest.approx(float(maxsim([tokens], [stored])[0][0]), rel=1e-2)


async def test_a_place_that_keeps_nothing_has_no_second_look(
    embedder: JinaEmbedder, shelf: Shelf, tmp_path: Path
) -> None:
    """It follows those that have one, and the page is told why it has no image."""
    searcher = Searcher(embedder, opened(corpus_of(tmp_path, embedder, keep=())))
    answer = await searcher.search(Question(text="a note on trees"), shelf)
    assert [hit.maxsim is None for hit in answer.hits] == [False, False, True, True, True]
    (photo,) = [hit for hit in answer.hits if names([hit]) == ["photo.png"]]
    with pytest.raises(InputError, match="--read-files"):
        await searcher.thumbnail(photo)
    reading = Searcher(embedder, opened(corpus_of(tmp_path, embedder, keep=())), read_files=True)
    assert (await reading.image(photo)).size == (60, 40)


async def test_no_file_outside_the_corpus_is_read(embedder: JinaEmbedder, tmp_path: Path) -> None:
    """Whatever a row says, and with --read-files too."""
    searcher = Searcher(embedder, opened(corpus_of(tmp_path, embedder, keep=())), read_files=True)
    answer = await searcher.search(Question(image=PHOTO), Shelf())
    (photo,) = [hit for hit in answer.hits if names([hit]) == ["photo.png"]]
    (tmp_path / "secret.png").write_bytes(OTHER)
    (tmp_path / "folder" / "link.png").symlink_to(tmp_path / "secret.png")
    place: Any = photo.source
    for name in ("../secret.png", "link.png", str(tmp_path / "secret.png"), "nowhere.png"):
        row = replace(place.rows[0], source=name, id=name)
        with pytest.raises(InputError):
            await searcher.image(Hit(source=replace(place, rows=(row,))))


async def test_the_best_of_many_are_looked_at_again(embedder: JinaEmbedder, engines: list[FakeEngine]) -> None:
    """And what was computed for them once is kept."""
    shelf, searcher = Shelf(is_open=True), Searcher(embedder)
    for number in range(CANDIDATES + 5):
        item = text_item(f"text number {number}", Bounds())
        shelf.put(item, (await embedder.aembed([item.content]))[0])
    answer = await searcher.search(Question(text="text number 3"), shelf)
    assert len(answer.hits) == CANDIDATES
    assert answer.compared == CANDIDATES + 5
    before = len(engines[0].prompts)
    again = await searcher.search(Question(text="text number 3"), shelf)
    assert names(again.hits) == names(answer.hits)
    assert len(engines[0].prompts) - before == 2  # the question alone, in both ways
    searcher.forget(shelf)
    assert searcher._tokens._held == 0


async def test_searches_run_beside_each_other_and_the_loop_is_free(embedder: JinaEmbedder, shelf: Shelf) -> None:
    """While they run, the loop turns: nothing waits in it."""
    searcher, turns = Searcher(embedder), 0

    async def count() -> AsyncIterator[int]:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)
            yield turns

    async def turn() -> None:
        async for _ in count():
            pass

    counting = asyncio.create_task(turn())
    answers = await asyncio.gather(
        *(searcher.search(Question(text=text), shelf) for text in ("my own words", "a note", "a tree") * 5)
    )
    counting.cancel()
    assert turns > 15
    assert [answer.hits[0].maxsim for answer in answers[:3]] == [answer.hits[0].maxsim for answer in answers[3:6]]


async def test_a_question_that_cannot_be_embedded_is_an_error(embedder: JinaEmbedder, shelf: Shelf) -> None:
    searcher = Searcher(embedder)
    for question in (Question(image=b"broken"), Question(image=encoded(noise(3000, 10)))):
        with pytest.raises(InputError):
            await searcher.search(question, shelf)


async def test_a_corpus_of_other_weights_is_refused(embedder: JinaEmbedder, tmp_path: Path) -> None:
    from tests.support.indexes import replace_vectors

    pytest.importorskip("lancedb")
    out = f"lancedb://{tmp_path / 'tables'}/places"
    embed_corpus(write_files(tmp_path / "folder", FILES), out, embedder=embedder, columns=Columns(keep=("text",)))
    replace_vectors(tmp_path / "tables", -1)
    with pytest.raises(ConfigError, match="other weights"):
        await Searcher(embedder, opened(out)).start()


def test_closing_closes_the_embedder_and_the_corpus(embedder: JinaEmbedder, tmp_path: Path) -> None:
    with Searcher(embedder, opened(corpus_of(tmp_path, embedder))):
        assert np.isfinite(embedder.embed(["a"])).all()
    assert embedder.closed
