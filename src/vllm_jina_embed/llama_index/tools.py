"""A LlamaIndex tool that lets an agent search texts and images, and see the images that it found.

A translation table: what the model reads and sees is made in ``frameworks.found_images``. The chat model never names a
file: images come in as data URIs, as results of earlier searches, or under names that the application gave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.tools import ToolMetadata, ToolOutput
from llama_index.core.tools.types import AsyncBaseTool
from pydantic import BaseModel, Field

from ..errors import ConfigError, InputError
from ..frameworks.found_images import (
    ABOUT_IMAGE,
    ABOUT_QUERY,
    DESCRIPTION,
    NAME,
    Bounds,
    Match,
    Question,
    View,
    errors_for,
    one_of,
    own_media,
)
from ..frameworks.renamed import renamed, take_old
from ..inputs.images import ImageInput, MediaPolicy
from .embedding import VllmJinaEmbedding
from .late_interaction import LateInteractionRetriever
from .results import block, match


class _ByText(BaseModel):
    query: str = Field(description=ABOUT_QUERY)


class _ByTextOrImage(BaseModel):
    query: str | None = Field(default=None, description=ABOUT_QUERY)
    image: str | None = Field(default=None, description=ABOUT_IMAGE)


@renamed(pictures="images", max_pictures="max_images", max_picture_bytes="max_bytes")
def image_retriever_tool(
    retriever: BaseRetriever,
    *,
    embedding: VllmJinaEmbedding | LateInteractionRetriever | None = None,
    node_postprocessors: Sequence[BaseNodePostprocessor] = (),
    name: str = NAME,
    description: str = DESCRIPTION,
    images: Mapping[str, ImageInput] | None = None,
    media: MediaPolicy | None = None,
    max_images: int = 4,
    max_side: int = 768,
    max_bytes: int = 200_000,
    max_characters: int = 2000,
) -> ImageRetrieverTool:
    """Return a tool for ``FunctionAgent`` and other agents that searches ``retriever`` and shows images.

    Args:
        retriever: For example ``unified_retriever(index)``; it decides how many results there are.
        embedding: What embeds an image that the model searches by; None takes queries of text alone, unless the
            retriever is a ``LateInteractionRetriever``, which embeds its queries itself.
        node_postprocessors: Reorder what was found, one after the other: ``MaxSimReranker``, for example.
        name: The tool's name for the model.
        description: What the tool does, for the model.
        images: Images that the model may search by, by name: those of the user's message, for example. Read at every
            call, so the application may add to it.
        media: Limits for images, those that the store names included; None takes those of ``embedding``, or of the
            retriever's own, or of a ``MaxSimReranker``. ``allowed_root`` is advised where others write to the store.
        max_images: Images shown per answer; further ones are named only.
        max_side: Longest side of a shown image in pixels; larger ones are reduced.
        max_bytes: Most bytes of a shown image, which is a JPEG.
        max_characters: Characters given of a text or caption.

    Raises:
        ConfigError: ``images`` without ``embedding``, or names a bound that is too small.
    """
    bounds = Bounds(max_images=max_images, max_side=max_side, max_bytes=max_bytes, max_characters=max_characters)
    if images is not None and embedding is None:
        raise ConfigError("images=... to search by need embedding=..., which embeds them.")
    if embedding is None and isinstance(retriever, LateInteractionRetriever):
        embedding = retriever
    policy = own_media(media, embedding, retriever, getattr(retriever, "_embed_model", None), *node_postprocessors)
    schema = _ByText if embedding is None else _ByTextOrImage
    return ImageRetrieverTool(
        retriever,
        ToolMetadata(name=name, description=description, fn_schema=schema),
        embedding=embedding,
        node_postprocessors=node_postprocessors,
        images={} if images is None else images,
        view=View(bounds=bounds, media=policy),
    )


class ImageRetrieverTool(AsyncBaseTool):
    """Made by ``image_retriever_tool``; its ``raw_output`` is the list of nodes, result [n] being number n - 1."""

    def __init__(
        self,
        retriever: BaseRetriever,
        metadata: ToolMetadata,
        *,
        embedding: VllmJinaEmbedding | LateInteractionRetriever | None,
        node_postprocessors: Sequence[BaseNodePostprocessor] = (),
        images: Mapping[str, ImageInput],
        view: View,
    ) -> None:
        self._retriever, self._metadata = retriever, metadata
        self._embedding, self._images, self._view = embedding, images, view
        self._postprocessors = [*node_postprocessors]

    @property
    def metadata(self) -> ToolMetadata:
        """Name, description and parameters."""
        return self._metadata

    def call(self, query: str | None = None, image: str | None = None, *, picture: str | None = None) -> ToolOutput:
        """Search by ``query`` or by ``image``, whose old name is ``picture``.

        Raises:
            InputError: Neither or both were given, or there is no such image; agents hand the message to the model.
        """
        image = _by_either_name(image, picture)
        question = self._question(query, image)
        with errors_for(question):
            if self._embedding is None or question.image is None:
                bundle = QueryBundle(question.text)
            else:
                bundle = self._embedding.image_query(self._source(question))
        with errors_for(Question()):
            found = self._retriever.retrieve(bundle)
            for postprocessor in self._postprocessors:
                found = postprocessor.postprocess_nodes(found, query_bundle=bundle)
        return self._output(found, query, image)

    async def acall(
        self, query: str | None = None, image: str | None = None, *, picture: str | None = None
    ) -> ToolOutput:
        """Await ``call``."""
        image = _by_either_name(image, picture)
        question = self._question(query, image)
        with errors_for(question):
            if self._embedding is None or question.image is None:
                bundle = QueryBundle(question.text)
            else:
                source = await asyncio.to_thread(self._source, question)
                bundle = await self._embedding.aimage_query(source)
        with errors_for(Question()):
            found = await self._retriever.aretrieve(bundle)
            for postprocessor in self._postprocessors:
                found = await postprocessor.apostprocess_nodes(found, query_bundle=bundle)
        return await asyncio.to_thread(self._output, found, query, image)

    def _question(self, query: str | None, image: str | None) -> Question:
        if self._embedding is None:
            if image:
                raise InputError("this tool searches by text alone; give a query.")
            return Question(text=one_of(query, image)[0])
        return self._view.question(query, image, self._images)

    def _source(self, question: Question) -> Any:
        """Return the image to search by, opened where an earlier answer named it."""
        image = question.image
        return self._view.opened(image)[0] if isinstance(image, Match) else image

    def _output(self, found: list[NodeWithScore], query: str | None, image: str | None) -> ToolOutput:
        return ToolOutput(
            blocks=[block(shown) for shown in self._view.blocks(map(match, found))],
            tool_name=self.metadata.get_name(),
            raw_input={"query": query, "image": image},
            raw_output=found,
        )


def _by_either_name(image: str | None, picture: str | None) -> str | None:
    """Return what was given as ``image``, or by its old name."""
    if picture is None:
        return image
    take_old("picture", "image", both=image is not None, stacklevel=4)
    return picture
