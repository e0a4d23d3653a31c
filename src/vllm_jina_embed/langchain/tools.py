"""A retriever as a LangChain tool whose answers a multimodal chat model can see.

A translation table: what the model reads and sees is made in ``frameworks.found_images``.
"""

from __future__ import annotations

import asyncio
import base64

from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.messages.content import ContentBlock, create_image_block, create_text_block
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import StructuredTool, ToolException
from pydantic import BaseModel, Field

from ..errors import InputError
from ..frameworks.found_images import (
    ABOUT_IMAGE,
    ABOUT_QUERY,
    DESCRIPTION,
    NAME,
    Block,
    Bounds,
    Match,
    Question,
    View,
    citation,
    errors_for,
    own_media,
)
from ..inputs.images import MediaPolicy
from ..inputs.metadata import CAPTION_KEY, THUMBNAIL_KEY
from ..inputs.references import both_parts, is_data_uri, media_type, strict_image


class Query(BaseModel):
    """What the model passes."""

    query: str | None = Field(default=None, description=ABOUT_QUERY)
    image: str | None = Field(default=None, description=ABOUT_IMAGE)


def image_retriever_tool(
    retriever: BaseRetriever,
    *,
    name: str = NAME,
    description: str = DESCRIPTION,
    media: MediaPolicy | None = None,
    max_images: int = 4,
    max_side: int = 768,
    max_bytes: int = 200_000,
    max_characters: int = 2000,
) -> StructuredTool:
    """Return a tool for agents: it searches by words or by an image, and shows the images that it found.

    The message's content is a list of v1 content blocks: for each match a text block with its number, source, page and
    caption or text, followed by an image block where it is an image. Its artifact is the list of documents.

    Args:
        retriever: Of any vector store with ``VllmJinaEmbeddings``; it decides how many results there are.
        name: The tool's name for the model.
        description: What the tool does, for the model.
        media: Limits for images, with the ``allowed_root`` that references are looked up in; None takes those of the
            retriever's own ``VllmJinaEmbeddings``, or of its ``MaxSimReranker``.
        max_images: Images shown per answer; further ones are named only.
        max_side: Longest side of a shown image in pixels; larger ones are reduced.
        max_bytes: Most bytes of a shown image, which is a JPEG.
        max_characters: Characters given of a text or caption.

    Raises:
        ConfigError: Names a bound that is too small.
    """
    bounds = Bounds(max_images=max_images, max_side=max_side, max_bytes=max_bytes, max_characters=max_characters)
    embeddings = getattr(getattr(retriever, "vectorstore", None), "embeddings", None)
    second = getattr(retriever, "base_compressor", None)  # of a ContextualCompressionRetriever
    view = View(bounds=bounds, media=own_media(media, retriever, embeddings, second))

    def search(
        query: str | None = None, image: str | None = None, callbacks: Callbacks = None
    ) -> tuple[list[ContentBlock], list[Document]]:
        try:
            question = view.question(query, image)
            with errors_for(question):
                found = retriever.invoke(_string(question), config={"callbacks": callbacks})
        except InputError as error:
            raise ToolException(str(error)) from error
        return _blocks(view, found), found

    async def asearch(
        query: str | None = None, image: str | None = None, callbacks: Callbacks = None
    ) -> tuple[list[ContentBlock], list[Document]]:
        try:
            question = view.question(query, image)
            with errors_for(question):
                found = await retriever.ainvoke(_string(question), config={"callbacks": callbacks})
        except InputError as error:
            raise ToolException(str(error)) from error
        return await asyncio.to_thread(_blocks, view, found), found

    return StructuredTool(
        name=name,
        description=description,
        func=search,
        coroutine=asearch,
        args_schema=Query,
        response_format="content_and_artifact",
        handle_tool_error=True,  # the model reads what was wrong with its query
    )


def _string(question: Question) -> str:
    """Return a question as a retriever takes it: words, or an image's data URI or reference."""
    image = question.image.image if isinstance(question.image, Match) else question.image
    return question.text if image is None else str(image)


def _blocks(view: View, documents: list[Document]) -> list[ContentBlock]:
    return [_block(block) for block in view.blocks(map(_match, documents))]


def _block(block: Block) -> ContentBlock:
    if isinstance(block, str):
        return create_text_block(block)
    return create_image_block(base64=base64.b64encode(block).decode("ascii"), mime_type="image/jpeg")


def _match(document: Document) -> Match:
    content, metadata = document.page_content, document.metadata
    text, image = both_parts(content) or (None, _image(content))
    shown = content if image is None else str(metadata.get(CAPTION_KEY, ""))
    return Match(
        source=citation(metadata),
        text=shown if text is None else f"{text}\n{shown}".strip(),
        image=image,
        thumbnail=metadata.get(THUMBNAIL_KEY),
        key=image or "",
    )


def _image(content: str) -> str | None:
    """Return the data URI or reference that is a document's content, or None for a text.

    ``Chroma.add_images`` keeps an image as bare base64, which only here can mean nothing else.
    """
    mimetype = media_type(content)
    if mimetype is not None and is_data_uri(uri := f"data:{mimetype};base64,{content}"):
        return uri
    return strict_image(content)
