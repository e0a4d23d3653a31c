"""An index as a server of the Model Context Protocol: tools whose answers hold text and pictures, with citations.

The server speaks on stdin and stdout. The client's model names places and pictures by what the index says, or brings a
picture along; it names no file outside the index, and no answer names a path of this machine.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from .. import __version__
from .._arrays import Floats
from .._extras import require
from ..embedder import JinaEmbedder
from ..errors import ConfigError, InputError, VllmJinaError
from ..inputs.encoding import jpeg
from ..inputs.images import MediaPolicy, is_data_uri, open_image
from .chunking import chunks
from .index import PICTURES, Entry, Index
from .layout import PICTURE_BYTES
from .names import visible, without_paths

require("mcp", "mcp.server.mcpserver")

from mcp.server.mcpserver import MCPServer  # noqa: E402  (after the check, whose error holds the pip line)
from mcp.server.mcpserver.exceptions import ToolError  # noqa: E402
from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent  # noqa: E402
from pydantic import Field  # noqa: E402

SHOWN, SIDE, BYTES, CHARACTERS = 4, 768, 200_000, 1200
"""Bounds of a search's answer: pictures, their longest side in pixels, their bytes, characters per text."""
PAGE_SIDE, PAGE_BYTES, PAGE_CHARACTERS = 1536, 800_000, 20_000
"""Bounds of one place that is opened."""
ALIKE = 0.99
"""Cosine over which an embedding that is computed again is the stored one; other weights are far below."""
INSTRUCTIONS = (
    "Searches a collection of texts, pictures and pages of PDFs by meaning, in any language. Pictures and pages can be "
    "seen. Cite results by their source and page. Open a place by its id to read it whole or see it larger."
)


class Service:
    """The tools, and the embedder that they ask."""

    def __init__(self, index: Index, embedder: JinaEmbedder) -> None:
        self._index, self._embedder = index, embedder
        self._policy = MediaPolicy(allowed_root=index.folder / PICTURES, max_bytes=PICTURE_BYTES)
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
        query: Annotated[str, Field(description="What to look for, in words of any language.")] = "",
        picture: Annotated[
            str,
            Field(
                description="To look for what resembles a picture, instead of query: the id of a place, the path of a "
                "picture in the index, or a data:image/...;base64, URI."
            ),
        ] = "",
        count: Annotated[int, Field(ge=1, le=20, description="How many results.")] = 5,
    ) -> CallToolResult:
        """Search texts, pictures and pages by meaning; results are numbered, best first, pictures are shown."""
        if bool(query.strip()) == bool(picture.strip()):
            raise ToolError("give query or picture, one of the two.")
        try:
            question = await self._question(query, picture.strip())
            found = self._index.search(question, count)
        except VllmJinaError as error:
            raise ToolError(self._public(error)) from error
        return await asyncio.to_thread(self._results, found)

    async def get_item(
        self,
        id: Annotated[str, Field(description="As in a search's result: report.pdf#page=3.")],  # noqa: A002
    ) -> CallToolResult:
        """Open one place: its whole text and its picture or page, larger, and the ids of what is before and after."""
        entry = self._index.get(id.strip())
        if entry is None:
            raise ToolError(f"there is no place {id[:80]!r}; search names the ids.")
        sides = zip(("before", "after"), self._index.neighbours(entry), strict=True)
        notes = [f"{side}: {visible(other.id)}" for side, other in sides if other is not None]
        head = "; ".join([f"{entry.citation} (id {visible(entry.id)})", *notes])
        blocks: list[ContentBlock] = [_text(f"{head}\n{_cut(entry.text, PAGE_CHARACTERS)}".strip())]
        if entry.picture is not None:
            blocks.append(await asyncio.to_thread(self._picture, entry, PAGE_SIDE, PAGE_BYTES))
        return CallToolResult(content=blocks)

    # --- inside -----------------------------------------------------------------------------------------------------

    async def _question(self, query: str, picture: str) -> Floats:
        entry = (self._index.get(picture) or self._index.of_picture(picture)) if picture else None
        if entry is not None:
            return self._index.embedding(entry)
        assert self._ready is not None
        await asyncio.shield(self._ready)
        if not picture:
            found = await self._embedder.aembed_queries([query])
        elif is_data_uri(picture):
            found = await self._embedder.aembed_images([picture])
        else:
            raise InputError(
                f"there is no picture {picture[:80]!r}: it does not exist in the index. Give the id of a place, a path "
                f"such as {PICTURES}/000000.png, or a data:image/...;base64, URI."
            )
        row: Floats = found[0]
        return row

    async def _check(self) -> None:
        """Compute one stored embedding again: a model of the same name may have other weights by now."""
        entry = self._index.entries[0]
        if entry.picture is None:
            (again,) = await self._embedder.aembed_passages([next(text for _, _, text in chunks(entry.text))])
        else:
            image = await asyncio.to_thread(open_image, self._index.folder / entry.picture, self._policy)
            (again,) = await self._embedder.aembed_images([image])
        if not float(again @ self._index.embedding(entry)) >= ALIKE:
            raise ConfigError("the index was built with other weights than the model has now; index it anew.")

    def _public(self, error: Exception) -> str:
        """Return what the client's model is told: no path of this machine."""
        return without_paths(str(error), str(self._index.folder), str(self._index.settings["model"]))

    def _results(self, found: list[tuple[Entry, float]]) -> CallToolResult:
        blocks: list[ContentBlock] = []
        shown = 0
        for number, (entry, score) in enumerate(found, 1):
            note = "" if entry.picture is None else f", picture {entry.picture}"
            if entry.picture is not None and shown == SHOWN:
                note += ", not shown: get_item shows it"
            head = f"[{number}] {entry.citation} (id {visible(entry.id)}, score {score:.3f}{note})"
            blocks.append(_text(f"{head}\n{_cut(entry.text, CHARACTERS)}".strip()))
            if entry.picture is not None and shown < SHOWN:
                blocks.append(self._picture(entry, SIDE, BYTES))
                shown += 1
        return CallToolResult(content=blocks)

    def _picture(self, entry: Entry, side: int, most: int) -> TextContent | ImageContent:
        try:
            picture = open_image(self._index.folder / str(entry.picture), self._policy)
        except InputError as error:
            return _text(f"(the picture cannot be shown: {self._public(error)})")
        data = base64.b64encode(jpeg(picture, max_side=side, max_bytes=most)).decode("ascii")
        return ImageContent(type="image", data=data, mime_type="image/jpeg")


def server_of(folder: Path, *, engine_kwargs: dict[str, Any] | None = None) -> MCPServer[None]:
    """Return the server of an index.

    Args:
        folder: The index.
        engine_kwargs: For vLLM, as in ``JinaEmbedder``.

    Raises:
        ConfigError: There is no such index, or its model is not there.
    """
    index = Index(folder)
    policy = MediaPolicy(allow_local_files=False)
    service = Service(index, JinaEmbedder(**index.settings, media=policy, engine_kwargs=engine_kwargs))
    server: MCPServer[None] = MCPServer(
        "vllm-jina-embed", instructions=INSTRUCTIONS, version=__version__, lifespan=service.lifespan
    )
    server.tool()(service.search)
    server.tool()(service.get_item)
    return server


def _text(text: str) -> TextContent:
    return TextContent(type="text", text=text)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} [...]"
