"""on_error="skip" in LangChain: no NaN leaves the adapter, bad documents are told, and a second run heals."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import BaseDocumentTransformer, Document
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_core.vectorstores import InMemoryVectorStore

from tests.support.fake_engine import FakeEngine
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import InputError, MediaPolicy
from vllm_jina_embed.langchain import VllmJinaEmbeddings, image_document

pytestmark = pytest.mark.fire
BAD: list[Any] = ["", " \n", "\ud800", "data:image/png;base64,AAAA", None, 7, ["a"], float("nan"), b"x", {"a": 1}]


@pytest.fixture
def engines() -> list[FakeEngine]:
    return []


def refuse_poison(prompt: Any) -> Exception | None:
    return InputError("the engine refuses it.") if prompt.images and prompt.images[0].size == (33, 33) else None


@pytest.fixture
def embeddings(tmp_path: Path, engines: list[FakeEngine]) -> Iterator[VllmJinaEmbeddings]:
    policy = MediaPolicy(allowed_root=tmp_path)
    with in_memory(engines, fail=refuse_poison)(
        write_folder(tmp_path / "checkpoint"), on_error="skip", media=policy
    ) as embedder:
        yield VllmJinaEmbeddings(embedder=embedder)


@pytest.mark.parametrize("bad", BAD, ids=repr)
async def test_a_batch_keeps_the_good_rows_and_gives_the_placeholder_for_a_bad_one(
    embeddings: VllmJinaEmbeddings, bad: Any
) -> None:
    (good, other) = embeddings.embed_documents(["a", "b"])
    for call in (embeddings.embed_documents, None):
        with pytest.warns(UserWarning, match=r"placeholder.*items\[1\]: ") as caught:
            rows = call(["a", bad, "b"]) if call else await embeddings.aembed_documents(["a", bad, "b"])
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert rows == [good, embeddings.placeholder, other]
    assert np.isfinite(rows).all()
    assert [embeddings.is_placeholder(row) for row in rows] == [False, True, False]


async def test_warnings_that_are_errors_hold_the_rows(embeddings: VllmJinaEmbeddings) -> None:
    """``python -W error``: as they would have been returned."""
    (good,) = embeddings.embed_documents(["a"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="placeholder") as caught:
            embeddings.embed_documents(["a", ""])
        assert caught.value.embeddings == [good, embeddings.placeholder]  # type: ignore[attr-defined]
        with pytest.raises(UserWarning, match="left out") as caught:
            await embeddings.atransform_documents([Document("a"), Document("")])
        np.testing.assert_array_equal(caught.value.embeddings[:1], [good])  # type: ignore[attr-defined]


async def test_images_too(embeddings: VllmJinaEmbeddings) -> None:
    """Broken ones, and what the engine refuses."""
    images = [encoded(noise(20, 20)), b"broken", noise(33, 33), None]
    with pytest.warns(UserWarning, match="3 of 4 items"):
        rows = embeddings.embed_images(images)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="3 of 4 items"):
        assert await embeddings.aembed_images(images) == rows  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="3 of 4 items"):
        assert embeddings.embed_image(uris=images) == rows  # type: ignore[arg-type]
    assert [embeddings.is_placeholder(row) for row in rows] == [False, True, True, True]


def test_nothing_good_is_placeholders_alone(embeddings: VllmJinaEmbeddings, engines: list[FakeEngine]) -> None:
    with pytest.warns(UserWarning, match="2 of 2 items"):
        assert embeddings.embed_documents(["", " "]) == [embeddings.placeholder] * 2
    with pytest.warns(UserWarning, match=r"items\[0\]"):
        assert embeddings.embed_documents([""]) == [embeddings.placeholder]
    assert engines == [], "there was nothing to compute"


async def test_nothing_in_nothing_out(embeddings: VllmJinaEmbeddings) -> None:
    assert embeddings.embed_documents([]) == await embeddings.aembed_documents([]) == []
    assert embeddings.embed_images([]) == await embeddings.aembed_images([]) == []
    assert embeddings.embed_image([]) == await embeddings.aembed_image(uris=[]) == []


async def test_a_single_call_with_a_bad_item_fails(embeddings: VllmJinaEmbeddings) -> None:
    """A question without an embedding has no answer; the error is the item's own, and no warning precedes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for bad in BAD:
            with pytest.raises(InputError, match=r"items\[0\]: "):
                embeddings.embed_query(bad)
            with pytest.raises(InputError, match=r"items\[0\]: "):
                await embeddings.aembed_query(bad)
        with pytest.raises(InputError, match=r"images\[0\]: "):
            embeddings.embed_image(b"broken")
        with pytest.raises(InputError, match=r"images\[0\]: "):
            await embeddings.aembed_image(b"broken")


def test_what_is_not_a_list_fails(embeddings: VllmJinaEmbeddings) -> None:
    with pytest.raises(InputError, match="expected a list"):
        embeddings.embed_documents("a text")  # type: ignore[arg-type]


