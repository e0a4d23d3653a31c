"""The LlamaIndex adapter: a translation table from ``MultiModalEmbedding`` to ``JinaEmbedder``.

Enters: LlamaIndex's calls. Leaves: lists of Python floats. This file refuses to know prompts, pooling and engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_index.core.embeddings import MultiModalEmbedding
from pydantic import AliasChoices, Field

from .._adapter import MODEL_SPELLINGS, Adapter, ModelName, vectors
from ..checkpoints import DEMO
from ..media import ImageInput


class VllmJinaEmbedding(Adapter, MultiModalEmbedding):
    """Text and image embeddings of jina-embeddings-v4 for LlamaIndex, computed by vLLM in this process.

    Making one starts nothing; the first call starts the engine or joins the one that runs with the same settings,
    whichever framework started it. Safe to call from any thread and any event loop. Queries get the query prefix,
    texts the passage prefix.

    Setup:
        ``pip install 'vllm-jina-embed[vllm,llama-index]'``

    Instantiate:
        ```python
        from vllm_jina_embed.llama_index import VllmJinaEmbedding

        embedding = VllmJinaEmbedding("jinaai/jina-embeddings-v4-vllm-retrieval", dimensions=512)
        ```

    Embed:
        ```python
        embedding.get_text_embedding_batch(["A passage.", "Another one."])  # two lists of 512 floats
        embedding.get_query_embedding("A question?")
        embedding.get_image_embedding_batch(["chart.png", "data:image/png;base64,..."])
        await embedding.aget_query_embedding("A question?")
        ```

    Close:
        ``embedding.close()``, or ``with VllmJinaEmbedding(...) as embedding:``

    Attributes:
        model_name: ``demo``, a hub repository, or a folder with a Qwen2.5-VL checkpoint; ``model`` is accepted too.
        embed_batch_size: Items that LlamaIndex hands over at a time. vLLM batches by itself, so more is better.
    """

    model_name: ModelName = Field(
        default=DEMO,
        frozen=True,
        validation_alias=AliasChoices(*MODEL_SPELLINGS),
        description="demo, a hub repository, or a folder with a Qwen2.5-VL checkpoint.",
    )
    embed_batch_size: int = Field(default=128, gt=0, le=2048, description="Items that LlamaIndex hands over at a time.")

    def __init__(self, model_name: str | None = None, **settings: Any) -> None:
        """Check the settings.

        Args:
            model_name: The checkpoint, as in HuggingFaceEmbedding and others the first argument.
            **settings: This class's fields; an unknown one is an error.
        """
        super().__init__(**settings if model_name is None else {"model_name": model_name, **settings})

    @property
    def model(self) -> str:
        """Other name of ``model_name``."""
        return self.model_name

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex serialises this class under."""
        return "VllmJinaEmbedding"

    def to_payload(self) -> dict[str, Any]:
        """Return what observers may see: no path, no engine settings."""
        folder = Path(self.model_name).expanduser()
        name = folder.resolve().name if folder.is_dir() else self.model_name
        task = self._embedder.settings.task
        return {**super().to_payload(), "model_name": name, "task": task, "dimensions": self.dimension}

    def _get_query_embedding(self, query: str) -> list[float]:
        return vectors(self._embedder.embed_queries([query]))[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return vectors(await self._embedder.aembed_queries([query]))[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return vectors(self._embedder.embed_passages(texts))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return vectors(await self._embedder.aembed_passages(texts))

    def _get_image_embedding(self, img_file_path: ImageInput) -> list[float]:
        return self._get_image_embeddings([img_file_path])[0]

    async def _aget_image_embedding(self, img_file_path: ImageInput) -> list[float]:
        return (await self._aget_image_embeddings([img_file_path]))[0]

    def _get_image_embeddings(self, img_file_paths: Sequence[ImageInput]) -> list[list[float]]:
        return vectors(self._embedder.embed_images(img_file_paths))

    async def _aget_image_embeddings(self, img_file_paths: Sequence[ImageInput]) -> list[list[float]]:
        return vectors(await self._embedder.aembed_images(img_file_paths))
