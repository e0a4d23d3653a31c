"""The demo's index in LangChain and in LlamaIndex: images and passages in one store, built as users build it.

Each framework has its own adapter; both adapters share one engine by themselves.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any, Protocol

from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import QueryBundle, VectorStoreIndex
from llama_index.core.schema import BaseNode, ImageNode, TextNode
from PIL import Image

from vllm_jina_embed.demo.corpus import DemoItem
from vllm_jina_embed.inputs.encoding import data_uri, png
from vllm_jina_embed.langchain import VllmJinaEmbeddings
from vllm_jina_embed.llama_index import VllmJinaEmbedding

Ranking = list[tuple[str, float]]
"""``(name, cosine)``, best first."""


class Search(Protocol):
    """A mixed index in one framework."""

    name: str
    key: str

    def start(self) -> None:
        """Embed something, so that the engine runs."""
        ...

    def add(self, items: Sequence[DemoItem]) -> None:
        """Put texts and images into the index."""
        ...

    async def ask(self, query: DemoItem, count: int) -> Ranking:
        """Return the ``count`` nearest items."""
        ...

    def close(self) -> None:
        """Give the engine back."""
        ...


class LangChainSearch:
    """An ``InMemoryVectorStore`` with ``VllmJinaEmbeddings``."""

    name, key = "LangChain", "langchain"

    def __init__(self, model: str) -> None:
        self._embeddings = VllmJinaEmbeddings(model=model)
        self._store = InMemoryVectorStore(self._embeddings)

    def start(self) -> None:
        """See ``Search.start``."""
        self._embeddings.embed_query("start")

    def add(self, items: Sequence[DemoItem]) -> None:
        """See ``Search.add``."""
        texts, images = _texts(items), _images(items)
        self._store.add_texts(list(texts.values()), [{"kind": "passage"} for _ in texts], ids=list(texts))
        vectors = self._embeddings.embed_images(list(images.values()))
        for name, vector in zip(images, vectors, strict=True):
            # This store has no method for vectors that exist already; its entries are public.
            self._store.store[name] = {"id": name, "vector": vector, "text": "", "metadata": {"kind": "image"}}

    async def ask(self, query: DemoItem, count: int) -> Ranking:
        """See ``Search.ask``."""
        if isinstance(query.content, str):
            hits = await self._store.asimilarity_search_with_score(query.content, k=count)
        else:
            vector = await self._embeddings.aembed_query(data_uri(png(query.content), "image/png"))
            hits = self._store.similarity_search_with_score_by_vector(vector, k=count)
        return [(str(document.id), float(score)) for document, score in hits]

    def vectors(self) -> dict[str, list[float]]:
        """Return each item's embedding by its name."""
        return {name: entry["vector"] for name, entry in self._store.store.items()}

    def close(self) -> None:
        """See ``Search.close``."""
        self._embeddings.close()


class LlamaIndexSearch:
    """One ordinary ``VectorStoreIndex`` over text and image nodes with ``VllmJinaEmbedding``."""

    name, key = "LlamaIndex", "llama_index"

    def __init__(self, model: str) -> None:
        self._embedding = VllmJinaEmbedding(model_name=model)
        self._index = VectorStoreIndex(nodes=[], embed_model=self._embedding)
        self._retrievers: dict[int, Any] = {}

    def start(self) -> None:
        """See ``Search.start``."""
        self._embedding.get_query_embedding("start")

    def add(self, items: Sequence[DemoItem]) -> None:
        """See ``Search.add``."""
        texts, images = _texts(items), _images(items)
        nodes: list[BaseNode] = [TextNode(id_=name, text=text) for name, text in texts.items()]
        nodes += [ImageNode(id_=name, image=_base64_png(image)) for name, image in images.items()]
        vectors = self._embedding.get_text_embedding_batch(list(texts.values()))
        vectors += self._embedding.get_image_embedding_batch(list(images.values()))
        for node, vector in zip(nodes, vectors, strict=True):
            node.embedding = vector
        # Not VectorStoreIndex(nodes): that drops nodes without text, even where they carry their embedding.
        self._index.insert_nodes(nodes)

    async def ask(self, query: DemoItem, count: int) -> Ranking:
        """See ``Search.ask``."""
        if isinstance(query.content, str):
            bundle = QueryBundle(query.content)
        else:
            bundle = await self._embedding.aimage_query(query.content)
        retriever = self._retrievers.setdefault(count, self._index.as_retriever(similarity_top_k=count))
        nodes = await retriever.aretrieve(bundle)
        return [(node.node_id, float(node.score or 0)) for node in nodes]

    def close(self) -> None:
        """See ``Search.close``."""
        self._embedding.close()


def _texts(items: Sequence[DemoItem]) -> dict[str, str]:
    return {item.name: item.content for item in items if isinstance(item.content, str)}


def _images(items: Sequence[DemoItem]) -> dict[str, Image.Image]:
    return {item.name: item.content for item in items if isinstance(item.content, Image.Image)}


def _base64_png(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
