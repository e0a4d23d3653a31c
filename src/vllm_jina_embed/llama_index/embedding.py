"""Translate LlamaIndex's ``MultiModalEmbedding`` into calls of ``JinaEmbedder``."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import AliasChoices, BeforeValidator, Field, PrivateAttr

from ..checkpoints.description import DEMO
from ..engine.config import LocalConfig
from ..errors import EngineError
from ..frameworks.base import Adapter
from ..frameworks.fields import MODEL_SPELLINGS, ModelName, servers_of
from ..frameworks.protocol import Embedder
from ..frameworks.skipping import Answer, answering, single, stored
from ..inputs.images import MediaPolicy
from ..inputs.metadata import names_an_image
from ..prompts.base import PromptName
from .cache import as_store, refuse_embeddings_cache
from .misread import misread
from .transformation import RUN_KEY, NodeTransformation


class VllmJinaEmbedding(Adapter, NodeTransformation):
    """Text and image embeddings of jina-embeddings-v4 for LlamaIndex, computed by vLLM in this process.

    Creating an instance starts nothing. The first call starts the engine, or joins a running one with the same
    settings, whichever framework started it. Safe to call from any thread and any event loop. Queries get the query
    prefix, texts the passage prefix. Where LlamaIndex passes a plain string, one that is nothing but an image's data
    URI or reference is that image, as a query too. For nodes the kind decides, not the text.

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

    Index texts and images together, in any vector store:
        ```python
        documents = [Document(text="A report."), image_document("chart.png")]
        index = VectorStoreIndex.from_documents(
            documents, transformations=[SentenceSplitter(), embedding], embed_model=embedding
        )
        unified_retriever(index).retrieve("a question")
        unified_retriever(index).retrieve(embedding.image_query("photo.jpg"))
        ```

    Close:
        ``embedding.close()``, or ``with VllmJinaEmbedding(...) as embedding:``

    Attributes:
        model_name: ``demo``, a hub repository, or a folder with a checkpoint of a known row; ``model`` is accepted too.
        embed_batch_size: Items that LlamaIndex passes at a time. vLLM batches by itself, so more is better.
    """

    model_name: ModelName = Field(
        default=DEMO,
        frozen=True,
        validation_alias=AliasChoices(*MODEL_SPELLINGS),
        description="demo, a hub repository, or a folder with a checkpoint of a known row.",
    )
    embed_batch_size: int = Field(default=128, gt=0, le=2048, description="Items that LlamaIndex passes at a time.")
    embeddings_cache: Annotated[None, BeforeValidator(refuse_embeddings_cache)] = Field(
        default=None, frozen=True, exclude=True, description="Refused; use cached(store)."
    )
    _is_sent: bool = PrivateAttr(default=False)

    def __init__(self, model_name: str | None = None, **settings: Any) -> None:
        """Check the settings.

        Args:
            model_name: The checkpoint; the first argument, as in HuggingFaceEmbedding.
            **settings: This class's fields; an unknown one is an error.
        """
        super().__init__(**settings if model_name is None else {"model_name": model_name, **settings})

    @property
    def model(self) -> str:
        """``model_name`` under LangChain's name."""
        return self.model_name

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex serialises this class under."""
        return "VllmJinaEmbedding"

    def to_payload(self) -> dict[str, Any]:
        """Return the settings that observers may see: no path, nothing of the engine."""
        settings = self._embedder.settings
        shown = {"model_name": settings.checkpoint.label, "task": settings.task, "dimensions": settings.dimensions}
        return {**super().to_payload(), **shown}

    # --- what LlamaIndex's public methods call ----------------------------------------------------------------------

    def _get_query_embedding(self, query: str) -> list[float]:
        return single(self._texts([query], "query"))

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return single(await self._atexts([query], "query"))

    def _get_text_embedding(self, text: str) -> list[float]:
        _warn_of_stand_ins([text])
        return single(self._texts([text], "passage"))

    async def _aget_text_embedding(self, text: str) -> list[float]:
        _warn_of_stand_ins([text])
        return single(await self._atexts([text], "passage"))

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        _warn_of_stand_ins(texts)
        _warn_of_misread(texts)
        return stored(self._texts(texts, "passage"), stacklevel=5)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        _warn_of_stand_ins(texts)
        _warn_of_misread(texts)
        return stored(await self._atexts(texts, "passage"), stacklevel=5)

    def _texts(self, texts: list[str], role: PromptName) -> Answer:
        with answering(self.on_error) as answer:
            answer.rows = self._core.embed(texts, prompt_name=role, **self._strictly)
        return answer

    async def _atexts(self, texts: list[str], role: PromptName) -> Answer:
        with answering(self.on_error) as answer:
            answer.rows = await self._core.aembed(texts, prompt_name=role, **self._strictly)
        return answer

    @staticmethod
    def _as_store(store: Any) -> Any:
        return as_store(store)

    # --- JSON -------------------------------------------------------------------------------------------------------

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Return the keywords and, of an embedder over servers, where they are: no key, no password, no cache."""
        return {**super().to_dict(**kwargs), **servers_of(self._embedder.settings)}

    @classmethod
    def from_dict(cls, data: dict[str, Any], *, api_key: str | None = None, **kwargs: Any) -> Self:
        """Return a new embedding from the result of ``to_dict``; it asks the same servers, if there were any.

        Args:
            data: The result.
            api_key: What the servers want to be shown.
            **kwargs: Fields that replace those of ``data``.
        """
        fields = {name: value for name, value in data.items() if name not in ("servers", RUN_KEY)}
        if "servers" not in data:
            return super().from_dict(fields, **kwargs)
        fields.pop("class_name", None)
        return cls.over_servers(data["servers"], {**fields, **kwargs}, api_key=api_key)

    # --- processes --------------------------------------------------------------------------------------------------

    @property
    def _core(self) -> Embedder:
        if self._is_sent:
            raise EngineError(
                "this VllmJinaEmbedding was sent to a worker process, where it would load the model a second time. "
                "Run IngestionPipeline without num_workers: vLLM batches by itself. If a process needs its own "
                "engine, make a VllmJinaEmbedding there."
            )
        return self._embedder

    @property
    def _media(self) -> MediaPolicy:
        return self._embedder.settings.media

    def __getstate__(self) -> dict[Any, Any]:
        return {**super().__getstate__(), "process": os.getpid()}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        process = state["process"]
        super().__setstate__({name: value for name, value in state.items() if name != "process"})
        # ``_core`` raises, not this: multiprocessing.Pool hangs forever when a task cannot be unpickled.
        is_worker = process != os.getpid() and multiprocessing.parent_process() is not None
        self._is_sent = self._is_sent or (is_worker and isinstance(self._embedder.settings.engine, LocalConfig))