def test_raise_says_what_a_text_is_and_keeps_what_was_computed(tmp_path: Path) -> None:
    with in_memory([])(write_folder(tmp_path / "checkpoint")) as embedder:
        strict = VllmJinaEmbeddings(embedder=embedder)
        with pytest.raises(InputError, match=r"items\[1\]: got NoneType; expected a text as a string") as caught:
            strict.embed_documents(["a", None, "b"])  # type: ignore[list-item]
        assert caught.value.positions == (1,)
        np.testing.assert_array_equal(caught.value.embeddings[[0, 2]], strict.embed_documents(["a", "b"]))
        assert np.isnan(caught.value.embeddings[1]).all()
        with pytest.raises(InputError, match=r"items\[1\]"):
            strict.transform_documents([Document("a"), Document("")])


def test_the_placeholder_is_known_again() -> None:
    """In whatever numbers a store keeps it; nothing near it is it."""
    for size in (16, 128, 2048):
        with VllmJinaEmbeddings(model="jinaai/jina-embeddings-v4-vllm-retrieval", dimensions=128) as embeddings:
            row = np.full(size, size**-0.5)
            assert embeddings.is_placeholder(row.astype(np.float16).tolist())
            assert embeddings.is_placeholder((3 * row).tolist())
            assert not embeddings.is_placeholder((-row).tolist())
            assert not embeddings.is_placeholder(np.eye(size)[0].tolist())
            assert not embeddings.is_placeholder([0.0] * size)
    assert len(embeddings.placeholder) == embeddings.dimension
    assert np.linalg.norm(embeddings.placeholder) == pytest.approx(1)


class TestTransformDocuments:
    """Before a store: nothing stands there for what is bad."""

    async def test_gives_the_good_ones_in_order(self, embeddings: VllmJinaEmbeddings) -> None:
        documents = [Document("a"), Document(""), Document("b", metadata={"page": 1}, id="x")]
        assert isinstance(embeddings, BaseDocumentTransformer)
        with pytest.warns(UserWarning, match=r"left out.*items\[1\]") as caught:
            assert embeddings.transform_documents(documents) == [documents[0], documents[2]]
        assert caught[0].filename == __file__
        with pytest.warns(UserWarning, match="left out"):
            assert await embeddings.atransform_documents(documents) == [documents[0], documents[2]]
        assert list(embeddings.transform_documents([])) == []

    @pytest.mark.parametrize("wrong", [None, "a", {"page_content": "a"}, 7], ids=repr)
    async def test_what_is_no_document_is_left_out(self, embeddings: VllmJinaEmbeddings, wrong: Any) -> None:
        """By its place; a generator is read once."""
        documents = [Document("a"), wrong, Document("b")]
        with pytest.warns(UserWarning, match=r"left out.*documents\[1\]: got \w+ of \w+; expected a Document"):
            found = embeddings.transform_documents(iter(documents))  # type: ignore[arg-type]
        assert list(found) == [documents[0], documents[2]]
        with pytest.warns(UserWarning, match=r"documents\[1\]"):
            assert await embeddings.atransform_documents(documents) == found
        with pytest.raises(InputError, match=r"documents: got"):
            embeddings.transform_documents(None)  # type: ignore[arg-type]

    async def test_a_second_run_of_index_heals(
        self, embeddings: VllmJinaEmbeddings, engines: list[FakeEngine], tmp_path: Path
    ) -> None:
        """The file is away for one run; with a cache each vector is computed once."""
        (tmp_path / "a.png").write_bytes(encoded(noise(20, 20)))
        media = MediaPolicy(allowed_root=tmp_path)
        documents = [
            Document("a text", metadata={"source": "1"}),
            image_document(tmp_path / "a.png", mode="reference", media=media, metadata={"source": "2"}),
        ]
        cached = embeddings.cached(tmp_path / "cache.sqlite")
        store, records = InMemoryVectorStore(cached), InMemoryRecordManager("test")
        records.create_schema()
        options: dict[str, Any] = {"cleanup": "incremental", "source_id_key": "source", "key_encoder": "sha256"}
        (tmp_path / "a.png").rename(tmp_path / "away.png")
        with pytest.warns(UserWarning, match="left out"):
            assert index(cached.transform_documents(documents), records, store, **options)["num_added"] == 1
        with pytest.warns(UserWarning, match="left out"):
            found = await aindex(await cached.atransform_documents(documents), records, store, **options)
        assert (found["num_added"], found["num_skipped"]) == (0, 1)
        (tmp_path / "away.png").rename(tmp_path / "a.png")
        found = index(cached.transform_documents(documents), records, store, **options)
        assert (found["num_added"], found["num_skipped"]) == (1, 1)
        assert len(store.store) == 2
        assert sum(len(engine.prompts) for engine in engines) == 2
