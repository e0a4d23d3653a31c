"""A tool that lets an agent search texts and pictures, and see the pictures that it found.

Enters: a retriever. Leaves: a LlamaIndex tool whose output holds text and picture blocks for a multimodal chat model.
This file refuses to embed. The chat model never names a file: pictures come in as data URIs, as results of earlier
searches, or under names that the application gave.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import ContentBlock, ImageBlock, TextBlock
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.tools import ToolMetadata, ToolOutput
from llama_index.core.tools.types import AsyncBaseTool
from pydantic import BaseModel, Field

from ..errors import ConfigError, InputError
from ..inputs.images import ImageInput, MediaPolicy
from ..inputs.references import is_data_uri, picture_string
from ..inputs.sources import UNAVAILABLE
from .embedding import VllmJinaEmbedding
from .late_interaction import LateInteractionRetriever
from .results import Bounds, Seen, has_picture, opened, rendered

_log = logging.getLogger(__name__)
DESCRIPTION = (
    "Searches a collection of texts and pictures. Returns the best matches as numbered results, pictures included. "
    "Cite results by their number, like [1]."
)
_BY_PICTURE = " Searches by a picture too: pass the id of a picture that an earlier search returned."
_INPUTS = "give a query, or a picture"


class _ByText(BaseModel):
    query: str = Field(description="What to search for, in any language.")


class _ByTextOrPicture(BaseModel):
    query: str | None = Field(default=None, description="What to search for, in any language.")
    picture: str | None = Field(
        default=None, description="To search by a picture instead: its id, as in an earlier result, or its data URI."
    )


def image_retriever_tool(
    retriever: BaseRetriever,
    *,
    embedding: VllmJinaEmbedding | LateInteractionRetriever | None = None,
    name: str = "search_texts_and_pictures",
    description: str = DESCRIPTION,
    pictures: Mapping[str, ImageInput] | None = None,
    max_pictures: int = 4,
    max_side: int = 768,
    max_picture_bytes: int = 200_000,
    max_characters: int = 2000,
    media: MediaPolicy | None = None,
) -> ImageRetrieverTool:
    """Return a tool for ``FunctionAgent`` and other agents that searches ``retriever`` and shows pictures.

    Args:
        retriever: For example ``unified_retriever(index)``; it decides how many results there are.
        embedding: What embeds a picture that the model searches by; None takes queries of text alone, unless the
            retriever is a ``LateInteractionRetriever``, which embeds its queries itself.
        name: The tool's name.
        description: What the chat model reads about it.
        pictures: Pictures that the model may search by, by name: those of the user's message, for example. Read at
            every call, so the application may add to it.
        max_pictures: Most pictures in one answer.
        max_side: Longest side of a picture in pixels; larger ones are reduced.
        max_picture_bytes: Most bytes of a picture.
        max_characters: Most characters of a result's text.
        media: Limits for pictures, those that the store names included; ``allowed_root`` is advised where others
            write to the store.

    Raises:
        ConfigError: ``pictures`` without ``embedding``, or a bound that is not positive.
    """
    bounds = Bounds(pictures=max_pictures, side=max_side, picture_bytes=max_picture_bytes, characters=max_characters)
    if min(max_side, max_picture_bytes, max_characters) < 1 or max_pictures < 0:
        raise ConfigError(f"got {bounds}; max_pictures may be 0, the other bounds start at 1.")
    if pictures is not None and embedding is None:
        raise ConfigError("pictures=... to search by need embedding=..., which embeds them.")
    if embedding is None and isinstance(retriever, LateInteractionRetriever):
        embedding = retriever
    schema = _ByText if embedding is None else _ByTextOrPicture
    about = description if embedding is None else description + _BY_PICTURE
    return ImageRetrieverTool(
        retriever,
        ToolMetadata(name=name, description=about, fn_schema=schema),
        embedding=embedding,
        pictures={} if pictures is None else pictures,
        bounds=bounds,
        media=media or MediaPolicy(),
    )


@contextmanager
def _unnamed(picture: str | None) -> Iterator[None]:
    """Tell the chat model that a picture cannot be opened, without the path that the error may hold; that is logged."""
    try:
        yield
    except InputError as error:
        if picture is not None and is_data_uri(picture.strip()):
            raise  # its own
        _log.warning("the picture %r cannot be searched by: %s", picture, error)
        raise InputError(f"the picture {(picture or '')[:80]!r} cannot be opened: {UNAVAILABLE}.") from None


class ImageRetrieverTool(AsyncBaseTool):
    """Made by ``image_retriever_tool``; its ``raw_output`` is the list of nodes, result [n] being number n - 1."""

    def __init__(
        self,
        retriever: BaseRetriever,
        metadata: ToolMetadata,
        *,
        embedding: VllmJinaEmbedding | LateInteractionRetriever | None,
        pictures: Mapping[str, ImageInput],
        bounds: Bounds,
        media: MediaPolicy,
    ) -> None:
        self._retriever, self._metadata = retriever, metadata
        self._embedding, self._pictures = embedding, pictures
        self._bounds, self._media = bounds, media
        self._seen = Seen()

    @property
    def metadata(self) -> ToolMetadata:
        """Name, description and parameters."""
        return self._metadata

    def call(self, query: str | None = None, picture: str | None = None) -> ToolOutput:
        """Search by ``query`` or by ``picture``.

        Raises:
            InputError: Neither or both were given, or there is no such picture; agents hand the message to the model.
        """
        source = self._source(query, picture)
        if source is None:
            bundle = QueryBundle((query or "").strip())
        else:
            assert self._embedding is not None
            with _unnamed(picture):
                bundle = self._embedding.image_query(source)
        return self._output(self._retriever.retrieve(bundle), query, picture)

    async def acall(self, query: str | None = None, picture: str | None = None) -> ToolOutput:
        """Await ``call``."""
        source = await asyncio.to_thread(self._source, query, picture)
        if source is None:
            bundle = QueryBundle((query or "").strip())
        else:
            assert self._embedding is not None
            with _unnamed(picture):
                bundle = await self._embedding.aimage_query(source)
        found = await self._retriever.aretrieve(bundle)
        return await asyncio.to_thread(self._output, found, query, picture)

    def _source(self, query: str | None, picture: str | None) -> ImageInput | None:
        """Return the picture to search by, or None for a query of text."""
        for name, value in (("query", query), ("picture", picture)):
            if value is not None and not isinstance(value, str):  # a model's JSON may hold anything
                raise InputError(f"{name}: got {type(value).__name__}; expected a string.")
        query, picture = (query or "").strip(), (picture or "").strip()
        if bool(query) == bool(picture):
            raise InputError(f"{_INPUTS}{', not both' if query else ''}.")
        if not picture:
            return None
        if self._embedding is None:
            raise InputError("this tool searches by text alone; give a query.")
        if picture in self._pictures:
            return self._pictures[picture]
        node = self._seen.get(picture)
        if node is not None:
            with _unnamed(picture):
                return opened(node, self._media)[0]
        string = picture_string(picture)
        if string is not None and is_data_uri(string):
            return string
        known = ", ".join([*self._pictures, *self._seen.ids()][:20]) or "none yet"
        raise InputError(f"there is no picture {picture[:80]!r}; known ones: {known}.")

    def _output(self, found: list[NodeWithScore], query: str | None, picture: str | None) -> ToolOutput:
        blocks: list[ContentBlock] = []
        shown = 0
        for number, hit in enumerate(found, start=1):
            show = shown < self._bounds.pictures
            lines, image = rendered(number, hit, self._bounds, self._media, show=show)
            blocks.append(TextBlock(text=lines))
            if has_picture(hit.node):
                self._seen.add(hit.node)
            if image is not None:
                blocks.append(ImageBlock(image=image, image_mimetype="image/jpeg"))
                shown += 1
        return ToolOutput(
            blocks=blocks or [TextBlock(text="Nothing was found.")],
            tool_name=self.metadata.get_name(),
            raw_input={"query": query, "picture": picture},
            raw_output=found,
        )
