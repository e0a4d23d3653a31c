"""on_error="skip" in LlamaIndex: no NaN leaves the adapter, bad nodes are told, and a second run heals."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.ingestion import DocstoreStrategy, IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import ImageNode, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore

from tests.support.fake_engine import FakeEngine
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import InputError, JinaEmbedder
from vllm_jina_embed.llama_index import VllmJinaEmbedding, image_document, image_node

pytestmark = pytest.mark.fire
BAD: list[Any] = [
    *("", " \n", "\ud800", "data:image/png;base64,AAAA"),
    *(None, 7, True, float("nan"), b"x", bytearray(b"x"), ["a"], [], [None], {"a": 1}, {1}, object),
]


@pytest.fixture
def engines() -> list[FakeEngine]:
    return []


@pytest.fixture
def embedder(tmp_path: Path, engines: list[FakeEngine]) -> Iterator[JinaEmbedder]:
    with in_memory(engines)(write_folder(tmp_path / "checkpoint"), on_error="skip") as embedder:
        yield embedder


@pytest.fixture
def embedding(embedder: JinaEmbedder) -> VllmJinaEmbedding:
    return VllmJinaEmbedding(embedder=embedder, embed_batch_size=2)


@pytest.mark.parametrize("bad", BAD, ids=repr)
async def test_a_batch_keeps_the_good_rows_and_gives_the_placeholder_for_a_bad_one(
    embedding: VllmJinaEmbedding, bad: Any
) -> None:
    good, other = embedding.get_text_embedding_batch(["a", "b"])
    expected = [good, embedding.placeholder, other]
    with pytest.warns(UserWarning, match="placeholder"):
        assert embedding.get_text_embedding_batch(["a", bad, "b"]) == expected
    with pytest.warns(UserWarning, match="placeholder"):
        assert await embedding.aget_text_embedding_batch(["a", bad, "b"]) == expected
    assert [embedding.is_placeholder(row) for row in expected] == [False, True, False]


async def test_warnings_that_are_errors_hold_the_rows(embedding: VllmJinaEmbedding) -> None:
    """``python -W error``: as they would have been returned."""
    (good,) = embedding.get_text_embedding_batch(["a"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="placeholder") as caught:
            await embedding.aget_text_embedding_batch(["a", ""])
        assert caught.value.embeddings == [good, embedding.placeholder]  # type: ignore[attr-defined]
        with pytest.raises(UserWarning, match="left out") as caught:
            embedding([TextNode(text="a"), TextNode(text="")])
        np.testing.assert_array_equal(caught.value.embeddings[:1], [good])  # type: ignore[attr-defined]


async def test_images_too(embedding: VllmJinaEmbedding) -> None:
    images: list[Any] = [encoded(noise(20, 20)), b"broken", "no/such/file.png", noise(30, 20)]
    with pytest.warns(UserWarning, match="placeholder"):
        rows = embedding.get_image_embedding_batch(images)
    with pytest.warns(UserWarning, match="placeholder"):
        assert await embedding.aget_image_embedding_batch(images) == rows
    assert [embedding.is_placeholder(row) for row in rows] == [False, True, True, False]


async def test_nothing_in_nothing_out(embedding: VllmJinaEmbedding) -> None:
    """Where LlamaIndex hands over an empty batch too."""
    assert embedding._get_text_embeddings([]) == await embedding._aget_text_embeddings([]) == []
    assert embedding._get_image_embeddings([]) == await embedding._aget_image_embeddings([]) == []
    assert embedding([]) == await embedding.acall([]) == []


async def test_a_single_call_with_a_bad_item_fails(embedding: VllmJinaEmbedding) -> None:
    """A question without an embedding has no answer; no warning precedes the error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for bad in BAD:
            for call in (embedding.get_query_embedding, embedding.get_text_embedding):
                with pytest.raises(InputError, match=r"items\[0\]: "):
                    call(bad)
            for acall in (embedding.aget_query_embedding, embedding.aget_text_embedding):
                with pytest.raises(InputError, match=r"items\[0\]: "):
                    await acall(bad)
        for call, place in ((embedding.get_image_embedding, "images"), (embedding.image_query, "items")):
            with pytest.raises(InputError, match=rf"{place}\[0\]: "):
                call(b"broken")
        for acall, place in ((embedding.aget_image_embedding, "images"), (embedding.aimage_query, "items")):
            with pytest.raises(InputError, match=rf"{place}\[0\]: "):
                await acall(b"broken")


@pytest.mark.parametrize("bad", [None, 7, b"x", ["a"]], ids=repr)
async def test_raise_names_the_position_of_what_is_no_string(tmp_path: Path, bad: Any) -> None:
    """Where LlamaIndex asks for strings; what was computed is kept."""
    with in_memory([])(write_folder(tmp_path / "checkpoint")) as embedder:
        strict = VllmJinaEmbedding(embedder=embedder)
        with pytest.raises(InputError, match=r"items\[1\]: ") as caught:
            strict.get_text_embedding_batch(["a", bad, "b"])
        assert caught.value.positions == (1,)
        assert np.isnan(caught.value.embeddings).any(axis=1).tolist() == [False, True, False]
        with pytest.raises(InputError, match=r"items\[1\]: "):
            await strict.aget_text_embedding_batch(["a", bad, "b"])


