"""Ask a corpus: make the embedder that its vectors were made with, and search by a text or an image."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..embedder import JinaEmbedder
from ..errors import ConfigError, InputError
from ..inputs.policy import MediaPolicy
from .opened import Corpus, Row

SETTINGS = (
    "task",
    "dimensions",
    "truncate",
    "max_length",
    "min_pixels",
    "max_pixels",
    "normalize",
    "long_text",
    "fusion",
)
"""Settings of an embedder that a manifest holds."""
HARMLESS = {
    "block_size",
    "cpu_offload_gb",
    "disable_log_stats",
    "dtype",
    "enable_chunked_prefill",
    "enable_prefix_caching",
    "enforce_eager",
    "gpu_memory_utilization",
    "kv_cache_memory_bytes",
    "max_model_len",
    "max_num_batched_tokens",
    "max_num_seqs",
    "seed",
    "tensor_parallel_size",
}
"""Keyword arguments for vLLM that a manifest may give: others may run code, so whoever asks gives them."""


def embedder_of(
    corpus: Corpus,
    *,
    engine_kwargs: Mapping[str, Any] | None = None,
    servers: Sequence[str] = (),
    api_key: str | None = None,
    make: type[JinaEmbedder] = JinaEmbedder,
    media: MediaPolicy | None = None,
) -> JinaEmbedder:
    """Return the embedder that a corpus was made with; nothing starts.

    Args:
        corpus: The corpus.
        engine_kwargs: Keyword arguments for vLLM; None takes those of the corpus.
        servers: Ask these, and start no engine.
        api_key: Of the servers.
        make: The class of the embedder.
        media: Limits for images.

    Raises:
        ConfigError: The model's files or description are others now, the servers serve another model, or the corpus
            wants arguments for vLLM that may run code.
    """
    settings = corpus.settings
    own = {name: settings[name] for name in SETTINGS if settings[name] is not None}
    if servers:
        embedder = make.from_server(list(servers), api_key=api_key, media=media, **own)
    else:
        options = stated_options(corpus) if engine_kwargs is None else engine_kwargs
        embedder = make(settings["model"], revision=settings["revision"], engine_kwargs=options, media=media, **own)
    row = embedder.settings.checkpoint.row.vectors
    if row != settings["row"]:
        raise ConfigError(
            f"the corpus {str(corpus.folder)!r} was made with row={settings['row']!r} (here {row!r}): its vectors "
            "cannot be compared. Embed it anew."
        )
    if not servers and engine_kwargs is None and embedder.fingerprint != corpus.manifest["fingerprint"]:
        raise ConfigError(
            f"the corpus {str(corpus.folder)!r} was made with fingerprint={corpus.manifest['fingerprint']!r} (here "
            f"{embedder.fingerprint!r}): the model's files are others now. Embed it anew."
        )
    return embedder


def stated_options(corpus: Corpus) -> dict[str, Any]:
    """Return the keyword arguments for vLLM that a corpus was made with.

    Raises:
        ConfigError: They may run code, which a corpus from elsewhere must not.
    """
    stated = corpus.settings["engine_kwargs"]
    options: dict[str, Any] = json.loads(stated)
    if any(name not in HARMLESS or not _is_plain(value) for name, value in options.items()):
        raise ConfigError(
            f"{str(corpus.folder)!r} was made with engine_kwargs={stated}. They may run code, so they are not taken "
            "from a corpus: pass engine_kwargs (--engine-kwargs) with them if you trust it."
        )
    return options


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def search_corpus(
    corpus: Corpus,
    *,
    embedder: Any,
    query: str | None = None,
    image: str | os.PathLike[str] | bytes | None = None,
    count: int = 10,
) -> list[Row]:
    """Return the rows of a corpus that answer a text or an image best, best first.

    With embeddings and multi-vectors, the embeddings select candidates and MaxSim ranks them.

    Args:
        corpus: The corpus.
        embedder: One with its settings, as ``embedder_of`` makes it.
        query: A text.
        image: Instead, an image: a path, a data URI or bytes.
        count: How many rows.

    Raises:
        InputError: Neither or both are passed, or the query cannot be embedded.
    """
    if (query is None) == (image is None):
        raise InputError("a search takes a text or an image; pass exactly one of them.")
    item: Any = {"text": query} if image is None else {"image": os.fspath(image) if isinstance(image, Path) else image}
    has_embedding, has_tokens = (corpus.settings[name] is not None for name in ("dimensions", "token_dimensions"))
    embedding = tokens = None
    try:
        if has_embedding:
            (embedding,) = embedder.embed([item], prompt_name="query", on_error="raise", show_progress=False)
        if has_tokens:
            (tokens,) = embedder.embed_multi_vector([item], prompt_name="query", show_progress=False)
    except InputError as error:  # about items[0], which the caller has not passed
        raise error.at("query" if image is None else "image", 0) from None
    return corpus.search(embedding, multi_vector=tokens, count=count)