def _warn_of_stand_ins(texts: Sequence[str]) -> None:
    """Warn when an index embeds the text that stands for an image, not the image."""
    count = sum(isinstance(text, str) and names_an_image(text) for text in texts)
    if count:
        warnings.warn(
            f"{count} of {len(texts)} texts stand for images and are embedded as text: an index does so if the "
            "embedding is only its embed_model. Pass transformations=[embedding] to from_documents, or index the nodes "
            "that embedding(nodes) returns. MultiModalVectorStoreIndex embeds them beside the images.",
            stacklevel=5,
        )


def _warn_of_misread(texts: Sequence[str]) -> None:
    """Warn when texts are the bytes of files that a reader decoded as text."""
    strings = (text for text in texts if isinstance(text, str))
    parts = (part for text in strings for part in (text, text.partition("\n\n")[2]))  # metadata may stand before it
    kinds = {kind for kind in (misread(part, {}) for part in parts) if kind is not None}
    if kinds:
        warnings.warn(
            f"some of {len(texts)} texts are {' and '.join(sorted(kinds))} that was read as text, and are embedded as "
            "they are: SimpleDirectoryReader does so with files that it has no reader for. Run: pip install "
            "llama-index-readers-file, and read them again; embedding(nodes) names the nodes.",
            stacklevel=5,
        )
