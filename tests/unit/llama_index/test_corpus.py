"""A corpus as a LlamaIndex retriever: nodes with their texts, images and columns."""

from __future__ import annotations

from pathlib import Path

import pytest
from llama_index.core.schema import ImageNode

from tests.support.corpus_files import write_small
from tests.support.images import encoded, noise
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.inputs.encoding import data_uri
from vllm_jina_embed.llama_index import CorpusRetriever, ImageQuery

pytest.importorskip("pyarrow")

from vllm_jina_embed.corpus import Columns, embed_corpus, open_corpus


@pytest.fixture
def retriever(tmp_path: Path, embedder: JinaEmbedder) -> CorpusRetriever:
    folder, out = write_small(tmp_path / "in"), tmp_path / "out"
    embed_corpus(folder, out, embedder=embedder, columns=Columns(keep=("text", "year")))
    return CorpusRetriever(open_corpus(out), embedder=embedder, similarity_top_k=6)


async def test_nodes_have_their_texts_images_and_columns(retriever: CorpusRetriever, tmp_path: Path) -> None:
    found = retriever.retrieve("a question")
    nodes = {one.node.node_id: one.node for one in found}
    assert set(nodes) == {"a.png", *[f"r{number}" for number in range(5)]}
    assert nodes["r3"].get_content() == "row 3"
    assert nodes["r3"].metadata["year"] == 1993
    image = nodes["a.png"]
    assert isinstance(image, ImageNode)
    assert image.image_path == str(tmp_path / "in" / "a.png")
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]
    assert [one.node.node_id for one in await retriever.aretrieve("a question")] == [*nodes]


def test_an_image_is_a_query(retriever: CorpusRetriever, tmp_path: Path) -> None:
    """By its data URI, its path, or as an image query."""
    uri = data_uri(encoded(noise(40, 30)), "image/png")
    for query in (uri, ImageQuery(query_str="", image=tmp_path / "in" / "a.png")):
        assert retriever.retrieve(query)[0].node.node_id == "a.png"
