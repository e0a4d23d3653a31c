"""Send LlamaIndex's events for an embedding call, with a short text in place of each image.

LlamaIndex itself sends no events for images, and passes their bytes and paths to callbacks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # not in its __all__
from llama_index.core.instrumentation.event_handlers import NullEventHandler
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor

from ..inputs.images import MediaPolicy, open_image
from ..inputs.metadata import content_hash, placeholder
from ..inputs.references import Text, both_parts, looks_like_image

_dispatcher = get_dispatcher(__name__)
UNKNOWN = "<image>"
Observed: TypeAlias = "BaseEmbedding | BaseNodePostprocessor"
Method = TypeVar("Method", bound=Callable[..., Any])


def spanless(method: Method) -> Method:
    """Return a method of LlamaIndex's without its span: ours of the same name, which calls it, has one already."""
    unwrapped: Method = getattr(method, "__wrapped__", method)
    return unwrapped


@contextmanager
def embedding_event(model: BaseEmbedding, chunks: list[str]) -> Iterator[list[list[float]]]:
    """Send the start and end events of a call; the caller adds the embeddings to the list that is yielded."""
    payload = model.to_payload()
    _dispatcher.event(EmbeddingStartEvent(model_dict=payload))
    embeddings: list[list[float]] = []
    with model.callback_manager.event(CBEventType.EMBEDDING, payload={EventPayload.SERIALIZED: payload}) as event:
        yield embeddings
        event.on_end(payload={EventPayload.CHUNKS: chunks, EventPayload.EMBEDDINGS: embeddings})
    _dispatcher.event(EmbeddingEndEvent(chunks=chunks, embeddings=embeddings))


def chunks_of(model: Observed, items: Sequence[object], media: MediaPolicy, *, texts: bool) -> list[str]:
    """Return what observers see of ``items``: texts as they are, ``<image sha256:...>`` for images, both for both.

    Images are opened for their hash only if there are observers. A ``Text`` that looks like an image's string becomes
    ``<image>``, so that observers never get the bytes of an image.

    Args:
        model: The embedding or reranker that is observed.
        items: Texts, images and both.
        media: Limits for images.
        texts: Whether a string is a text (as in a mixed call) or an image's path.
    """
    watched = _is_watched(model)

    def chunk(item: object) -> str:
        both = _both(item) if texts else None
        if both is not None:
            return " ".join(map(chunk, both))
        if texts and isinstance(item, str) and not looks_like_image(item):
            return item
        return _stand_in(item, media) if watched and not isinstance(item, Text) else UNKNOWN

    return [chunk(item) for item in items]


async def achunks_of(model: Observed, items: Sequence[object], media: MediaPolicy, *, texts: bool) -> list[str]:
    """Await ``chunks_of``; images are opened in a thread."""
    if _is_watched(model):
        return await asyncio.to_thread(chunks_of, model, items, media, texts=texts)
    return chunks_of(model, items, media, texts=texts)


def _both(item: object) -> tuple[object, object] | None:
    """Return the text and the image of an item of both, as nodes and LangChain's documents give it."""
    if isinstance(item, dict) and isinstance(item.get("text"), str) and "image" in item:
        return Text(item["text"]), item["image"]
    parts = both_parts(item) if isinstance(item, str) else None
    return None if parts is None else (Text(parts[0]), parts[1])


def _stand_in(image: object, media: MediaPolicy) -> str:
    if isinstance(image, list | tuple):
        return " ".join(_stand_in(part, media) for part in image)
    try:
        if hasattr(image, "read") and not (hasattr(image, "seekable") and image.seekable()):
            return UNKNOWN  # it can be read only once, by the embedder
        return placeholder(content_hash(open_image(image, media)))
    except Exception:  # the call itself reports it, with the position
        return UNKNOWN


def _is_watched(model: Observed) -> bool:
    if model.callback_manager.handlers:
        return True
    dispatcher = _dispatcher
    while all(isinstance(handler, NullEventHandler) for handler in dispatcher.event_handlers):
        if not dispatcher.propagate:
            return False
        dispatcher = dispatcher.parent
    return True
