"""Translate LangChain's ``Embeddings`` into calls of ``JinaEmbedder``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, overload

from langchain_core.documents import BaseDocumentTransformer, Document
from langchain_core.embeddings import Embeddings
from langchain_core.stores import BaseStore
from pydantic import AliasChoices, Field

from ..checkpoints.description import DEMO
from ..errors import InputError, warn_of_items
from ..frameworks.base import Adapter
from ..frameworks.fields import MODEL_SPELLINGS, ModelName
from ..frameworks.skipping import Answer, answering, single, stored
from ..inputs.images import ImageInput
from .cache import ByteStoreCache
from .documents import contents, listed_documents


class VllmJinaEmbeddings(Adapter, Embeddings, BaseDocumentTransformer):
    """Text and image embeddings of jina-embeddings-v4 for LangChain, computed by vLLM in this process.

    Creating an instance starts nothing. The first call starts the engine, or joins a running one with the same
    settings, whichever framework started it. Safe to call from any thread and any event loop.

    Setup:
        ``pip install 'vllm-jina-embed[vllm,langchain]'``

    Instantiate:
        ```python
        from vllm_jina_embed.langchain import VllmJinaEmbeddings

        embeddings = VllmJinaEmbeddings(model="jinaai/jina-embeddings-v4-vllm-retrieval", dimensions=512)
        ```

    Embed:
        ```python
        embeddings.embed_documents(["A passage.", "Another one."])  # two lists of 512 floats
        embeddings.embed_query("A question?")
        embeddings.embed_images(["chart.png", "data:image/png;base64,..."])
        await embeddings.aembed_query("A question?")
        ```

    Close:
        ``embeddings.close()``, or ``with VllmJinaEmbeddings(...) as embeddings:``

    Attributes:
        model: ``demo``, a hub repository, or a folder with a checkpoint of a known row; ``model_name`` is accepted too.
    """

    model: ModelName = Field(
        default=DEMO,
        frozen=True,
        validation_alias=AliasChoices(*MODEL_SPELLINGS),
        description="demo, a hub repository, or a folder with a checkpoint of a known row.",
    )

    @property
    def model_name(self) -> str:
        """``model`` under LlamaIndex's name."""
        return self.model

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one embedding per text, in order, with the passage prefix.

        A string that is nothing but an image's data URI or reference, as ``image_document`` makes them, is embedded as
        that image, and one of a text with its image as both together. Any other string is a text, even a path or a URL.

        Raises:
            InputError: A text is empty, or an image cannot be opened; names each. With ``on_error="skip"`` a warning
                names them instead, and each gets ``placeholder`` as its vector.
        """
        with answering(self.on_error) as answer:
            answer.rows = self._embedder.embed(texts, prompt_name="passage", **self._strictly)
        return stored(answer)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Await ``embed_documents``."""
        with answering(self.on_error) as answer:
            answer.rows = await self._embedder.aembed(texts, prompt_name="passage", **self._strictly)
        return stored(answer)

    def embed_query(self, text: str) -> list[float]:
        """Return the embedding of a question, with the query prefix, or of what ``embed_documents`` takes.

        Raises:
            InputError: ``text`` cannot be embedded, even with ``on_error="skip"``.
        """
        with answering(self.on_error) as answer:
            answer.rows = self._embedder.embed([text], prompt_name="query", **self._strictly)
        return single(answer)

    async def aembed_query(self, text: str) -> list[float]:
        """Await ``embed_query``."""
        with answering(self.on_error) as answer:
            answer.rows = await self._embedder.aembed([text], prompt_name="query", **self._strictly)
        return single(answer)

    def embed_images(self, images: Sequence[ImageInput]) -> list[list[float]]:
        """Return one embedding per image, in order, as passages; to search by one, pass its string to ``embed_query``.

        Args:
            images: Paths, ``data:image/...;base64,`` URIs, encoded bytes, ``BytesIO``, PIL images or uint8 arrays
                ``(height, width, 3)``; a list inside the list is one item of several images.

        Raises:
            InputError: An image cannot be read; names each. ``on_error="skip"`` works as in ``embed_documents``.
        """
        return stored(self._images(images))

    async def aembed_images(self, images: Sequence[ImageInput]) -> list[list[float]]:
        """Await ``embed_images``."""
        return stored(await self._aimages(images))

    @overload
    def embed_image(self, image: list[ImageInput] | tuple[ImageInput, ...]) -> list[list[float]]: ...
    @overload
    def embed_image(self, image: ImageInput) -> list[float]: ...
    @overload
    def embed_image(self, *, uris: Sequence[ImageInput]) -> list[list[float]]: ...
    def embed_image(
        self, image: ImageInput | Sequence[ImageInput] | None = None, *, uris: Sequence[ImageInput] | None = None
    ) -> list[float] | list[list[float]]:
        """Return one embedding or a list of them, as the calling vector store expects of this method.

        They are those of passages: a store that searches by them asks with another prompt than ``embed_query`` where
        the model has one for images.

        Args:
            image: One image (gives one embedding), or a list or tuple of images (gives one embedding each).
            uris: A list of images, as Chroma, LanceDB and SingleStoreDB call it (gives one embedding each).

        Raises:
            InputError: Neither or both arguments are given, or an image cannot be read.
        """
        images, is_single = _as_list(image, uris)
        answer = self._images(images)
        return single(answer) if is_single else stored(answer)

    @overload
    async def aembed_image(self, image: list[ImageInput] | tuple[ImageInput, ...]) -> list[list[float]]: ...
    @overload
    async def aembed_image(self, image: ImageInput) -> list[float]: ...
    @overload
    async def aembed_image(self, *, uris: Sequence[ImageInput]) -> list[list[float]]: ...
    async def aembed_image(
        self, image: ImageInput | Sequence[ImageInput] | None = None, *, uris: Sequence[ImageInput] | None = None
    ) -> list[float] | list[list[float]]:
        """Await ``embed_image``."""
        images, is_single = _as_list(image, uris)
        answer = await self._aimages(images)
        return single(answer) if is_single else stored(answer)

    # --- documents before they are stored ---------------------------------------------------------------------------

    def transform_documents(self, documents: Sequence[Document], **kwargs: Any) -> Sequence[Document]:
        """Return the documents that can be embedded, in order; with ``on_error="skip"`` a warning names the others.

        Filter documents here before a store or ``index()``: a bad document then leaves neither a placeholder nor a
        record there, and a second run adds it once it is repaired. With ``cached(store)``, adding the documents
        computes nothing again.

        Args:
            documents: Texts, and images with or without a text as ``image_document`` makes them.
            **kwargs: Ignored; part of LangChain's interface.

        Raises:
            InputError: A document cannot be embedded and ``on_error`` is ``raise``; names each.
        """
        documents = listed_documents(documents)
        with answering(self.on_error) as answer:
            answer.rows = self._embedder.embed(contents(documents), prompt_name="passage", **self._strictly)
        return _embedded(documents, answer)

    async def atransform_documents(self, documents: Sequence[Document], **kwargs: Any) -> Sequence[Document]:
        """Await ``transform_documents``."""
        documents = listed_documents(documents)
        with answering(self.on_error) as answer:
            answer.rows = await self._embedder.aembed(contents(documents), prompt_name="passage", **self._strictly)
        return _embedded(documents, answer)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _images(self, images: Sequence[ImageInput]) -> Answer:
        with answering(self.on_error) as answer:
            answer.rows = self._embedder.embed_images(images, **self._strictly)
        return answer

    async def _aimages(self, images: Sequence[ImageInput]) -> Answer:
        with answering(self.on_error) as answer:
            answer.rows = await self._embedder.aembed_images(images, **self._strictly)
        return answer

    @staticmethod
    def _as_store(store: Any) -> Any:
        return ByteStoreCache(store) if isinstance(store, BaseStore) else store


def _embedded(documents: Sequence[Document], answer: Answer) -> list[Document]:
    """Return the documents that have an embedding; warn about the others."""
    bad = set(answer.bad)
    if bad:
        warn_of_items(f"documents are left out: {answer.problem}", answer.rows, stacklevel=3)
    return [document for position, document in enumerate(documents) if position not in bad]


def _as_list(
    image: ImageInput | Sequence[ImageInput] | None, uris: Sequence[ImageInput] | None
) -> tuple[Sequence[ImageInput], bool]:
    """Return the images as a list, and whether the caller gave a single one."""
    if (image is None) == (uris is None):
        raise InputError("embed_image takes one image, a list of images, or uris=[...]; pass exactly one of them.")
    if uris is not None:
        return uris, False
    if isinstance(image, list | tuple):
        return image, False
    return [cast(ImageInput, image)], True
