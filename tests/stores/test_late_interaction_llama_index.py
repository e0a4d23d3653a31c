"""Ten images and ten texts in two stages through LlamaIndex: one ranking, the same as MaxSim by brute force.

The demo checkpoint on the real engine; ``demo_embedder`` keeps the one engine alive.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import Document, QueryBundle
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import BaseNode, ImageNode, NodeWithScore
from qdrant_client import models

from tests.unit.scoring.test_maxsim import by_definition
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.demo.concepts import CONCEPTS
from vllm_jina_embed.demo.drawing import UNSEEN_SEED, draw
from vllm_jina_embed.errors import InputError
from vllm_jina_embed.inputs.encoding import data_uri
from vllm_jina_embed.late_interaction import LateInteractionIndex
from vllm_jina_embed.llama_index import LateInteractionRetriever, image_document, image_retriever_tool

pytestmark = [pytest.mark.real, pytest.mark.wide]

SHOWN = [concept for concept in CONCEPTS if concept.startswith(("red", "blue"))][:10]
TOLD = SHOWN[5:] + [concept for concept in CONCEPTS if concept.startswith("green")][:5]
NAMES = [f"image {n}" for n in range(10)] + [f"text {n}" for n in range(10)]
QUESTION = "a red circle"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("drawings")
    for number, concept in enumerate(SHOWN):
        draw(concept, seed=UNSEEN_SEED + number, size=(140, 112)).save(folder / f"{number}.png")
    return [folder / f"{number}.png" for number in range(len(SHOWN))]


@pytest.fixture
def nodes(files: list[Path]) -> Sequence[BaseNode]:
    """Half of the images by their path, half inside the document; cut by a splitter as in any pipeline."""
    sources = [path if number % 2 else path.read_bytes() for number, path in enumerate(files)]
    images = [image_document(source, doc_id=f"image {n}") for n, source in enumerate(sources)]
    texts = [Document(text=f"A {concept}.", doc_id=f"text {n}", metadata={"n": n}) for n, concept in enumerate(TOLD)]
    for text in texts:
        text.excluded_embed_metadata_keys = ["n"]
    return SentenceSplitter()([*images, *texts])


@pytest.fixture(scope="module")
def scores(demo_embedder: JinaEmbedder, files: list[Path]) -> Callable[[Any], np.ndarray]:
    """MaxSim of a query and every item, by two loops over their tokens."""
    told = demo_embedder.embed_multi_vector([*files, *(f"A {concept}." for concept in TOLD)])

    def ask(query: Any) -> np.ndarray:
        asked = demo_embedder.embed_multi_vector([query], prompt_name="query")
        return by_definition(asked, told)[0]

    return ask


def assert_ranked(found: Sequence[NodeWithScore], scores: np.ndarray, names: Sequence[str] = NAMES) -> None:
    """Check that ``found`` holds every name once with its score, best first; equal to 1e-4 may change places."""
    got = [str(hit.node.ref_doc_id) for hit in found]
    assert sorted(got) == sorted(names)
    values = np.array([scores[NAMES.index(name)] for name in got])
    assert (values[:-1] >= values[1:] - 1e-4).all(), got
    assert [hit.score for hit in found] == pytest.approx(values.tolist(), abs=1e-4)


def test_images_and_texts_are_ranked_as_by_brute_force(
    demo_embedder: JinaEmbedder,
    nodes: Sequence[BaseNode],
    files: list[Path],
    scores: Callable[[Any], np.ndarray],
    tmp_path: Path,
) -> None:
    """By text and by image; after deleting, and after opening again, with the images in it."""
    index = LateInteractionIndex(demo_embedder, path=tmp_path)
    retriever = LateInteractionRetriever(index, similarity_top_k=50)
    ids = retriever.insert_nodes(nodes)
    assert ids == [node.node_id for node in nodes]
    assert retriever.insert_nodes(nodes) == ids
    assert_ranked(retriever.retrieve(QUESTION), scores(QUESTION))
    image = draw(SHOWN[3], seed=UNSEEN_SEED + 77, size=(112, 140))
    assert_ranked(retriever.retrieve(retriever.image_query(image)), scores(image))
    for query in (retriever.image_query(str(files[4])), QueryBundle("", image_path=str(files[4]))):
        assert_ranked(retriever.retrieve(query), scores(files[4]))

    retriever.delete_ref_doc("image 4")
    retriever.delete_nodes([ids[12]])
    left = [name for name in NAMES if name not in {"image 4", "text 2"}]
    assert_ranked(retriever.retrieve(QUESTION), scores(QUESTION), left)
    index.close()
    with LateInteractionIndex(demo_embedder, path=tmp_path) as again:
        retriever = LateInteractionRetriever(again, similarity_top_k=1)
        for number in (2, 3):
            (best,) = retriever.retrieve(retriever.image_query(files[number]))
            assert isinstance(best.node, ImageNode)
            assert best.node.ref_doc_id == f"image {number}"
            assert retriever.retrieve(retriever.image_query(best.node.resolve_image()))[0].node == best.node


async def test_awaited_it_gives_the_same(demo_embedder: JinaEmbedder, nodes: Sequence[BaseNode]) -> None:
    with LateInteractionIndex(demo_embedder) as index:
        retriever = LateInteractionRetriever(index, similarity_top_k=7)
        ids = await retriever.ainsert_nodes(nodes)
        assert await retriever.aretrieve(QUESTION) == retriever.retrieve(QUESTION)
        await retriever.adelete_nodes(ids[:9])
        await retriever.adelete_ref_doc("image 9")
        assert {hit.node.ref_doc_id[:4] for hit in await retriever.aretrieve(QUESTION)} == {"text"}


def test_limits(demo_embedder: JinaEmbedder, nodes: Sequence[BaseNode]) -> None:
    """Filters name the nodes' metadata."""
    low = models.Filter(must=[models.FieldCondition(key="n", range=models.Range(lt=3))])
    with LateInteractionIndex(demo_embedder) as index:
        LateInteractionRetriever(index).insert_nodes(nodes)
        assert len(LateInteractionRetriever(index).retrieve(QUESTION)) == 4
        found = LateInteractionRetriever(index, similarity_top_k=9, candidates=9, filter=low).retrieve(QUESTION)
        assert {hit.node.metadata["n"] for hit in found} == {0, 1, 2}


