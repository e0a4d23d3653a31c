"""A corpus as a server of the Model Context Protocol: tools whose answers hold texts and images, with citations.

The client's model names places and images by what an answer says, or brings an image along; it names no file, and no
answer names a path of this machine. What the model reads and sees is made in ``frameworks.found_images``.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any

from .. import __version__
from .._arrays import Floats
from .._extras import require
from ..corpus import Corpus
from ..embedder import JinaEmbedder
from ..errors import InputError, VllmJinaError
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
from .opening import IMAGE_BYTES, embedder_for, opened
from .places import Place, Places
from .proof import check_vectors, check_weights, sample_of

require("mcp", "mcp.server.mcpserver")

from mcp.server.mcpserver import MCPServer  # noqa: E402  (after the check, whose error holds the pip line)
from mcp.server.mcpserver.exceptions import ToolError  # noqa: E402
from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent  # noqa: E402
from pydantic import Field  # noqa: E402

_log = logging.getLogger(__name__)
PAGE = Bounds(max_images=1, max_side=1536, max_bytes=800_000, max_characters=20_000)
"""Bounds of one place that is opened."""
NO_MORE = "get_item shows it"
INSTRUCTIONS = (
    f"{DESCRIPTION} Pages of PDFs are images beside their texts. Open a place by its id to read it whole or see it "
    "larger."
)


class Service:
    """The tools, and the embedder that they ask."""

    def __init__(
        self, corpus: Corpus, embedder: JinaEmbedder, bounds: Bounds | None = None, *, read_files: bool = False
    ) -> None:
        self._corpus, self._embedder = corpus, embedder
        self._places = Places(corpus, read_files=read_files)
        media = own_media(None, embedder.settings)
        self._media = replace(
            media, allow_local_files=True, allowed_root=None, max_bytes=max(media.max_bytes, IMAGE_BYTES)
        )
        self._view = View(bounds=bounds or Bounds(), media=self._media, no_more=NO_MORE, keeps_images=False)
        self._page = View(bounds=PAGE, media=self._media)
        self._ended = threading.Event()
        self._sound: asyncio.Task[None] | None = None
        self._ready: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def lifespan(self, server: Any) -> AsyncIterator[None]:
        """Start the engine beside the first messages, so that the client does not wait for it, and stop it at last."""
        self._sound = asyncio.create_task(asyncio.to_thread(check_vectors, self._corpus, self._ended))
        self._ready = asyncio.create_task(self._check())
        try:
            yield
        finally:
            self._ended.set()
            self._ready.cancel()
            await asyncio.gather(self._sound, self._ready, return_exceptions=True)
            await self._embedder.aclose()
            await self._corpus.aclose()

    async def search(
        self,
        query: Annotated[str | None, Field(description=ABOUT_QUERY)] = None,
        image: Annotated[str | None, Field(description=f"{ABOUT_IMAGE} The id of a place is taken too.")] = None,
        count: Annotated[int, Field(ge=1, le=20, description="How many results.")] = 5,
    ) -> CallToolResult:
        """Search texts and images; the model reads of it what ``found_images`` says."""
        try:
            embedding, tokens = await self._vectors(query, image)
            found = await asyncio.to_thread(self._places.search, embedding, tokens, count)
            shown = await asyncio.to_thread(self._shown, found)
        except Exception as error:
            raise self._told(error) from error
        return CallToolResult(content=list(map(_block, shown)))

    async def get_item(
        self,
        id: Annotated[str, Field(description="As in a search's result: report.pdf#page=3.")],  # noqa: A002
    ) -> CallToolResult:
        """Open one place: its whole text and its image or page, larger, and the ids of what is before and after."""
        try:
            place = await asyncio.to_thread(self._places.get, id.strip())
            blocks = [] if place is None else await asyncio.to_thread(self._opened, place)
        except Exception as error:
            raise self._told(error) from error
        if not blocks:
            raise ToolError(f"there is no place {id[:80]!r}; search names the ids.")
        return CallToolResult(content=list(map(_block, blocks)))

    # --- inside -----------------------------------------------------------------------------------------------------

    async def _vectors(self, query: str | None, image: str | None) -> tuple[Floats | None, Floats | None]:
        """Return the embedding and the multi-vector to search by, of which the corpus may have one alone.

        Those of a place are stored in the corpus; only where the model has a prompt of its own for images that are
        searched by, an image is embedded again.
        """
        name = one_of(query, image)[1]
        place = await asyncio.to_thread(self._places.get, name) if name else None
        question = Question() if place is not None else self._view.question(query, image)
        if isinstance(question.image, Match):
            place = await asyncio.to_thread(self._places.get, question.image.key)
        assert self._sound is not None
        await asyncio.shield(self._sound)
        if place is not None and (place.image is None or not self._asks_otherwise):
            stored = await asyncio.to_thread(self._places.vectors, place)
            if any(rows is not None for rows in stored):
                return stored
        assert self._ready is not None
        await asyncio.shield(self._ready)
        with errors_for(question):
            return await self._embedded(await asyncio.to_thread(self._asked, question, place))

    def _asked(self, question: Question, place: Place | None) -> dict[str, Any]:
        """Return the item that is embedded."""
        if place is not None and place.image is not None:
            image = self._places.image(place.image, self._media)
            if isinstance(image, Exception):
                raise image
            return {"image": open_image(image, self._media)}
        if place is not None:
            return {"text": place.text}
        return {"text": question.text} if question.image is None else {"image": question.image}

    async def _embedded(self, item: dict[str, Any]) -> tuple[Floats | None, Floats | None]:
        embedding = tokens = None
        if self._corpus.settings["dimensions"] is not None:
            (embedding,) = await self._embedder.aembed([item], prompt_name="query")
        if self._corpus.settings["token_dimensions"] is not None:
            (tokens,) = await self._embedder.aembed_multi_vector([item], prompt_name="query")
        return embedding, tokens

    @property
    def _asks_otherwise(self) -> bool:
        """Whether an image that is searched by has another prompt than one in the corpus."""
        row, task = self._embedder.checkpoint.row, self._embedder.task
        asked, stored = (row.template("image", role, task) for role in ("query", "passage"))
        return asked != stored

    async def _check(self) -> None:
        """Compute one stored vector again: a model of the same name may have other weights by now."""
        assert self._sound is not None
        await asyncio.shield(self._sound)
        sample = await asyncio.to_thread(sample_of, self._corpus, self._media)
        await check_weights(self._corpus, sample, self._embedder)

    def _told(self, error: Exception) -> ToolError:
        """Return what the client's model is told: no path of this machine, and of a fault in the corpus its kind."""
        if isinstance(error, VllmJinaError):
            folder = self._corpus.folder
            paths = (str(folder), str(folder.parent), str(self._corpus.settings["model"]))
            return ToolError(without_paths(str(error), *paths))
        _log.error("the corpus cannot be read", exc_info=error)
        return ToolError(
            f"the corpus cannot be read ({type(error).__name__}). If it was made again, start the server again."
        )

    def _shown(self, found: list[Place]) -> list[Block]:
        matches: list[Match] = []
        shown = 0
        for place in found:
            matches.append(self._match(place, opens=shown < self._view.bounds.max_images))
            shown += not (matches[-1].image is None or isinstance(matches[-1].image, InputError))
        return self._view.blocks(matches)

    def _opened(self, place: Place) -> list[Block]:
        sides = zip(("before", "after"), self._places.neighbours(place), strict=True)
        notes = [f"{side}: {visible(other)}" for side, other in sides if other is not None]
        head = "; ".join([f"{place.citation} (id {visible(place.id)})", *notes])
        blocks: list[Block] = [f"{head}\n{cut(place.text, PAGE.max_characters)}".strip()]
        if place.image is not None:
            note, image = self._page.shown(self._match(place))
            blocks.append(f"(the image {note})" if image is None else image)
        return blocks

    def _match(self, place: Place, *, opens: bool = True) -> Match:
        image: Any = None
        if place.image is not None:
            image = self._places.image(place.image, self._media) if opens else InputError(NO_MORE)
        return Match(
            source=place.citation,
            id=visible(place.id),
            score=place.score,
            text=place.text,
            image=image,
            key=place.id,
        )


