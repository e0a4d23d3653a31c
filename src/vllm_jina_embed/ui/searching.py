"""What all pages share: the embedder, the corpus, and the search over it and the items of one page."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from .._arrays import Floats
from .._closing import Closing
from ..corpus import Corpus
from ..embedder import JinaEmbedder
from ..errors import ConfigError, InputError
from ..inputs.encoding import jpeg
from ..inputs.images import open_image
from ..late_interaction import MaxSimMap, amaxsim_map
from ..mcp.opening import IMAGE_BYTES
from ..mcp.places import Places
from ..mcp.proof import check_vectors, check_weights, sample_of
from .ranking import Hit, candidates, dropped, looked_at_again
from .shelf import MEDIA, SIDE, Item, Shelf
from .token_store import TokenStore

CANDIDATES = 20
"""How many the cosine selects for the second look."""
MAP_SIDE = 960
"""Longest side of an image with its MaxSim map, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A text or an image to search by.

    Attributes:
        text: In any language.
        image: Instead, an item or a place of the corpus, or the bytes of a file.
    """

    text: str = ""
    image: bytes | Hit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a search found.

    Attributes:
        hits: Best first.
        compared: Items and places whose vectors were compared.
        stages: What was done, a sentence each.
    """

    hits: list[Hit]
    compared: int
    stages: list[str]


