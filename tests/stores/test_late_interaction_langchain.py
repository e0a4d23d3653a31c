"""Ten images and ten texts in two stages through LangChain: one ranking, the same as MaxSim by brute force.

The demo checkpoint on the real engine; ``demo_embedder`` keeps the one engine alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_tests.integration_tests import RetrieversIntegrationTests
from qdrant_client import models

from tests.unit.scoring.test_maxsim import by_definition
from vllm_jina_embed import JinaEmbedder, MediaPolicy
from vllm_jina_embed.demo.concepts import CONCEPTS
from vllm_jina_embed.demo.drawing import UNSEEN_SEED, draw
from vllm_jina_embed.errors import InputError
from vllm_jina_embed.langchain import LateInteractionRetriever, image_document, image_retriever_tool
from vllm_jina_embed.late_interaction import LateInteractionIndex

pytestmark = [pytest.mark.real, pytest.mark.wide]

SHOWN = [concept for concept in CONCEPTS if concept.startswith(("red", "blue"))][:10]
TOLD = SHOWN[5:] + [concept for concept in CONCEPTS if concept.startswith("green")][:5]
NAMES = [f"image {n}" for n in range(10)] + [f"text {n}" for n in range(10)]
QUESTION = "Where is the red circle?"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("drawings")
    for number, concept in enumerate(SHOWN):
        draw(concept, seed=UNSEEN_SEED + number, size=(140, 112)).save(folder / f"{number}.png")
    return [folder / f"{number}.png" for number in range(len(SHOWN))]


@pytest.fixture(scope="module")
def media(files: list[Path]) -> MediaPolicy:
    return MediaPolicy(allowed_root=files[0].parent)


@pytest.fixture(scope="module")
def embedder(demo_embedder: JinaEmbedder, media: MediaPolicy) -> Iterator[JinaEmbedder]:
    """On the shared engine, with the folder that references lie in."""
    with JinaEmbedder("demo", media=media) as embedder:
        yield embedder


@pytest.fixture(scope="module")
def documents(files: list[Path], media: MediaPolicy) -> list[Document]:
    """Half of the images whole, half by reference."""
    images = [
        image_document(path, media=media, mode="reference" if n % 2 else "data-uri", metadata={"name": NAMES[n]})
        for n, path in enumerate(files)
    ]
    texts = [Document(f"A {concept}.", metadata={"name": f"text {n}"}) for n, concept in enumerate(TOLD)]
    return [*images, *texts]


@pytest.fixture(scope="module")
def scores(demo_embedder: JinaEmbedder, files: list[Path]) -> Callable[[Any], np.ndarray]:
    """MaxSim of a query and every item, by two loops over their tokens."""
    told = demo_embedder.embed_multi_vector([*files, *(f"A {concept}." for concept in TOLD)])

    def ask(query: Any) -> np.ndarray:
        asked = demo_embedder.embed_multi_vector([query], prompt_name="query")
        return by_definition(asked, told)[0]

    return ask


def assert_ranked(found: Sequence[Document], scores: np.ndarray, names: Sequence[str] = NAMES) -> None:
    """Check that ``found`` holds every name once, by falling score; equal to 1e-4 may change places."""
    got = [document.metadata["name"] for document in found]
    assert sorted(got) == sorted(names)
    values = np.array([scores[NAMES.index(name)] for name in got])
    assert (values[:-1] >= values[1:] - 1e-4).all(), got


def test_images_and_texts_are_ranked_as_by_brute_force(
    embedder: JinaEmbedder,
    documents: list[Document],
    scores: Callable[[Any], np.ndarray],
    tmp_path: Path,
) -> None:
    """By text and by image; after deleting, and after opening again."""
    index = LateInteractionIndex(embedder, path=tmp_path)
    retriever = LateInteractionRetriever(index=index, k=20)
    ids = retriever.add_documents(documents)
    assert retriever.add_documents(documents) == ids
    assert_ranked(retriever.invoke(QUESTION), scores(QUESTION))
    image = draw(SHOWN[3], seed=UNSEEN_SEED + 99, size=(90, 120))
    query = image_document(image)
    assert_ranked(retriever.invoke(query.page_content), scores(image))
    assert_ranked(retriever.invoke(f"\n{query.page_content} \n"), scores(image))

    retriever.delete([ids[3], ids[17]])
    left = [name for name in NAMES if name not in {"image 3", "text 7"}]
    assert_ranked(retriever.invoke(QUESTION), scores(QUESTION), left)
    index.close()
    with LateInteractionIndex(embedder, path=tmp_path) as again:
        found = LateInteractionRetriever(index=again, k=20).invoke(QUESTION)
        assert_ranked(found, scores(QUESTION), left)
        by_name = {document.metadata["name"]: document for document in found}
        for document in documents:
            if document.metadata["name"] in by_name:  # content, and every fact and thumbnail of an image
                same = by_name[document.metadata["name"]]
                assert (same.page_content, same.metadata) == (document.page_content, document.metadata)
                assert same.id in ids


async def test_awaited_it_gives_the_same(embedder: JinaEmbedder, documents: list[Document]) -> None:
    with LateInteractionIndex(embedder) as index:
        retriever = LateInteractionRetriever(index=index, k=7)
        ids = await retriever.aadd_documents(documents)
        assert await retriever.ainvoke(QUESTION) == retriever.invoke(QUESTION)
        await retriever.adelete(ids[:10])
        assert {document.metadata["name"][:4] for document in await retriever.ainvoke(QUESTION)} == {"text"}


def test_limits_of_one_call_and_of_all(embedder: JinaEmbedder, documents: list[Document]) -> None:
    """Filters name metadata as langchain-qdrant's do."""
    only = models.Filter(
        must=[models.FieldCondition(key="metadata.name", match=models.MatchAny(any=["image 3", "text 0"]))]
    )
    with LateInteractionIndex(embedder) as index:
        retriever = LateInteractionRetriever(index=index)
        retriever.add_documents([*documents, Document("with an id", id="mine", metadata={"name": "x"})])
        assert len(retriever.invoke(QUESTION)) == 4
        assert len(retriever.invoke(QUESTION, k=9, candidates=9)) == 9
        kept = retriever.invoke(QUESTION, filter=only)
        assert {document.metadata["name"] for document in kept} == {"image 3", "text 0"}
        assert LateInteractionRetriever(index=index, filter=only).invoke(QUESTION) == kept
        assert retriever.invoke("with an id", k=1)[0].id == "mine"
        with pytest.raises(InputError, match=r"items\[1\]"):
            retriever.add_documents([documents[0], Document(" ")])
        with pytest.raises(ValueError, match="Extra inputs"):
            LateInteractionRetriever(index=index, top_k=3)  # type: ignore[call-arg]


def test_agents_see_what_it_found(embedder: JinaEmbedder, documents: list[Document]) -> None:
    """References are looked up in the folder of the index's embedder."""
    with LateInteractionIndex(embedder) as index:
        retriever = LateInteractionRetriever(index=index, k=1)
        retriever.add_documents(documents[:10])
        tool = image_retriever_tool(retriever)
        for number in (2, 3):
            content = tool.invoke({"query": documents[number].page_content})
            assert [block["type"] for block in content] == ["text", "image"]


class TestStandard(RetrieversIntegrationTests):
    """LangChain's own suite for retrievers."""

    @pytest.fixture(autouse=True)
    def filled(self, embedder: JinaEmbedder, documents: list[Document]) -> Iterator[None]:
        with LateInteractionIndex(embedder) as self.index:
            LateInteractionRetriever(index=self.index).add_documents(documents)
            yield

    @property
    def retriever_constructor(self) -> type[LateInteractionRetriever]:
        return LateInteractionRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"index": self.index}

    @property
    def retriever_query_example(self) -> str:
        return QUESTION
