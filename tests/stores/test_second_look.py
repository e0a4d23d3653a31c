"""A second look by MaxSim behind every vector store of both frameworks: images and texts, in the order of brute force.

On an engine in memory, and once more on the demo checkpoint. The candidates come out of a store that was opened again
where it keeps anything; brute force compares the files and texts that went in, so an image that a store loses shows.
MaxSim here is ``by_definition``, two loops over tokens, written apart from the package.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from llama_index.core import Document as TextDocument
from llama_index.core import QueryBundle, StorageContext, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import RetrieverQueryEngine

from tests.support import langchain_stores, llama_index_stores
from tests.support.in_memory import in_memory, write_folder
from tests.unit.scoring.test_maxsim import by_definition
from vllm_jina_embed import JinaEmbedder, MediaPolicy, langchain, llama_index
from vllm_jina_embed.demo.concepts import CONCEPTS
from vllm_jina_embed.demo.drawing import UNSEEN_SEED, draw
from vllm_jina_embed.scoring.ranking import Ranked

pytestmark = pytest.mark.wide  # every store of both frameworks

SHOWN = [concept for concept in CONCEPTS if concept.startswith(("red", "blue"))][:10]
TOLD = [f"A {concept}." for concept in SHOWN[5:] + [name for name in CONCEPTS if name.startswith("green")][:5]]
CAPTIONS = [f"A {concept} is what nobody drew here." for concept in reversed(SHOWN)]
NAMES = [f"image {n}" for n in range(10)] + [f"text {n}" for n in range(10)]
QUESTION = "Where is the red circle?"
FOUND = 14
"""Of 20 items, those that the first stage passes on."""

STORES = {
    **{f"langchain-{name}": (*entry, "langchain") for name, entry in langchain_stores.STORES.items()},
    **{f"llama_index-{name}": (*entry, "llama_index") for name, entry in llama_index_stores.STORES.items()},
}


@dataclass(frozen=True, kw_only=True)
class Search:
    """Two stages over one store; both return names and scores, best first.

    Attributes:
        first: What the store finds by embeddings.
        second: The same behind ``MaxSimReranker``; its a-twin is ``asecond``.
        image_query: Returns an image as this framework's query.
        reranker: The framework's, whose ``_reranker`` a test can plant.
    """

    first: Callable[[Any], list[str]]
    second: Callable[[Any], list[tuple[str, float]]]
    asecond: Callable[[Any], Any]
    image_query: Callable[[Any], Any]
    reranker: Any


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("drawings")
    for number, concept in enumerate(SHOWN):
        draw(concept, seed=UNSEEN_SEED + number, size=(140, 112)).save(folder / f"{number}.png")
    return [folder / f"{number}.png" for number in range(len(SHOWN))]


@pytest.fixture(params=["in_memory", pytest.param("demo", marks=pytest.mark.real)])
def embedder(request: pytest.FixtureRequest, files: list[Path], tmp_path: Path) -> Iterator[JinaEmbedder]:
    media = MediaPolicy(allowed_root=files[0].parent)
    if request.param == "demo":
        request.getfixturevalue("demo_embedder")  # keeps the one engine alive
        made = JinaEmbedder("demo", media=media)
    else:
        made = in_memory([])(write_folder(tmp_path / "checkpoint"), media=media)
    with made as embedder:
        yield embedder


def search_in(name: str, embedder: JinaEmbedder, files: list[Path], folder: Path) -> Search:
    """Fill a store with all items, open it again, and put the second look behind it."""
    make, module, framework = STORES[name]
    importlib.import_module(module)  # a store that is not installed is a failure, not a skip
    by_framework = {"langchain": in_langchain, "llama_index": in_llama_index}
    return by_framework[framework](make, embedder, files, folder)


def in_langchain(make: Any, embedder: JinaEmbedder, files: list[Path], folder: Path) -> Search:
    """Half of the images whole, half by reference."""
    embeddings = langchain.VllmJinaEmbeddings(embedder=embedder)
    place = make(folder, embeddings)
    documents = [
        langchain.image_document(
            path,
            media=embedder.settings.media,
            mode="reference" if n % 2 else "data-uri",
            caption=CAPTIONS[n],
            metadata={"name": NAMES[n]},
        )
        for n, path in enumerate(files)
    ]
    store = place.make()
    store.add_documents([*documents, *(Document(text, metadata={"name": f"text {n}"}) for n, text in enumerate(TOLD))])
    if place.keeps:
        place.save(store)
        store = place.make()
    first = store.as_retriever(search_kwargs={"k": FOUND})
    reranker = langchain.MaxSimReranker(embedder=embeddings)
    second = ContextualCompressionRetriever(base_retriever=first, base_compressor=reranker)

    def scored(found: Sequence[Document]) -> list[tuple[str, float]]:
        return [(document.metadata["name"], document.metadata["relevance_score"]) for document in found]

    async def asecond(query: str) -> list[tuple[str, float]]:
        if place.awaits:
            return scored(await second.ainvoke(query))
        return scored(await reranker.acompress_documents(first.invoke(query), query))

    return Search(
        first=lambda query: [document.metadata["name"] for document in first.invoke(query)],
        second=lambda query: scored(second.invoke(query)),
        asecond=asecond,
        image_query=lambda image: langchain.image_document(image).page_content,
        reranker=reranker,
    )


def in_llama_index(make: Any, embedder: JinaEmbedder, files: list[Path], folder: Path) -> Search:
    """Half of the images by their path, half inside the document."""
    embedding = llama_index.VllmJinaEmbedding(embedder=embedder)
    place = make(folder, embedding.dimension)
    documents = [
        llama_index.image_document(path if n % 2 else path.read_bytes(), caption=CAPTIONS[n], doc_id=NAMES[n])
        for n, path in enumerate(files)
    ]
    index = VectorStoreIndex.from_documents(
        [*documents, *(TextDocument(text=text, doc_id=f"text {n}") for n, text in enumerate(TOLD))],
        transformations=[SentenceSplitter(), embedding],
        embed_model=embedding,
        storage_context=StorageContext.from_defaults(vector_store=place.make()),
    )
    if place.reopen is not None:
        index = place.reopen(index, embedding)
    first = llama_index.unified_retriever(index, similarity_top_k=FOUND)
    reranker = llama_index.MaxSimReranker(embedder=embedding)
    second = RetrieverQueryEngine.from_args(first, llm=MockLLM(), node_postprocessors=[reranker])

    def bundle(query: str | QueryBundle) -> QueryBundle:
        return QueryBundle(query) if isinstance(query, str) else query

    def scored(found: Any) -> list[tuple[str, float]]:
        return [(one.node.ref_doc_id, one.score) for one in found]

    async def asecond(query: Any) -> list[tuple[str, float]]:
        if place.awaits:
            return scored(await second.aretrieve(bundle(query)))
        return scored(await reranker.apostprocess_nodes(first.retrieve(query), bundle(query)))

    return Search(
        first=lambda query: [one.node.ref_doc_id for one in first.retrieve(query)],
        second=lambda query: scored(second.retrieve(bundle(query))),
        asecond=asecond,
        image_query=embedding.image_query,
        reranker=reranker,
    )


class BruteForce:
    """Every candidate and every score by numpy, from what went into the store."""

    def __init__(self, embedder: JinaEmbedder, files: list[Path]) -> None:
        self.embedder = embedder
        self.rows = embedder.embed([*files, *TOLD])
        self.multi_vectors = embedder.embed_multi_vector([*files, *TOLD])

    def candidates(self, query: Any) -> list[str]:
        (row,) = self.embedder.embed([query], prompt_name="query")
        return [NAMES[number] for number in np.argsort(-(self.rows @ row))[:FOUND]]

    def check(self, found: list[tuple[str, float]], first: list[str], query: Any) -> None:
        """Check that the candidates are all there, in the order of MaxSim; equal to 1e-4 may change places."""
        assert sorted(name for name, _ in found) == sorted(first), "other items than the store found"
        asked = self.embedder.embed_multi_vector([query], prompt_name="query")
        scores = by_definition(asked, [self.multi_vectors[NAMES.index(name)] for name, _ in found])[0]
        assert [score for _, score in found] == pytest.approx(scores.tolist(), abs=1e-3), "scores"
        assert (scores[:-1] >= scores[1:] - 1e-4).all(), "order"


@pytest.mark.parametrize("store", STORES)
async def test_the_second_look_behind_every_store_is_brute_force(
    store: str, embedder: JinaEmbedder, files: list[Path], tmp_path: Path
) -> None:
    """By a text and by an image; the first stage is that of the embeddings, and its order another one."""
    search = search_in(store, embedder, files, tmp_path / "store")
    brute_force = BruteForce(embedder, files)
    image = draw(SHOWN[3], seed=UNSEEN_SEED + 99, size=(90, 120))
    reordered = []
    for content, query in ((QUESTION, QUESTION), (image, search.image_query(image))):
        first = search.first(query)
        assert sorted(first) == sorted(brute_force.candidates(content))
        assert {name.split()[0] for name in first} == {"image", "text"}
        found = search.second(query)
        brute_force.check(found, first, content)
        brute_force.check(await search.asecond(query), first, content)
        reordered.append([name for name, _ in found] != first)
    assert any(reordered)


class Planted:
    """A reranker with a fault: what it makes of the items and of the answer."""

    def __init__(self, reranker: Any, items: Any = list, best: Any = lambda found: found) -> None:
        self._reranker, self._items, self._best = reranker, items, best

    @property
    def settings(self) -> Any:
        return self._reranker.settings

    def rerank(self, query: Any, items: Any, top_n: int | None = None) -> Any:
        return self._best(self._reranker.rerank(query, self._items(items), top_n))


def as_found(best: list[Ranked]) -> list[Ranked]:
    """The order of the first stage, with the right scores."""
    return sorted(best, key=lambda one: one.position)


def in_their_order(best: list[Ranked]) -> list[Ranked]:
    """The scores of the second look on the items in the order of the first: what a swapped position gives."""
    return [Ranked(position=place, score=one.score) for place, one in enumerate(best)]


def captions(items: Any) -> list[Any]:
    """A text in place of each image."""
    return [one if one in TOLD else CAPTIONS[number % 10] for number, one in enumerate(items)]


def one_image(items: Any) -> list[Any]:
    """Another image in place of each: what a store that mixes them up gives."""
    other = draw("green star", seed=1, size=(112, 112))
    return [one if one in TOLD else other for one in items]


@pytest.mark.parametrize("store", ["langchain-memory", "llama_index-simple"])
@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ({"best": as_found}, "order"),
        ({"best": in_their_order}, "scores"),
        ({"best": lambda best: best[:-1]}, "other items"),
        ({"items": captions}, "scores"),
        ({"items": one_image}, "scores"),
    ],
    ids=["not reordered", "positions swapped", "one lost", "text for an image", "another image"],
)
def test_brute_force_sees_planted_faults(
    store: str, fault: dict[str, Any], seen: str, embedder: JinaEmbedder, files: list[Path], tmp_path: Path
) -> None:
    search = search_in(store, embedder, files, tmp_path / "store")
    brute_force = BruteForce(embedder, files)
    first = search.first(QUESTION)
    brute_force.check(search.second(QUESTION), first, QUESTION)
    search.reranker._reranker = Planted(search.reranker._reranker, **fault)
    with pytest.raises(AssertionError, match=seen):
        brute_force.check(search.second(QUESTION), first, QUESTION)