async def test_questions_that_are_joined_are_checked_first(
    embedding: VllmJinaEmbedding, engines: list[FakeEngine]
) -> None:
    """A mean over a placeholder answers nothing, so on_error="skip" changes nothing here."""
    for queries, told in [
        (["a", None, 7], r"(?s)2 of 3 items.*queries\[1\]: got NoneType.*queries\[2\]: got int"),
        ("abc", "queries: got one str; expected a list"),
        (None, "queries: got NoneType; expected a list"),
        ([], "queries: got an empty list"),
    ]:
        with pytest.raises(InputError, match=told):
            embedding.get_agg_embedding_from_queries(queries)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=told):
            await embedding.aget_agg_embedding_from_queries(queries)  # type: ignore[arg-type]
    assert engines == []
    rows = [embedding.get_query_embedding(text) for text in ("a", "b")]
    np.testing.assert_allclose(embedding.get_agg_embedding_from_queries(["a", "b"]), np.mean(rows, axis=0))
    found = await embedding.aget_agg_embedding_from_queries(["a", "b"], agg_fn=lambda rows: rows[1])
    assert found == rows[1]


async def test_a_batch_is_a_list_and_any_list(embedding: VllmJinaEmbedding) -> None:
    """A string would be its characters; a generator can be read once."""
    for call in (embedding.get_text_embedding_batch, embedding.get_image_embedding_batch):
        for wrong in ("abc", None, 7, b"abc", {"a": 1}):
            with pytest.raises(InputError, match="expected a list"):
                call(wrong)  # type: ignore[operator]
    for wrong in ("abc", None):
        with pytest.raises(InputError, match="expected a list"):
            await embedding.aget_text_embedding_batch(wrong)  # type: ignore[arg-type]
    rows = embedding.get_text_embedding_batch(["a", "b", "c"])
    assert embedding.get_text_embedding_batch(iter("abc")) == rows  # type: ignore[arg-type]
    assert await embedding.aget_text_embedding_batch(iter("abc")) == rows  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [None, "a", {"id": 1}, ["a"], 7], ids=repr)
async def test_what_is_no_node_is_named(embedding: VllmJinaEmbedding, wrong: Any) -> None:
    """It has no id to be left out by."""
    with pytest.raises(InputError, match=r"nodes\[1\]: got \w+; expected a node"):
        embedding([TextNode(text="a"), wrong])
    with pytest.raises(InputError, match=r"nodes\[1\]: got \w+; expected a node"):
        await embedding.acall([TextNode(text="a"), wrong])
    with pytest.raises(InputError, match=r"nodes: got|nodes\[0\]: got"):
        embedding(wrong)


async def test_a_transformation_leaves_bad_nodes_out(embedding: VllmJinaEmbedding) -> None:
    """Blank ones, broken ones, and those whose image is lost; the warning names them once."""
    nodes = [
        TextNode(text="a"),
        TextNode(text="  ", id_="blank"),
        ImageNode(image_url="https://example.org/a.png", id_="far"),
        image_node(noise(20, 20)),
        ImageNode(image="AAAA", text="a caption", metadata={"image_sha256": "1"}, id_="broken"),
    ]
    for call in (embedding, None):
        copies = [node.model_copy(deep=True) for node in nodes]
        with pytest.warns(UserWarning, match="(?s)left out.*3 of 5 items.*'blank'.*'far'.*'broken'") as caught:
            found = call(copies) if call else await embedding.acall(copies)
        assert len(caught) == 1
        assert [node.node_id for node in found] == [nodes[0].node_id, nodes[3].node_id]
        assert np.isfinite([node.embedding for node in found]).all()


def test_raise_computes_the_rest(tmp_path: Path) -> None:
    """The nodes' ids stand beside the positions."""
    with in_memory([])(write_folder(tmp_path / "checkpoint")) as embedder:
        nodes = [
            TextNode(text="a"),
            TextNode(text="", id_="blank"),
            ImageNode(image_url="https://a.b/c.png", id_="far"),
        ]
        with pytest.raises(InputError, match=r"(?s)items\[1\]: got an empty text.*nodes\[2\] \(id 'far'\)") as caught:
            VllmJinaEmbedding(embedder=embedder)(nodes)
        assert caught.value.positions == (1, 2)
        assert np.isnan(caught.value.embeddings).any(axis=1).tolist() == [False, True, True]
        assert "node 'blank'" in caught.value.__notes__[0]


