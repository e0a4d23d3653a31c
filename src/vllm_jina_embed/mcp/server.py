"""An index as a server of the Model Context Protocol: tools whose answers hold texts and images, with citations.

The server speaks on stdin and stdout. The client's model names places and images by what an answer says, or brings an
image along; it names no file outside the index, and no answer names a path of this machine. What the model reads and
sees is made in ``frameworks.found_images``.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from PIL.Image import Image

from .. import __version__
from .._arrays import Floats
from .._extras import require
from ..corpus.chunking import chunks
from ..embedder import JinaEmbedder
from ..errors import ConfigError, VllmJinaError
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
    cut,
    errors_for,
    one_of,
    own_media,
)
from ..frameworks.shown_text import visible, without_paths
from ..inputs.images import MediaPolicy, open_image
from .index import Entry, Index
from .layout import IMAGE_BYTES

require("mcp", "mcp.server.mcpserver")

from mcp.server.mcpserver import MCPServer  # noqa: E402  (after the check, whose error holds the pip line)
from mcp.server.mcpserver.exceptions import ToolError  # noqa: E402
from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent  # noqa: E402
from pydantic import Field  # noqa: E402

PAGE = Bounds(max_images=1, max_side=1536, max_bytes=800_000, max_characters=20_000)
"""Bounds of one place that is opened."""
NO_MORE = "get_item shows it"
ALIKE = 0.99
"""Cosine over which an embedding that is computed again is the stored one; other weights are far below."""
INSTRUCTIONS = (
    f"{DESCRIPTION} Pages of PDFs are images beside their texts. Open a place by its id to read it whole or see it "
    "larger."
)


class Service:
    """The tools, and the embedder that they ask."""

    def __init__(self, index: Index, embedder: JinaEmbedder, bounds: Bounds | None = None) -> None:
        self._index, self._embedder = index, embedder
        media = own_media(None, embedder.settings)
        self._media = replace(
            media,
            allow_local_files=True,
            allowed_root=index.images,
            max_bytes=max(media.max_bytes, IMAGE_BYTES),
        )
        self._view = View(bounds=bounds or Bounds(), media=self._media, no_more=NO_MORE)
        self._page = View(bounds=PAGE, media=self._media)
        self._ready: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def lifespan(self, server: Any) -> AsyncIterator[None]:
        """Start the engine beside the first messages, so that the client does not wait for it, and stop it at last."""
        self._ready = asyncio.create_task(self._check())
        try:
            yield
        finally:
            self._ready.cancel()
            await self._embedder.aclose()

    async def search(
        self,
        query: Annotated[str | None, Field(description=ABOUT_QUERY)] = None,
        image: Annotated[str | None, Field(description=f"{ABOUT_IMAGE} The id of a place is taken too.")] = None,
        count: Annotated[int, Field(ge=1, le=20, description="How many results.")] = 5,
    ) -> CallToolResult:
        """Search texts and images; the model reads of it what ``found_images`` says."""
        try:
            embedding = await self._embedding(query, image)
            found = self._index.search(embedding, count)
        except VllmJinaError as error:
            raise ToolError(self._public(error)) from error
        shown = await asyncio.to_thread(self._view.blocks, [self._match(entry, score) for entry, score in found])
        return CallToolResult(content=list(map(_block, shown)))

    async def get_item(
        self,
        id: Annotated[str, Field(description="As in a search's result: report.pdf#page=3.")],  # noqa: A002
    ) -> CallToolResult:
        """Open one place: its whole text and its image or page, larger, and the ids of what is before and after."""
        entry = self._index.get(id.strip())
        if entry is None:
            raise ToolError(f"there is no place {id[:80]!r}; search names the ids.")
        sides = zip(("before", "after"), self._index.neighbours(entry), strict=True)
        notes = [f"{side}: {visible(other.id)}" for side, other in sides if other is not None]
        head = "; ".join([f"{entry.citation} (id {visible(entry.id)})", *notes])
        blocks: list[Block] = [f"{head}\n{cut(entry.text, PAGE.max_characters)}".strip()]
        if entry.image is not None:
            note, image = await asyncio.to_thread(self._page.shown, self._match(entry))
            blocks.append(f"(the image {note})" if image is None else image)
        return CallToolResult(content=list(map(_block, blocks)))

    # --- inside -----------------------------------------------------------------------------------------------------

    async def _embedding(self, query: str | None, image: str | None) -> Floats:
        """Return the embedding to search by.

        That of a place is stored in the index; only where the model has a prompt of its own for images that are
        searched by, an image is embedded again.
        """
        entry = self._place(one_of(query, image)[1])
        question = Question() if entry is not None else self._view.question(query, image)
        if isinstance(question.image, Match):
            entry = self._place(question.image.key)
        if entry is not None and (entry.image is None or not self._asks_otherwise):
            return self._index.embedding(entry)
        assert self._ready is not None
        await asyncio.shield(self._ready)
        with errors_for(question):
            if entry is None and question.image is None:
                rows = await self._embedder.aembed_queries([question.text])
            else:
                asked = question.image if entry is None else await asyncio.to_thread(self._opened, entry)
                rows = await self._embedder.aembed([{"image": asked}], prompt_name="query")
        row: Floats = rows[0]
        return row

    @property
    def _asks_otherwise(self) -> bool:
        """Whether an image that is searched by has another prompt than one in the index."""
        row, task = self._embedder.checkpoint.row, self._embedder.task
        asked, stored = (row.template("image", role, task) for role in ("query", "passage"))
        return asked != stored

    def _opened(self, entry: Entry) -> Image:
        """Return the image of a place in the index."""
        assert entry.image is not None
        return open_image(self._index.folder / entry.image, self._media)

    def _place(self, name: str) -> Entry | None:
        """Return the place of an id, or of an image's path in the index."""
        return (self._index.get(name) or self._index.of_image(name)) if name else None

    async def _check(self) -> None:
        """Compute one stored embedding again: a model of the same name may have other weights by now."""
        entry = self._index.entries[0]
        if entry.image is None:
            (again,) = await self._embedder.aembed_passages([next(text for _, _, text in chunks(entry.text))])
        else:
            (again,) = await self._embedder.aembed_images([await asyncio.to_thread(self._opened, entry)])
        if not float(again @ self._index.embedding(entry)) >= ALIKE:
            raise ConfigError("the index was built with other weights than the model has now; index it anew.")

    def _public(self, error: Exception) -> str:
        """Return what the client's model is told: no path of this machine."""
        return without_paths(str(error), str(self._index.folder), str(self._index.settings["model"]))

    def _match(self, entry: Entry, score: float | None = None) -> Match:
        return Match(
            source=entry.citation,
            id=visible(entry.id),
            score=score,
            text=entry.text,
            image=None if entry.image is None else self._index.folder / entry.image,
            key=entry.id,
        )


