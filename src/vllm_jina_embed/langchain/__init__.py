"""LangChain: ``VllmJinaEmbeddings`` is a ``langchain_core.embeddings.Embeddings`` that also takes pictures."""

from .._extras import require

require("langchain", "langchain_core")

from .embeddings import VllmJinaEmbeddings  # noqa: E402  (after the check, whose error holds the pip line)

__all__ = ["VllmJinaEmbeddings"]
