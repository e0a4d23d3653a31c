"""Ten images and ten texts in every vector store of LangChain: one ranking, the same as brute force.

The demo checkpoint on the real engine; ``demo_embedder`` keeps the one engine alive.
"""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.stores import InMemoryByteStore
from langchain_core.vectorstores import InMemoryVectorStore

from tests.support.postgres import postgres_server
from vllm_jina_embed import JinaEmbedder, MediaPolicy
from vllm_jina_embed.demo.concepts import CONCEPTS
from vllm_jina_embed.demo.drawing import UNSEEN_SEED, draw
from vllm_jina_embed.langchain import VllmJinaEmbeddings, image_document

pytestmark = pytest.mark.real

SHOWN = [concept for concept in CONCEPTS if concept.startswith(("red", "blue"))][:10]
TOLD = SHOWN[5:] + [concept for concept in CONCEPTS if concept.startswith("green")][:5]
NAMES = [f"image {n}" for n in range(10)] + [f"text {n}" for n in range(10)]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a store lies.

    Attributes:
        make: Gives the store, empty the first time.
        save: Writes the store to its place, or closes it, where it does not do so by itself.
        keeps: Whether ``make`` finds again what was there.
        by_vector: Gives the documents nearest to a vector; None where the store has no such call.
        deletes: Whether the store can delete by ids.
    """

    make: Callable[[], Any]
    save: Callable[[Any], None] = lambda store: None
    keeps: bool = True
    by_vector: Callable[[Any, list[float], int], list[Document]] | None = lambda store, vector, k: (
        store.similarity_search_by_vector(vector, k=k)
    )
    deletes: bool = True


def memory(folder: Path, embeddings: Embeddings) -> Place:
    file = folder / "store.json"

    def make() -> Any:
        if file.exists():
            return InMemoryVectorStore.load(str(file), embeddings)
        return InMemoryVectorStore(embeddings)

    return Place(make=make, save=lambda store: store.dump(str(file)))


def chroma_in_memory(folder: Path, embeddings: Embeddings) -> Place:
    import chromadb
    from langchain_chroma import Chroma

    client = chromadb.EphemeralClient()
    return Place(make=lambda: Chroma(f"items-{folder.parent.name}", embeddings, client=client), keeps=False)


def chroma(folder: Path, embeddings: Embeddings) -> Place:
    from langchain_chroma import Chroma

    return Place(make=lambda: Chroma("items", embeddings, persist_directory=str(folder)))


def qdrant_in_memory(folder: Path, embeddings: Embeddings) -> Place:
    from langchain_qdrant import QdrantVectorStore

    def make() -> Any:
        return QdrantVectorStore.construct_instance(embeddings, client_options={"location": ":memory:"})

    return Place(make=make, keeps=False, by_vector=_qdrant_by_vector)


def qdrant(folder: Path, embeddings: Embeddings) -> Place:
    from langchain_qdrant import QdrantVectorStore

    def make() -> Any:
        return QdrantVectorStore.construct_instance(
            embeddings, client_options={"path": str(folder)}, collection_name="items"
        )

    return Place(make=make, save=lambda store: store.client.close(), by_vector=_qdrant_by_vector)


def _qdrant_by_vector(store: Any, vector: list[float], k: int) -> list[Document]:
    return [document for document, _ in store.similarity_search_with_score_by_vector(vector, k=k)]


def faiss(folder: Path, embeddings: Embeddings) -> Place:
    from faiss import IndexFlatIP
    from langchain_community.docstore.in_memory import InMemoryDocstore
    from langchain_community.vectorstores import FAISS
    from langchain_community.vectorstores.utils import DistanceStrategy

    def make() -> Any:
        strategy = DistanceStrategy.MAX_INNER_PRODUCT
        if folder.exists():
            return FAISS.load_local(
                str(folder), embeddings, allow_dangerous_deserialization=True, distance_strategy=strategy
            )
        index = IndexFlatIP(len(embeddings.embed_query("length")))
        return FAISS(embeddings, index, InMemoryDocstore(), {}, distance_strategy=strategy)

    return Place(make=make, save=lambda store: store.save_local(str(folder)))


def lancedb(folder: Path, embeddings: Embeddings) -> Place:
    from langchain_community.vectorstores import LanceDB

    return Place(make=lambda: LanceDB(uri=str(folder), embedding=embeddings, table_name="items"))


def postgres(folder: Path, embeddings: Embeddings) -> Place:
    from langchain_postgres import PGVector

    uri = postgres_server().get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    return Place(make=lambda: PGVector(embeddings, connection=uri, collection_name="items"))


def sqlite_vec(folder: Path, embeddings: Embeddings) -> Place:
    import sqlite_vec as extension
    from langchain_community.vectorstores import SQLiteVec

    # Some builds of Python cannot load extensions; pysqlite3 has no wheel for every machine.
    can_extend = hasattr(sqlite3.Connection, "enable_load_extension")
    library = sqlite3 if can_extend else pytest.importorskip("pysqlite3", reason="this SQLite loads no extensions")
    folder.mkdir()

    def make() -> Any:
        connection = library.connect(folder / "store.db")
        connection.row_factory = library.Row
        connection.enable_load_extension(True)
        extension.load(connection)
        return SQLiteVec("items", connection, embeddings)

    return Place(make=make, deletes=False)


STORES = {
    "memory": (memory, "langchain_core"),
    "chroma_in_memory": (chroma_in_memory, "langchain_chroma"),
    "chroma": (chroma, "langchain_chroma"),
    "qdrant_in_memory": (qdrant_in_memory, "langchain_qdrant"),
    "qdrant": (qdrant, "langchain_qdrant"),
    "faiss": (faiss, "faiss"),
    "lancedb": (lancedb, "lancedb"),
    "postgres": (postgres, "langchain_postgres"),
    "sqlite_vec": (sqlite_vec, "sqlite_vec"),
}


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
