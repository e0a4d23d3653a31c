"""LlamaIndex: ``VllmJinaEmbedding`` is a ``llama_index.core`` MultiModalEmbedding."""

from .._extras import require

require("llama-index", "llama_index.core")

from .embedding import VllmJinaEmbedding  # noqa: E402  (after the check, whose error holds the pip line)

__all__ = ["VllmJinaEmbedding"]
