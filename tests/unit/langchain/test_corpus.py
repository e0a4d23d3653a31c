"""A corpus as a LangChain retriever: documents with their texts, images and columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.corpus_files import write_small
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.inputs.encoding import data_uri
from vllm_jina_embed.inputs.images import open_image
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.langchain import CorpusRetriever

pytest.importorskip("pyarrow")

from vllm_jina_embed.corpus import Columns, embed_corpus, open_corpus


@pytest.fixture
def embedder(tmp_path: Path) -> Iterator[JinaEmbedder]:
    with in_memory([])(write_folder(tmp_path / "model"), dimensions=32) as embedder:
        yield embedder


@pytest.fixture
def retriever(tmp_path: Path, embedder: JinaEmbedder) -> CorpusRetriever:
    folder, out = write_small(tmp_path / "in"), tmp_path / "out"
    embed_corpus(folder, out, embedder=embedder, columns=Columns(keep=("text", "year")))
    return CorpusRetriever(corpus=open_corpus(out), embedder=embedder, k=6, with_scores=True)


async def test_documents_have_their_texts_images_and_columns(retriever: CorpusRetriever, tmp_path: Path) -> None:
    found = {document.id: document for document in retriever.invoke("a question")}
    assert set(found) == {"a.png", *[f"r{number}" for number in range(5)]}
    assert found["r3"].page_content == "row 3"
    assert found["r3"].metadata["year"] == 1993
    assert found["r3"].metadata["source"] == "rows.jsonl"
    image = open_image(found["a.png"].page_content, MediaPolicy())
    assert image.tobytes() == noise(40, 30).tobytes()
    scores = [document.metadata["relevance_score"] for document in retriever.invoke("a question")]
    assert scores == sorted(scores, reverse=True)
    assert [document.id for document in await retriever.ainvoke("a question")] == [*found]
    assert len(retriever.invoke("a question", k=2)) == 2


def test_an_image_is_a_query(retriever: CorpusRetriever) -> None:
    """By its data URI, as everywhere else."""
    uri = data_uri(encoded(noise(40, 30)), "image/png")
    assert retriever.invoke(uri, k=1)[0].id == "a.png"