def server_of(
    corpus: str | os.PathLike[str],
    *,
    journal: str | os.PathLike[str] | None = None,
    engine_kwargs: dict[str, Any] | None = None,
    read_files: bool = False,
    media: MediaPolicy | None = None,
    max_images: int = 4,
    max_side: int = 768,
    max_bytes: int = 200_000,
    max_characters: int = 2000,
) -> MCPServer[None]:
    """Return the server of a corpus.

    Args:
        corpus: An index, or what the command ``embed`` was given as ``--out``: a folder, or ``lancedb://DIR/TABLE``.
        journal: Folder of a table's journal, where ``embed`` was given one.
        engine_kwargs: For vLLM, as in ``JinaEmbedder``; None takes those that the corpus was made with.
        read_files: Whether images that the corpus does not keep are read from the files that it was made of. They lie
            below the folders that its manifest names, so serve a corpus of somebody else without.
        media: Limits for images: those of the corpus, and those that a client brings along. A client never names a
            file, whatever it says of local files.
        max_images: Images shown per answer; further ones are named only.
        max_side: Longest side of a shown image in pixels; larger ones are reduced.
        max_bytes: Most bytes of a shown image, which is a JPEG.
        max_characters: Characters given of a text.

    Raises:
        ConfigError: There is no such corpus, its model is not there, or names a bound that is too small.
    """
    bounds = Bounds(max_images=max_images, max_side=max_side, max_bytes=max_bytes, max_characters=max_characters)
    policy = replace(own_media(media), allow_local_files=False)
    found = opened(corpus, journal=journal)
    try:
        embedder = embedder_for(found, engine_kwargs=engine_kwargs, media=policy)
    except BaseException:
        found.close()
        raise
    service = Service(found, embedder, bounds, read_files=read_files)
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
