"""Ten images and ten texts in every vector store of LangChain: one ranking, the same as brute force.

The demo checkpoint on the real engine; ``demo_embedder`` keeps the one engine alive.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.stores import InMemoryByteStore
from langchain_core.vectorstores import InMemoryVectorStore

from tests.support.langchain_stores import STORES, Place
from vllm_jina_embed import JinaEmbedder, MediaPolicy
from vllm_jina_embed.demo.concepts import CONCEPTS
from vllm_jina_embed.demo.drawing import UNSEEN_SEED, draw
from vllm_jina_embed.langchain import VllmJinaEmbeddings, image_document

pytestmark = pytest.mark.real

SHOWN = [concept for concept in CONCEPTS if concept.startswith(("red", "blue"))][:10]
TOLD = SHOWN[5:] + [concept for concept in CONCEPTS if concept.startswith("green")][:5]
NAMES = [f"image {n}" for n in range(10)] + [f"text {n}" for n in range(10)]


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
def embeddings(demo_embedder: JinaEmbedder, media: MediaPolicy) -> Iterator[VllmJinaEmbeddings]:
    """On the shared engine; every store is filled with the same items, which are computed for the first one alone."""
    with VllmJinaEmbeddings(model="demo", media=media).cached(InMemoryByteStore()) as embeddings:
        yield embeddings


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
def rows(demo_embedder: JinaEmbedder, files: list[Path]) -> np.ndarray:
    """The vector of every item, by the core."""
    texts = demo_embedder.embed_passages([f"A {concept}." for concept in TOLD])
    return np.concatenate([demo_embedder.embed_images(files), texts])


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, tmp_path: Path, embeddings: VllmJinaEmbeddings) -> Place:
    make, module = STORES[request.param]
    importlib.import_module(module)  # a store that is not installed is a failure, not a skip
    return make(tmp_path / "store", embeddings)


def assert_ranked(found: Sequence[Document], scores: np.ndarray, names: Sequence[str] = NAMES) -> None:
    """Check that ``found`` holds every name once, by falling score; equal to 1e-5 may change places."""
    got = [document.metadata["name"] for document in found]
    assert sorted(got) == sorted(names)
    values = np.array([scores[NAMES.index(name)] for name in got])
    assert (values[:-1] >= values[1:] - 1e-5).all(), got


def test_images_and_texts_are_ranked_as_by_brute_force(
    place: Place,
    embeddings: VllmJinaEmbeddings,
    demo_embedder: JinaEmbedder,
    documents: list[Document],
    files: list[Path],
    rows: np.ndarray,
) -> None:
    """By text, by image through a plain retriever, by vector; after deleting, and after opening again."""
    store = place.make()
    ids = store.add_documents(documents)
    ask = store.as_retriever(search_kwargs={"k": 20}).invoke

    by_text = rows @ demo_embedder.embed_queries(["Where is the red circle?"])[0]
    assert_ranked(ask("Where is the red circle?"), by_text)
    query = draw(SHOWN[3], seed=UNSEEN_SEED + 99, size=(90, 120))
    by_image = rows @ demo_embedder.embed_images([query])[0]
    uri = image_document(query).page_content
    assert_ranked(ask(uri), by_image)
    assert_ranked(ask(f"\n{uri} \n"), by_image)
    assert ask(documents[3].page_content)[0].metadata["name"] == "image 3"
    assert ask(documents[4].page_content)[0].page_content == documents[4].page_content
    if place.by_vector is not None:
        assert_ranked(place.by_vector(store, embeddings.embed_image(query), 20), by_image)

    gone, left = {"image 3", "text 7"}, [name for name in NAMES if name not in {"image 3", "text 7"}]
    if place.deletes:
        store.delete([ids[NAMES.index(name)] for name in gone])
        assert_ranked(store.similarity_search("Where is the red circle?", k=18), by_text, left)
    else:
        with pytest.raises(NotImplementedError):
            store.delete([ids[0]])
        left = NAMES

    if place.keeps:
        place.save(store)
        del store, ask
        again = place.make()
        assert_ranked(again.similarity_search(uri, k=len(left)), by_image, left)


def test_text_and_image_queries_find_what_they_mean(embeddings: VllmJinaEmbeddings, documents: list[Document]) -> None:
    """Not only the same as brute force: the nearest image shows what was asked for."""
    store = InMemoryVectorStore(embeddings)
    store.add_documents(documents[:10])
    right = []
    for number, concept in enumerate(SHOWN):
        image = draw(concept, seed=UNSEEN_SEED + 500 + number, size=(120, 120))
        for query in (f"a {concept}", image_document(image).page_content):
            (found,) = store.similarity_search(query, k=1)
            right.append(found.metadata["name"] == f"image {number}")
    assert sum(right) >= 19, right  # the demo checkpoint promises 95 %


def test_chromas_own_image_calls(
    tmp_path: Path, embeddings: VllmJinaEmbeddings, files: list[Path], rows: np.ndarray
) -> None:
    """add_images and similarity_search_by_image call embed_image(uris=[...])."""
    from langchain_chroma import Chroma

    store = Chroma("items", embeddings, persist_directory=str(tmp_path))
    store.add_images([str(path) for path in files], metadatas=[{"name": name} for name in NAMES[:10]])
    scores = rows @ rows[3]
    assert_ranked(store.similarity_search_by_image(str(files[3]), k=10), scores, NAMES[:10])
    assert_ranked(
        store.similarity_search(f"a {SHOWN[3]}", k=10), rows @ embeddings.embed_query(f"a {SHOWN[3]}"), NAMES[:10]
    )


def test_lancedbs_own_image_calls(
    tmp_path: Path, embeddings: VllmJinaEmbeddings, files: list[Path], rows: np.ndarray
) -> None:
    """langchain-community's add_images calls embed_image(uris=[...])."""
    from langchain_community.vectorstores import LanceDB

    store = LanceDB(uri=str(tmp_path), embedding=embeddings, table_name="items")
    store.add_images([str(path) for path in files], metadatas=[{"name": name} for name in NAMES[:10]])
    found = store.similarity_search_by_vector(rows[3].tolist(), k=10)
    assert_ranked(found, rows @ rows[3], NAMES[:10])
