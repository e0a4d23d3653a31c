"""The methods of every embedder: checked lists, roles, streams and scores, over a backend that computes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from .._arrays import Floats
from ..inputs import items as inputs
from ..inputs.documents import chunked
from ..inputs.images import ImageInput
from ..inputs.items import EmbedInput
from ..prompts.base import PromptName
from . import scoring
from .both_calls import BothKindsCalls
from .progress import progress_bar
from .streams import astream, stream


class Calls(BothKindsCalls):
    """The calls of an embedder."""

    def embed_queries(self, texts: Iterable[str], **overrides: Any) -> Floats:
        """Return embeddings ``(n, dimension)`` of questions; see ``embed`` for overrides and errors."""
        rows: Floats = self._rows(inputs.texts(texts), "query", **overrides)
        return rows

    async def aembed_queries(self, texts: Iterable[str], **overrides: Any) -> Floats:
        """Await ``embed_queries``."""
        rows: Floats = await self._arows(inputs.texts(texts), "query", **overrides)
        return rows

    def embed_passages(self, texts: Iterable[str], **overrides: Any) -> Floats:
        """Return embeddings ``(n, dimension)`` of documents; see ``embed`` for overrides and errors."""
        rows: Floats = self._rows(inputs.texts(texts), "passage", **overrides)
        return rows

    async def aembed_passages(self, texts: Iterable[str], **overrides: Any) -> Floats:
        """Await ``embed_passages``."""
        rows: Floats = await self._arows(inputs.texts(texts), "passage", **overrides)
        return rows

    def embed_images(self, images: Iterable[ImageInput | Iterable[ImageInput]], **overrides: Any) -> Floats:
        """Return embeddings ``(n, dimension)`` of images, as passages; here a string is a path or a data URI.

        A list or tuple of images inside ``images`` is one item: the union of its vision spans is averaged.
        See ``embed`` for overrides and errors.
        """
        rows: Floats = self._rows(inputs.images(images), "passage", **overrides)
        return rows

    async def aembed_images(self, images: Iterable[ImageInput | Iterable[ImageInput]], **overrides: Any) -> Floats:
        """Await ``embed_images``."""
        rows: Floats = await self._arows(inputs.images(images), "passage", **overrides)
        return rows

    def embed(
        self,
        items: Iterable[EmbedInput],
        *,
        prompt_name: PromptName | None = None,
        input_type: str | None = None,
        **overrides: Any,
    ) -> Floats:
        """Return embeddings of texts, images and both together, mixed as they come.

        Args:
            items: A string is text, unless all of it is a ``data:image/...;base64,`` URI or a reference to an image;
                ``pathlib.Path``, bytes, ``BytesIO``, PIL images and uint8 arrays ``(height, width, 3)`` are
                images; a list or tuple of images is one item. ``{"text": ..., "image": ...}`` is one item of both, and
                so is a list of content blocks as LangChain and OpenAI write them: there a string under ``text`` is
                always a text, and one under ``image`` a path or a data URI, as in ``embed_images``. A model that was
                not trained for it refuses such items unless the embedder has ``fusion``.
            prompt_name: ``query`` or ``passage``, the default; decides the prompt, of an image only in some models.
            input_type: Instead, the role in the words of Cohere (``search_query``, ``search_document``) or of
                sentence-transformers (``query``, ``document``); with a task of the checkpoint ``code.query`` or
                ``text-matching``.
            **overrides: ``dimensions``, ``task``, ``normalize``, ``show_progress`` and ``on_error`` for this call, and
                ``output_dtype`` with its ``ranges`` (``pooling.quantization``); a bad item has no row of whole numbers.

        Returns:
            float32 or ``output_dtype``, ``(n, dimension)``, order kept; ``(0, dimension)`` for no items. Rows have L2
            norm 1, unless ``normalize`` is False.

        Raises:
            InputError: Some items cannot be embedded; names every position. ``error.embeddings`` holds the other rows,
                with NaN rows for the bad items; it is None where ``items`` as a whole is not a list.
            ConfigError: ``dimensions`` is not a Matryoshka size, the checkpoint does not serve ``task``, or it has no
                such ``input_type``; names what is allowed.
            ClosedError: After ``close()``.
        """
        rows: Floats = self._rows(inputs.mixed(items), prompt_name, input_type=input_type, **overrides)
        return rows

    async def aembed(
        self,
        items: Iterable[EmbedInput],
        *,
        prompt_name: PromptName | None = None,
        input_type: str | None = None,
        **overrides: Any,
    ) -> Floats:
        """Await ``embed``."""
        rows: Floats = await self._arows(inputs.mixed(items), prompt_name, input_type=input_type, **overrides)
        return rows

    def embed_multi_vector(
        self,
        items: Iterable[EmbedInput],
        *,
        prompt_name: PromptName | None = None,
        input_type: str | None = None,
        task: str | None = None,
        show_progress: bool | None = None,
    ) -> list[Floats]:
        """Return one vector per token of each text or image, for late interaction (MaxSim).

        Every token of the prompt has its row: a text's prefix, and around an image's tokens the words that ask the
        model to describe it. A checkpoint whose projector was trained for this (``jinaai/jina-embeddings-v4``) gives
        rows of 128 numbers; others give each token's normalised state. Matryoshka sizes do not apply.

        Args:
            items: As in ``embed``.
            prompt_name: As in ``embed``.
            input_type: As in ``embed``.
            task: For this call; None takes the embedder's.
            show_progress: For this call; None takes the embedder's.

        Returns:
            float32 arrays ``(n_tokens, checkpoint.token_dimensions)``, rows of L2 norm 1, order kept.

        Raises:
            InputError: As in ``embed``; items with an error have an array ``(0, token_dimensions)``.
            ConfigError: The checkpoint does not serve ``task``, or has no such ``input_type``.
            ClosedError: After ``close()``.
        """
        rows: list[Floats] = self._rows(
            inputs.mixed(items),
            prompt_name,
            input_type=input_type,
            multi_vector=True,
            task=task,
            show_progress=show_progress,
        )
        return rows

    async def aembed_multi_vector(
        self,
        items: Iterable[EmbedInput],
        *,
        prompt_name: PromptName | None = None,
        input_type: str | None = None,
        task: str | None = None,
        show_progress: bool | None = None,
    ) -> list[Floats]:
        """Await ``embed_multi_vector``."""
        rows: list[Floats] = await self._arows(
            inputs.mixed(items),
            prompt_name,
            input_type=input_type,
            multi_vector=True,
            task=task,
            show_progress=show_progress,
        )
        return rows

    def embed_late_chunks(
        self,
        documents: Iterable[Sequence[str]],
        *,
        prompt_name: PromptName | None = None,
        input_type: str | None = None,
        **overrides: Any,
    ) -> list[Floats]:
        """Return an embedding for each chunk of each document, from one pass over the whole document (late chunking).

        Each chunk's is the mean of its own tokens' states, which have seen the rest of the document: with causal
        attention what stands before them. The prompt's tokens before and behind the text count with the first chunk and
        the last, so a document of one chunk has its usual embedding. Nothing is kept in a cache.
        Source: Guenther et al., "Late Chunking", arXiv:2409.04701.

        Args:
            documents: For each its chunks, texts that follow each other as they are; together within ``max_length``.
            prompt_name: As in ``embed``.
            input_type: As in ``embed``.
            **overrides: As in ``embed``.

        Returns:
            float32 arrays ``(n_chunks, dimension)``, order kept.

        Raises:
            InputError: As in ``embed``; documents with an error have an array ``(0, dimension)``.
            ConfigError: As in ``embed``, or the model does not average its tokens, or no server gives token states.
            ClosedError: After ``close()``.
        """
        items, ends = chunked(documents)
        rows: list[Floats] = self._rows(items, prompt_name, input_type=input_type, ends=ends, **overrides)
        return rows

    async def aembed_late_chunks(
        self,
        documents: Iterable[Sequence[str]],
        *,
        prompt_name: PromptName | None = None,
        input_type: str | None = None,
        **overrides: Any,
    ) -> list[Floats]:
        """Await ``embed_late_chunks``."""
        items, ends = chunked(documents)
        rows: list[Floats] = await self._arows(items, prompt_name, input_type=input_type, ends=ends, **overrides)
        return rows

    def embed_stream(
        self,
        items: Iterable[EmbedInput],
        *,
        prompt_name: PromptName | None = None,
        input_type: str | None = None,
        dimensions: int | None = None,
        task: str | None = None,
        normalize: bool | None = None,
        output_dtype: str | None = None,
        ranges: Any = None,
        show_progress: bool | None = None,
    ) -> Iterator[Floats]:
        """Yield one embedding ``(dimension,)`` per item, in order, for a corpus of any length in constant memory.

        ``items`` is read as it is needed: at most three windows of 256 items ahead. An error names the position in the
        stream and comes after all embeddings before it; its ``embeddings`` are those of the window. Else see ``embed``.
        """
        own = {"dimensions": dimensions, "task": task, "normalize": normalize, "input_type": input_type}
        call = partial(self._rows, **own, output_dtype=output_dtype, ranges=ranges, show_progress=False)
        return stream(items, lambda batch: call(batch, prompt_name), progress_bar(self.settings, None, show_progress))

    def aembed_stream(
        self,
        items: Iterable[EmbedInput],
        *,
        prompt_name: PromptName | None = None,
        input_type: str | None = None,
        dimensions: int | None = None,
        task: str | None = None,
        normalize: bool | None = None,
        output_dtype: str | None = None,
        ranges: Any = None,
        show_progress: bool | None = None,
    ) -> AsyncIterator[Floats]:
        """Yield as ``embed_stream`` does, without blocking the loop."""
        own = {"dimensions": dimensions, "task": task, "normalize": normalize, "input_type": input_type}
        call = partial(self._arows, **own, output_dtype=output_dtype, ranges=ranges, show_progress=False)
        return astream(items, lambda batch: call(batch, prompt_name), progress_bar(self.settings, None, show_progress))

    def score(
        self,
        queries: Iterable[EmbedInput],
        items: Iterable[EmbedInput],
        *,
        multi_vector: bool | None = None,
        dimensions: int | None = None,
        task: str | None = None,
        show_progress: bool | None = None,
    ) -> Floats:
        """Return how well each item answers each query.

        Args:
            queries: Texts, which get the query prefix, and images, as in ``embed``.
            items: Texts, which get the passage prefix, and images, mixed; any iterable, read as it is needed.
            multi_vector: Whether to compare all tokens by MaxSim, which is slower and finer, or one vector per item by
                the cosine. None does as the model's row says: MaxSim for late-interaction models, else cosine.
            dimensions: Matryoshka size for this call; None takes the embedder's. Multi-vectors have none.
            task: For this call; None takes the embedder's.
            show_progress: For this call; None takes the embedder's.

        Returns:
            float32, ``(n_queries, n_items)``. Cosines lie between -1 and 1, MaxSim between minus and plus the query's
            number of tokens. With ``on_error="skip"``, bad queries and items have NaN.

        Raises:
            InputError: Some queries or items cannot be embedded; names every bad query, or else those of a window.
            ConfigError: ``dimensions`` is not a Matryoshka size or is passed where multi-vectors are compared, or the
                checkpoint does not serve ``task``.
            ClosedError: After ``close()``.
        """
        call = partial(self._rows, **scoring.overrides(self.checkpoint.row, multi_vector, dimensions, task))
        return scoring.score(call, queries, items, progress_bar(self.settings, None, show_progress), self.model)

    async def ascore(
        self,
        queries: Iterable[EmbedInput],
        items: Iterable[EmbedInput],
        *,
        multi_vector: bool | None = None,
        dimensions: int | None = None,
        task: str | None = None,
        show_progress: bool | None = None,
    ) -> Floats:
        """Await ``score``."""
        call = partial(self._arows, **scoring.overrides(self.checkpoint.row, multi_vector, dimensions, task))
        return await scoring.ascore(call, queries, items, progress_bar(self.settings, None, show_progress), self.model)