def test_a_query_without_content_is_named(demo_embedder: JinaEmbedder, nodes: Sequence[BaseNode]) -> None:
    """An embedding alone cannot be compared token by token."""
    with LateInteractionIndex(demo_embedder) as index:
        retriever = LateInteractionRetriever(index)
        for query in (
            QueryBundle("", embedding=[1.0] * 128),
            QueryBundle("a", custom_embedding_strs=["a", "b"]),
        ):
            with pytest.raises(InputError, match=r"retriever\.image_query"):
                retriever.retrieve(query)


def test_engines_and_tools_take_it(demo_embedder: JinaEmbedder, nodes: Sequence[BaseNode], files: list[Path]) -> None:
    """A query engine answers from what it found; an agent's tool shows the images, and searches by them."""
    with LateInteractionIndex(demo_embedder) as index:
        retriever = LateInteractionRetriever(index, similarity_top_k=2)
        retriever.insert_nodes(nodes)
        answer = RetrieverQueryEngine.from_args(retriever, llm=MockLLM()).query(QUESTION)
        assert len(answer.source_nodes) == 2
        tool = image_retriever_tool(retriever)
        found = tool.call(image=data_uri(files[3].read_bytes(), "image/png"))
        assert found.raw_output[0].node.ref_doc_id == "image 3"
        name = re.search(r"image-[0-9a-f]{8}", str(found.blocks[0]))
        assert name is not None
        again = tool.call(image=name[0])
        assert again.raw_output[0].node == found.raw_output[0].node