class Searcher(Closing):
    """Embeds and searches for every page; each call may run beside others."""

    def __init__(self, embedder: JinaEmbedder, corpus: Corpus | None = None, *, read_files: bool = False) -> None:
        """Start nothing.

        Args:
            embedder: The embedder, with the settings of the corpus; ``close`` closes it and the corpus.
            corpus: As ``mcp.opening.opened`` returns it.
            read_files: As in ``Places``.
        """
        self.embedder, self.corpus = embedder, corpus
        self._places = None if corpus is None else Places(corpus, read_files=read_files)
        self._media = replace(MEDIA, max_bytes=IMAGE_BYTES, allow_local_files=True)
        self._tokens = TokenStore()
        self._ended = threading.Event()
        row = embedder.checkpoint.row
        self.has_embeddings = row.pooling is not None and (corpus is None or corpus.settings["dimensions"] is not None)
        self.has_tokens = bool(row.token_vectors)
        if not self.has_embeddings and not self.has_tokens:
            raise ConfigError(f"{embedder.checkpoint.name} has no vectors that can be compared here.")

    async def start(self) -> None:
        """Start the engine, and check the corpus against it.

        Raises:
            VllmJinaError: The engine does not start, or the corpus is not of this model.
        """
        if self.corpus is not None:
            await asyncio.to_thread(check_vectors, self.corpus, self._ended)
            sample = await asyncio.to_thread(sample_of, self.corpus, self._media)
            await check_weights(self.corpus, sample, self.embedder)
        await self.embedding({"text": "ready"})

    def close(self) -> None:
        """Stop the engine and let go of the corpus."""
        self._ended.set()
        self.embedder.close()
        if self.corpus is not None:
            self.corpus.close()

    async def embedding(self, content: dict[str, Any], *, prompt_name: Any = "passage") -> Floats | None:
        """Return the embedding of an item; None if only multi-vectors are compared.

        Raises:
            InputError: It cannot be embedded.
        """
        if not self.has_embeddings:
            return None
        (row,) = await self.embedder.aembed([content], prompt_name=prompt_name)
        embedding: Floats = row
        return embedding

    async def search(self, question: Question, shelf: Shelf, *, second_look: bool = True) -> Answer:
        """Return one ranking of the corpus and of the items of one page.

        Args:
            question: A text or an image.
            shelf: The items.
            second_look: Whether MaxSim ranks the best by the cosine again.

        Raises:
            InputError: The question cannot be embedded.
            EngineError: The engine cannot answer.
        """
        content = await self._content(question)
        query_tokens = None
        if self.has_tokens and (second_look or not self.has_embeddings):
            (query_tokens,) = await self.embedder.aembed_multi_vector([content], prompt_name="query")
        if not self.has_embeddings:
            assert query_tokens is not None
            return await self._by_tokens(query_tokens, shelf)
        embedding = await self.embedding(content, prompt_name="query")
        assert embedding is not None
        hits = dropped(shelf, embedding)
        compared = len(hits)
        if self._places is not None:
            assert self.corpus is not None
            found = await asyncio.to_thread(self._places.search, embedding, None, CANDIDATES)
            hits += [Hit(source=place, cosine=place.score) for place in found]
            compared += len(self.corpus)
        best = candidates(hits, CANDIDATES)
        stages = [f"Cosine of the embeddings: {compared} compared, the best {len(best)} are candidates."]
        if query_tokens is not None and best:
            best = looked_at_again(best, query_tokens, await self._multi_vectors(best))
            seen = sum(hit.maxsim is not None for hit in best)
            stages.append(f"MaxSim over all tokens: {seen} of {len(best)} candidates ranked again.")
        return Answer(hits=best, compared=compared, stages=stages)

    async def _by_tokens(self, query: Floats, shelf: Shelf) -> Answer:
        """Search where only multi-vectors are compared."""
        hits = [Hit(source=item) for item in shelf.items.values()]
        compared = len(hits)
        if self._places is not None:
            assert self.corpus is not None
            found = await asyncio.to_thread(self._places.search, None, query, CANDIDATES)
            hits += [Hit(source=place) for place in found]
            compared += len(self.corpus)
        best = looked_at_again(hits, query, await self._multi_vectors(hits))[:CANDIDATES]
        return Answer(hits=best, compared=compared, stages=[f"MaxSim over all tokens: {compared} compared."])

    async def _multi_vectors(self, hits: Sequence[Hit]) -> dict[str, Floats]:
        """Return the multi-vectors of hits by their keys: those that are stored or kept, the others computed."""
        found: dict[str, Floats] = {}
        missing: list[tuple[str, dict[str, Any]]] = []
        for hit in hits:
            rows = self._tokens.get(hit.key)
            if rows is None and not isinstance(hit.source, Item):
                assert self._places is not None
                rows = (await asyncio.to_thread(self._places.vectors, hit.source))[1]
            if rows is not None:
                found[hit.key] = rows
                continue
            try:
                missing.append((hit.key, await self._content_of(hit)))
            except InputError:  # nothing is kept of it that could be embedded
                continue
        try:
            computed = await self.embedder.aembed_multi_vector([content for _, content in missing])
        except InputError as error:  # some of them cannot be embedded; the others are here
            computed = [] if error.embeddings is None else error.embeddings
        for (key, _), rows in zip(missing, computed, strict=False):
            if len(rows):
                self._tokens.put(key, rows)
                found[key] = rows
        return found

    async def _content(self, question: Question) -> dict[str, Any]:
        if isinstance(question.image, Hit):
            return await self._content_of(question.image)
        return {"text": question.text} if question.image is None else {"image": question.image}

    async def _content_of(self, hit: Hit) -> dict[str, Any]:
        """Return what an embedder takes of a hit.

        Raises:
            InputError: Nothing is kept of it.
        """
        if isinstance(hit.source, Item):
            return hit.source.content
        if hit.source.image is not None:
            return {"image": await self.image(hit)}
        if not hit.source.text:
            raise InputError("the corpus keeps no text of it. Embed with --keep text.")
        return {"text": hit.source.text}

    async def image(self, hit: Hit) -> Image.Image:
        """Return the image of a hit.

        Raises:
            InputError: It has none, or it cannot be opened.
        """
        return await asyncio.to_thread(self._image, hit)

    def _image(self, hit: Hit) -> Image.Image:
        if isinstance(hit.source, Item):
            if hit.source.file is None:
                raise InputError("it is a text.")
            return open_image(hit.source.file, MEDIA)
        if hit.source.image is None or self._places is None:
            raise InputError("it is a text.")
        image = self._places.image(hit.source.image, self._media)
        if isinstance(image, InputError):
            raise image
        return open_image(image, self._media)

    async def thumbnail(self, hit: Hit) -> bytes:
        """Return the image of a hit as a small JPEG.

        Raises:
            InputError: As ``image``.
        """
        if isinstance(hit.source, Item) and hit.source.thumbnail is not None:
            return hit.source.thumbnail
        image = await self.image(hit)
        return await asyncio.to_thread(jpeg, image, max_side=SIDE)

    async def maxsim_map(self, text: str, hit: Hit) -> MaxSimMap:
        """Return which patches of a hit's image match which tokens of a question, over a small image.

        Raises:
            InputError: The hit has no image.
            ConfigError: The model has no multi-vectors, or its patches are not a grid.
        """
        image = await self.image(hit)
        found = await amaxsim_map(self.embedder, text, image)
        small = image.copy()
        await asyncio.to_thread(small.thumbnail, (MAP_SIDE, MAP_SIDE))
        return replace(found, image=small)

    def forget(self, shelf: Shelf) -> None:
        """Let go of what was computed for the items of a page."""
        for item in shelf.items.values():
            self._tokens.remove(Hit(source=item).key)
