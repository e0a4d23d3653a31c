"""The public image methods of a MultiModalEmbedding, with what LlamaIndex's own leave out.

LlamaIndex's own send no events for images, pass them to callbacks as they are, and start all asynchronous batches at
once. Its text methods show observers every string as it is; here they see a short text for a string that is an image.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.async_utils import run_jobs
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import QueryBundle
from llama_index.core.utils import get_tqdm_iterable, iter_batch

from ..errors import ConfigError, InputError
from ..frameworks.protocol import Embedder
from ..frameworks.renamed import renamed
from ..frameworks.skipping import Answer, answering, single, stored, strictly
from ..inputs import items as inputs
from ..inputs.file_names import local_path, readable_path
from ..inputs.images import ImageInput, MediaPolicy
from ..inputs.references import is_path, looks_like_image
from ..prompts.base import PromptName
from ..settings import OnError
from .events import achunks_of, chunks_of, embedding_event, spanless
from .queries import ImageQuery, file_or_image

_PROGRESS = "Generating image embeddings"


class ImageMethods(MultiModalEmbedding):
    """Image methods of ``VllmJinaEmbedding``, single and in batches, and queries by image."""

    @property
    @abstractmethod
    def _core(self) -> Embedder:
        """The embedder that computes the vectors."""

    @property
    @abstractmethod
    def _media(self) -> MediaPolicy:
        """Limits for images."""

    def get_image_embedding(self, img_file_path: ImageInput) -> list[float]:
        """Return the embedding of an image: path, data URI, bytes, ``BytesIO``, PIL image or uint8 array.

        It is that of a passage; ``image_query`` has the one to search by.
        """
        return self._embed_image(img_file_path, "passage")

    async def aget_image_embedding(self, img_file_path: ImageInput) -> list[float]:
        """Await ``get_image_embedding``."""
        return await self._aembed_image(img_file_path, "passage")

    def get_image_embedding_batch(
        self, img_file_paths: Sequence[ImageInput], show_progress: bool = False
    ) -> list[list[float]]:
        """Return one embedding per image, in order."""
        return self._embed_batches(_listed(img_file_paths, "images"), show_progress, texts=False)

    async def aget_image_embedding_batch(
        self, img_file_paths: Sequence[ImageInput], show_progress: bool = False
    ) -> list[list[float]]:
        """Await ``get_image_embedding_batch``; ``num_workers`` bounds the batches at a time, as for texts."""
        return await self._aembed_batches(_listed(img_file_paths, "images"), show_progress, texts=False)

    # --- methods of strings, which may be images --------------------------------------------------------------------

    def get_query_embedding(self, query: str) -> list[float]:
        """Return the embedding of a question, or of an image if ``query`` is its data URI or reference."""
        if _is_plain_text(query):
            return spanless(super().get_query_embedding)(query)
        return self._embed_one(query, "query")

    async def aget_query_embedding(self, query: str) -> list[float]:
        """Await ``get_query_embedding``."""
        if _is_plain_text(query):
            return await spanless(super().aget_query_embedding)(query)
        return await self._aembed_one(query, "query")

    def get_agg_embedding_from_queries(
        self, queries: list[str], agg_fn: Callable[..., list[float]] | None = None
    ) -> list[float]:
        """Return the mean of the questions' embeddings, or what ``agg_fn`` makes of them.

        Raises:
            InputError: ``queries`` is empty, or holds values that are neither texts nor strings of images; names each.
            ConfigError: There are several, without ``agg_fn``, and the numbers of the embedding are eight bits each.
        """
        return super().get_agg_embedding_from_queries(self._to_join(queries, agg_fn), agg_fn)

    async def aget_agg_embedding_from_queries(
        self, queries: list[str], agg_fn: Callable[..., list[float]] | None = None
    ) -> list[float]:
        """Await ``get_agg_embedding_from_queries``."""
        return await super().aget_agg_embedding_from_queries(self._to_join(queries, agg_fn), agg_fn)

    def get_text_embedding(self, text: str) -> list[float]:
        """Return the embedding of a text, or of an image if ``text`` is its data URI or reference."""
        if _is_plain_text(text):
            return spanless(super().get_text_embedding)(text)
        return self._embed_one(text, "passage")

    async def aget_text_embedding(self, text: str) -> list[float]:
        """Await ``get_text_embedding``."""
        if _is_plain_text(text):
            return await spanless(super().aget_text_embedding)(text)
        return await self._aembed_one(text, "passage")

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[list[float]]:
        """Return one embedding per string, in order, as ``get_text_embedding`` does."""
        texts = _listed(texts, "texts")
        if all(map(_is_plain_text, texts)):
            return spanless(super().get_text_embedding_batch)(texts, show_progress, **kwargs)
        return self._embed_batches(texts, show_progress, texts=True)

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[list[float]]:
        """Await ``get_text_embedding_batch``."""
        texts = _listed(texts, "texts")
        if all(map(_is_plain_text, texts)):
            return await spanless(super().aget_text_embedding_batch)(texts, show_progress, **kwargs)
        return await self._aembed_batches(texts, show_progress, texts=True)

    # --- queries ----------------------------------------------------------------------------------------------------

    @renamed(picture="image")
    def image_query(self, image: ImageInput, query_str: str = "") -> QueryBundle:
        """Return a query by image, for any retriever on an index of these embeddings; a query's prompt is around it.

        Args:
            image: Path, data URI, encoded bytes, ``BytesIO``, PIL image or uint8 array.
            query_str: What rerankers and chat models read as the question; it does not change the embedding.
        """
        return _bundle(image, query_str, self._embed_image(image, "query"))

    @renamed(picture="image")
    async def aimage_query(self, image: ImageInput, query_str: str = "") -> QueryBundle:
        """Await ``image_query``."""
        return _bundle(image, query_str, await self._aembed_image(image, "query"))

    # --- inside -----------------------------------------------------------------------------------------------------

    def _embed_image(self, image: ImageInput, role: PromptName) -> list[float]:
        if self.rate_limiter is not None:
            self.rate_limiter.acquire()
        with embedding_event(self, chunks_of(self, [image], self._media, texts=False)) as rows:
            rows.append(self._get_image_embedding(image) if role == "passage" else single(self._question(image)))
        return rows[0]

    async def _aembed_image(self, image: ImageInput, role: PromptName) -> list[float]:
        if self.rate_limiter is not None:
            await self.rate_limiter.async_acquire()
        with embedding_event(self, await achunks_of(self, [image], self._media, texts=False)) as rows:
            if role == "passage":
                rows.append(await self._aget_image_embedding(image))
            else:
                rows.append(single(await self._aquestion(image)))
        return rows[0]

    def _embed_one(self, item: str, role: PromptName) -> list[float]:
        embed = self._get_query_embedding if role == "query" else self._get_text_embedding
        if self.rate_limiter is not None:
            self.rate_limiter.acquire()
        with embedding_event(self, chunks_of(self, [item], self._media, texts=True)) as rows:
            rows.append(embed(item))
        return rows[0]

    async def _aembed_one(self, item: str, role: PromptName) -> list[float]:
        embed = self._aget_query_embedding if role == "query" else self._aget_text_embedding
        if self.rate_limiter is not None:
            await self.rate_limiter.async_acquire()
        with embedding_event(self, await achunks_of(self, [item], self._media, texts=True)) as rows:
            rows.append(await embed(item))
        return rows[0]

    def _embed_batches(self, items: Sequence[Any], show_progress: bool, *, texts: bool) -> list[list[float]]:
        embed = self._get_text_embeddings if texts else self._get_image_embeddings
        embeddings: list[list[float]] = []
        batches = list(iter_batch(items, self.embed_batch_size))
        for batch in get_tqdm_iterable(batches, show_progress, _PROGRESS):
            if self.rate_limiter is not None:
                self.rate_limiter.acquire()
            with embedding_event(self, chunks_of(self, batch, self._media, texts=texts)) as rows:
                rows += embed(batch)
            embeddings += rows
        return embeddings

    async def _aembed_batches(self, items: Sequence[Any], show_progress: bool, *, texts: bool) -> list[list[float]]:
        embed = self._aget_text_embeddings if texts else self._aget_image_embeddings

        async def embed_one(batch: list[Any]) -> list[list[float]]:
            if self.rate_limiter is not None:
                await self.rate_limiter.async_acquire()
            with embedding_event(self, await achunks_of(self, batch, self._media, texts=texts)) as rows:
                rows += await embed(batch)
            return rows

        jobs = [embed_one(batch) for batch in iter_batch(items, self.embed_batch_size)]
        nested = await run_jobs(jobs, show_progress, self.num_workers or max(1, len(jobs)), _PROGRESS)
        return [row for rows in nested for row in rows]

    def _get_image_embedding(self, img_file_path: ImageInput) -> list[float]:
        return single(self._images([img_file_path]))

    async def _aget_image_embedding(self, img_file_path: ImageInput) -> list[float]:
        return single(await self._aimages([img_file_path]))

    def _get_image_embeddings(self, img_file_paths: Sequence[ImageInput]) -> list[list[float]]:
        answer = self._images(img_file_paths)
        return stored(answer, stacklevel=4)

    async def _aget_image_embeddings(self, img_file_paths: Sequence[ImageInput]) -> list[list[float]]:
        answer = await self._aimages(img_file_paths)
        return stored(answer, stacklevel=4)

    def _images(self, images: Sequence[ImageInput]) -> Answer:
        with answering(self._mode) as answer:
            answer.rows = self._core.embed_images(images, **strictly(self._core, self._mode))
        return answer

    async def _aimages(self, images: Sequence[ImageInput]) -> Answer:
        with answering(self._mode) as answer:
            answer.rows = await self._core.aembed_images(images, **strictly(self._core, self._mode))
        return answer

    def _question(self, image: ImageInput) -> Answer:
        with answering(self._mode) as answer:
            answer.rows = self._core.embed([{"image": image}], prompt_name="query", **strictly(self._core, self._mode))
        return answer

    async def _aquestion(self, image: ImageInput) -> Answer:
        strict = strictly(self._core, self._mode)
        with answering(self._mode) as answer:
            answer.rows = await self._core.aembed([{"image": image}], prompt_name="query", **strict)
        return answer

    def _to_join(self, queries: Any, agg_fn: object) -> list[Any]:
        """Return the checked questions, whose embeddings ``agg_fn`` or their mean joins."""
        items = _checked_queries(queries)
        output = self._core.settings.output
        if output.is_packed and agg_fn is None and len(items) > 1:
            raise ConfigError(
                f"output_dtype={output.dtype!r}: the bits of {len(items)} queries (HyDE's, for example) have no mean. "
                "Ask one, or pass agg_fn=... to this method."
            )
        return items

    @property
    def _mode(self) -> OnError:
        return self._core.settings.on_error


def _is_plain_text(value: object) -> bool:
    """Tell whether LlamaIndex's own methods can take ``value``: they take only strings, and show them to observers."""
    return isinstance(value, str) and not looks_like_image(value)


def _listed(values: Any, name: str) -> list[Any]:
    """Return ``values`` as a list; raise ``InputError`` if it is a single item or cannot be iterated over."""
    return list(inputs.listed(values, name))


def _checked_queries(queries: Any) -> list[Any]:
    """Return the queries as a list.

    Raises:
        InputError: ``queries`` is not a list, is empty, or holds values that are neither texts nor strings of images;
            names each.
    """
    items = _listed(queries, "queries")
    bad = [item.error for item in inputs.mixed(items, name="queries") if isinstance(item, inputs.BadItem)]
    if bad:
        raise InputError.collect(bad, total=len(items))
    if not items:
        raise InputError("queries: got an empty list; there is nothing to aggregate.")
    return items


def _bundle(image: ImageInput, query_str: str, embedding: list[float]) -> QueryBundle:
    path = readable_path(local_path(image)) if is_path(image) else None  # type: ignore[arg-type]
    return ImageQuery(query_str, image_path=path, embedding=embedding, image=file_or_image(image))
