"""A retriever as a tool whose answers a multimodal chat model can see.

Enters: a retriever over any store with documents of text and of pictures (``image_document``). Leaves: a tool that
answers with text and image blocks of bounded number and size. This file refuses to embed and to rank.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.messages.content import ContentBlock, create_image_block, create_text_block
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import StructuredTool, ToolException
from pydantic import BaseModel, Field

from ..errors import InputError
from ..inputs.encoding import jpeg
from ..inputs.file_names import shown_name, valid_unicode
from ..inputs.images import MediaPolicy, open_image
from ..inputs.metadata import CAPTION_KEY, PATH_KEY
from ..inputs.references import is_data_uri, media_type, strict_image
from ..inputs.sources import UNAVAILABLE
from .embeddings import VllmJinaEmbeddings
from .late_interaction import LateInteractionRetriever

_log = logging.getLogger(__name__)
NAME = "search_pictures_and_texts"
DESCRIPTION = (
    "Searches a collection of pictures and texts. Returns the best matches, numbered, with their sources; pictures "
    "can be seen. Cite matches by their numbers."
)
SOURCE_KEYS = ("source", PATH_KEY, "file_path", "path", "url", "title")
PAGE_KEYS = ("page_label", "page")
REMEMBERED = 256
"""Pictures that one tool knows by name, the last ones found."""


class Query(BaseModel):
    """What the model passes."""

    query: str = Field(
        description="What to look for: a question or description in words; or, to find what looks like a picture, the "
        "name of a picture from an earlier answer (picture-...), its reference, or a data:image/...;base64, URI."
    )


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
    """Return a tool for agents: a query in words or by picture in, what was found out, pictures as pictures.

    The message's content is a list of v1 content blocks: for each match a text block with its number, caption or text,
    source and page, followed by an image block where it is a picture. Its artifact is the list of documents.

    Args:
        retriever: Of any vector store with ``VllmJinaEmbeddings``.
        name: The tool's name for the model.
        description: What the tool does, for the model.
        media: Limits for pictures, with the ``allowed_root`` that references are looked up in; None takes those of the
            retriever's own ``VllmJinaEmbeddings``.
        max_images: Pictures shown per answer; of further ones only the text is given.
        max_side: Longest side of a shown picture in pixels; larger ones are reduced.
        max_bytes: Largest shown picture as JPEG, in bytes.
        max_characters: Characters given of a text or caption.
    """
    view = _View(
        media=media or _media_of(retriever),
        max_images=max_images,
        max_side=max_side,
        max_bytes=max_bytes,
        max_characters=max_characters,
    )

    def search(query: str, callbacks: Callbacks = None) -> tuple[list[ContentBlock], list[Document]]:
        try:
            found = retriever.invoke(view.resolve(query), config={"callbacks": callbacks})
        except InputError as error:
            raise ToolException(str(error)) from error
        return view.blocks(found), found

    async def asearch(query: str, callbacks: Callbacks = None) -> tuple[list[ContentBlock], list[Document]]:
        try:
            found = await retriever.ainvoke(view.resolve(query), config={"callbacks": callbacks})
        except InputError as error:
            raise ToolException(str(error)) from error
        return await asyncio.to_thread(view.blocks, found), found

    return StructuredTool(
        name=name,
        description=description,
        func=search,
        coroutine=asearch,
        args_schema=Query,
        response_format="content_and_artifact",
        handle_tool_error=True,  # the model reads what was wrong with its query
    )


def _media_of(retriever: BaseRetriever) -> MediaPolicy:
    if isinstance(retriever, LateInteractionRetriever):
        return retriever.media
    embeddings = getattr(getattr(retriever, "vectorstore", None), "embeddings", None)
    if isinstance(embeddings, VllmJinaEmbeddings) and embeddings.media is not None:
        return embeddings.media
    return MediaPolicy()


@dataclass(slots=True, kw_only=True)
class _View:
    """What a chat model gets to see of documents, as ``image_retriever_tool`` says; remembers what it named."""

    media: MediaPolicy
    max_images: int
    max_side: int
    max_bytes: int
    max_characters: int
    _named: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def resolve(self, query: str) -> str:
        """Return the picture that ``query`` names, or ``query`` itself."""
        with self._lock:
            return self._named.get(query.strip(), query)

    def blocks(self, found: Sequence[Document]) -> list[ContentBlock]:
        """Return a text block per document, each picture's followed by its image block while there is room."""
        blocks: list[ContentBlock] = []
        shown = 0
        for number, document in enumerate(found, 1):
            head = f"[{number}] {_citation(document.metadata)}"
            content = _picture(document.page_content)
            if content is None:
                blocks.append(create_text_block(f"{head}\n{self._cut(document.page_content)}"))
                continue
            note, image = ", not shown: this answer shows no more pictures", None
            if shown < self.max_images:
                note, image = self._shown(content)
            lines = [head, self._cut(str(document.metadata.get(CAPTION_KEY, ""))), f"({self._name(content)}{note})"]
            blocks.append(create_text_block("\n".join(filter(None, lines))))
            if image is not None:
                blocks.append(image)
                shown += 1
        return blocks or [create_text_block("Nothing was found.")]

    def _shown(self, content: str) -> tuple[str, ContentBlock | None]:
        """Return a note and the image block, or why there is none."""
        try:
            data = jpeg(open_image(content, self.media), max_side=self.max_side, max_bytes=self.max_bytes)
        except InputError as error:
            _log.warning("a picture that was found cannot be shown: %s", error)
            return f", cannot be shown: {UNAVAILABLE}, or it is not a picture", None
        return "", create_image_block(base64=base64.b64encode(data).decode("ascii"), mime_type="image/jpeg")

    def _name(self, content: str) -> str:
        """Return a short name by which the model can ask for this picture's like."""
        name = f"picture-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
        with self._lock:
            self._named.pop(name, None)
            self._named[name] = content
            while len(self._named) > REMEMBERED:
                del self._named[next(iter(self._named))]
        return name

    def _cut(self, text: str) -> str:
        text = valid_unicode(text)
        return text if len(text) <= self.max_characters else f"{text[: self.max_characters]} [...]"


def _picture(content: str) -> str | None:
    """Return the data URI or reference that is a document's content, or None for a text.

    ``Chroma.add_images`` keeps a picture as bare base64, which only here can mean nothing else.
    """
    mimetype = media_type(content)
    if mimetype is not None and is_data_uri(uri := f"data:{mimetype};base64,{content}"):
        return uri
    return strict_image(content)


def _citation(metadata: dict[str, Any]) -> str:
    """Return where a match comes from: its source or path, and its page; of an absolute path its name alone."""
    source = next((shown_name(metadata[key]) for key in SOURCE_KEYS if metadata.get(key)), "no source")
    page = next((metadata[key] for key in PAGE_KEYS if metadata.get(key) is not None), None)
    return source if page is None else f"{source}, page {valid_unicode(str(page))}"