def server_of(
    folder: Path,
    *,
    engine_kwargs: dict[str, Any] | None = None,
    media: MediaPolicy | None = None,
    max_images: int = 4,
    max_side: int = 768,
    max_bytes: int = 200_000,
    max_characters: int = 2000,
) -> MCPServer[None]:
    """Return the server of an index.

    Args:
        folder: The index.
        engine_kwargs: For vLLM, as in ``JinaEmbedder``.
        media: Limits for images: those of the index, and those that a client brings along. A client never names a file,
            and the images of the index lie in its folder, whatever it says of local files.
        max_images: Images shown per answer; further ones are named only.
        max_side: Longest side of a shown image in pixels; larger ones are reduced.
        max_bytes: Most bytes of a shown image, which is a JPEG.
        max_characters: Characters given of a text.

    Raises:
        ConfigError: There is no such index, its model is not there, or names a bound that is too small.
    """
    bounds = Bounds(max_images=max_images, max_side=max_side, max_bytes=max_bytes, max_characters=max_characters)
    policy = replace(own_media(media), allow_local_files=False)
    index = Index(folder)
    keywords = {name: value for name, value in index.settings.items() if name != "vectors"}
    embedder = JinaEmbedder(**keywords, media=policy, engine_kwargs=engine_kwargs)
    if (vectors := embedder.checkpoint.row.vectors) != index.settings["vectors"]:
        embedder.close()
        raise ConfigError(
            f"{str(folder)!r} was made with vectors={index.settings['vectors']!r}, and the files of {embedder.model!r} "
            f"give the row {embedder.checkpoint.row.name!r} with {vectors!r}: questions would have other prompts. "
            "Index it anew, or search it in a program that registers its row."
        )
    service = Service(index, embedder, bounds)
    server: MCPServer[None] = MCPServer(
        "vllm-jina-embed", instructions=INSTRUCTIONS, version=__version__, lifespan=service.lifespan
    )
    server.tool(name=NAME, description=DESCRIPTION)(service.search)
    server.tool()(service.get_item)
    return server


def _block(block: Block) -> ContentBlock:
    if isinstance(block, str):
        return TextContent(type="text", text=block)
    return ImageContent(type="image", data=base64.b64encode(block).decode("ascii"), mime_type="image/jpeg")