def test_observers_see_no_nan(embedding: VllmJinaEmbedding, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an event holds belongs together."""
    from vllm_jina_embed.llama_index import events

    seen: list[Any] = []
    monkeypatch.setattr(events, "_dispatcher", SimpleNamespace(event=seen.append, event_handlers=[None]))
    with pytest.warns(UserWarning, match="left out"):
        embedding([TextNode(text="a"), TextNode(text=""), TextNode(text="b")])
    assert seen[-1].chunks == ["a", "b"]
    assert np.isfinite(seen[-1].embeddings).all()
    assert len(seen[-1].embeddings) == 2


def test_no_nan_reaches_an_index(embedding: VllmJinaEmbedding) -> None:
    """The index embeds by its embed_model alone."""
    nodes = [TextNode(text=text) for text in ("a red circle", BAD[3], "a blue star")]
    with pytest.warns(UserWarning, match="placeholder"):
        index = VectorStoreIndex(nodes, embed_model=embedding)
    rows = index.vector_store.data.embedding_dict  # type: ignore[attr-defined]
    assert np.isfinite(list(rows.values())).all()
    assert [embedding.is_placeholder(rows[node.node_id]) for node in nodes] == [False, True, False]


class TestPipeline:
    """The file of an image is away for one run."""

    @pytest.fixture
    def away(self, tmp_path: Path) -> Any:
        (tmp_path / "a.png").write_bytes(encoded(noise(20, 20)))
        documents = [Document(text="a text", id_="t"), image_document(tmp_path / "a.png", id_="p")]
        (tmp_path / "a.png").rename(tmp_path / "away.png")
        return documents, lambda: (tmp_path / "away.png").rename(tmp_path / "a.png")

    async def test_its_cache_does_not_answer_for_a_run_that_left_something_out(
        self, embedding: VllmJinaEmbedding, away: Any, tmp_path: Path
    ) -> None:
        documents, back = away
        pipeline = IngestionPipeline(transformations=[SentenceSplitter(), embedding])
        with pytest.warns(UserWarning, match="left out"):
            assert len(pipeline.run(documents=documents)) == 1
        with pytest.warns(UserWarning, match="left out"):
            assert len(await pipeline.arun(documents=documents)) == 1
        pipeline.cache.persist(str(tmp_path / "cache.json"))
        back()
        assert len(pipeline.run(documents=documents)) == 2
        again = IngestionPipeline(
            transformations=[SentenceSplitter(), VllmJinaEmbedding(embedder=embedding.embedder)],
            cache=IngestionCache.from_persist_path(str(tmp_path / "cache.json")),
        )
        assert len(again.run(documents=documents)) == 2
        assert len(await again.arun(documents=documents)) == 2

    def test_with_raise_its_cache_answers_as_before(self, tmp_path: Path) -> None:
        """Nothing is left out there, so nothing is wrong with it."""
        engines: list[FakeEngine] = []
        with in_memory(engines)(write_folder(tmp_path / "checkpoint")) as embedder:
            embedding = VllmJinaEmbedding(embedder=embedder)
            assert embedding.to_dict() == embedding.to_dict()
            pipeline = IngestionPipeline(transformations=[embedding])
            for _ in range(2):
                assert len(pipeline.run(nodes=[TextNode(text="a")])) == 1
            assert len(engines[0].prompts) == 1

    def test_a_vector_cache_does_that_work(
        self, embedding: VllmJinaEmbedding, engines: list[FakeEngine], away: Any, tmp_path: Path
    ) -> None:
        documents, back = away
        pipeline = IngestionPipeline(transformations=[embedding.cached(tmp_path / "cache.sqlite")])
        with pytest.warns(UserWarning, match="left out"):
            pipeline.run(documents=documents)
        back()
        for _ in range(2):
            assert len(pipeline.run(documents=documents)) == 2
        assert len(engines[0].prompts) == 2

    def test_the_docstore_half_of_the_documentation(self, embedding: VllmJinaEmbedding, away: Any) -> None:
        """LlamaIndex records a document before anybody knows whether it can be embedded; so choose first."""
        documents, back = away
        pipeline = IngestionPipeline(
            transformations=[SentenceSplitter(), embedding],
            docstore=SimpleDocumentStore(),
            docstore_strategy=DocstoreStrategy.UPSERTS,
            vector_store=SimpleVectorStore(),
        )

        def run() -> list[str | None]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                good = {node.node_id for node in embedding(documents)}
            found = pipeline.run(documents=[document for document in documents if document.node_id in good])
            return sorted(node.ref_doc_id or "" for node in found)

        assert run() == ["t"]
        assert run() == []
        back()
        assert run() == ["p"]
        assert len(pipeline.vector_store.data.embedding_dict) == 2  # type: ignore[union-attr]

    def test_it_is_made_anew_from_its_dict(self, embedding: VllmJinaEmbedding) -> None:
        """What the number changes is the key of the cache alone."""
        known = embedding.to_dict()
        assert known["on_error"] == "skip"
        assert known != embedding.to_dict()
        again = VllmJinaEmbedding.from_dict(known)
        assert again.fingerprint == embedding.fingerprint
        assert VllmJinaEmbedding.from_json(embedding.to_json()).on_error == "skip"
        again.close()
