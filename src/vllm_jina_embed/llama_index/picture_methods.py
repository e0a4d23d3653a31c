"""The public picture methods of a MultiModalEmbedding, with what LlamaIndex's own leave out.

Enters: pictures. Leaves: lists of Python floats. LlamaIndex's own send no events for pictures, hand them to callbacks
as they are, and launch all asynchronous batches at once. This file refuses to know how an embedding is computed.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence

from llama_index.core.async_utils import run_jobs
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import QueryBundle
from llama_index.core.utils import get_tqdm_iterable, iter_batch

from .._adapter import Embedder
from .._skipping import Answer, answering, single, stored, strictly
from ..media import ImageInput, MediaPolicy, is_data_uri
from ..settings import OnError
from .events import achunks_of, chunks_of, embedding_event


class PictureMethods(MultiModalEmbedding):
    """Picture methods of ``VllmJinaEmbedding``, single and in batches, and queries by picture."""

    @property
    @abstractmethod
    def _core(self) -> Embedder:
        """What computes embeddings."""

    @property
    @abstractmethod
    def _media(self) -> MediaPolicy:
        """Limits for pictures."""

    def get_image_embedding(self, img_file_path: ImageInput) -> list[float]:
        """Return the embedding of a picture: path, data URI, bytes, ``BytesIO``, PIL image or uint8 array."""
        if self.rate_limiter is not None:
            self.rate_limiter.acquire()
        with embedding_event(self, chunks_of(self, [img_file_path], self._media, texts=False)) as rows:
            rows.append(self._get_image_embedding(img_file_path))
        return rows[0]

    async def aget_image_embedding(self, img_file_path: ImageInput) -> list[float]:
        """Await ``get_image_embedding``."""
        if self.rate_limiter is not None:
            await self.rate_limiter.async_acquire()
        chunks = await achunks_of(self, [img_file_path], self._media, texts=False)
        with embedding_event(self, chunks) as rows:
            rows.append(await self._aget_image_embedding(img_file_path))
        return rows[0]

    def get_image_embedding_batch(
        self, img_file_paths: Sequence[ImageInput], show_progress: bool = False
    ) -> list[list[float]]:
        """Return one embedding per picture, in order."""
        found: list[list[float]] = []
        batches = list(iter_batch(img_file_paths, self.embed_batch_size))
        for batch in get_tqdm_iterable(batches, show_progress, "Generating image embeddings"):
            if self.rate_limiter is not None:
                self.rate_limiter.acquire()
            with embedding_event(self, chunks_of(self, batch, self._media, texts=False)) as rows:
                rows += self._get_image_embeddings(batch)
            found += rows
        return found

    async def aget_image_embedding_batch(
        self, img_file_paths: Sequence[ImageInput], show_progress: bool = False
    ) -> list[list[float]]:
        """Await ``get_image_embedding_batch``; ``num_workers`` bounds the batches at a time, as for texts."""

        async def embed(batch: list[ImageInput]) -> list[list[float]]:
            if self.rate_limiter is not None:
                await self.rate_limiter.async_acquire()
            chunks = await achunks_of(self, batch, self._media, texts=False)
            with embedding_event(self, chunks) as rows:
                rows += await self._aget_image_embeddings(batch)
            return rows

        jobs = [embed(batch) for batch in iter_batch(img_file_paths, self.embed_batch_size)]
        workers = self.num_workers or max(1, len(jobs))
        nested = await run_jobs(jobs, show_progress, workers, "Generating image embeddings")
        return [row for rows in nested for row in rows]

    def image_query(self, picture: ImageInput, query_str: str = "") -> QueryBundle:
        """Return a query by picture, for any retriever on an index of these embeddings.

        Args:
            picture: Path, data URI, encoded bytes, ``BytesIO``, PIL image or uint8 array.
            query_str: What rerankers and chat models read as the question; it does not change the embedding.
        """
        return _bundle(picture, query_str, self.get_image_embedding(picture))

    async def aimage_query(self, picture: ImageInput, query_str: str = "") -> QueryBundle:
        """Await ``image_query``."""
        return _bundle(picture, query_str, await self.aget_image_embedding(picture))

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

    @property
    def _mode(self) -> OnError:
        return self._core.settings.on_error


def _bundle(picture: ImageInput, query_str: str, embedding: list[float]) -> QueryBundle:
    is_path = isinstance(picture, os.PathLike) or (isinstance(picture, str) and not is_data_uri(picture))
    return QueryBundle(query_str, image_path=str(picture) if is_path else None, embedding=embedding)
