"""The LlamaIndex adapter: an embedding of texts, images and nodes, retrievers, and a tool for agents."""

from typing import Any

from .._extras import require

require("llama-index", "llama_index.core")

from ..frameworks.renamed import renamed, warn_renamed  # noqa: E402
from .corpus import CorpusRetriever  # noqa: E402  (after the check, whose error holds the pip line)
from .corpus_stores import corpus_store  # noqa: E402
from .embedding import VllmJinaEmbedding  # noqa: E402
from .image_nodes import image_document, image_node, name_images  # noqa: E402
from .late_interaction import LateInteractionRetriever  # noqa: E402
from .queries import ImageQuery  # noqa: E402
from .reranking import MaxSimReranker, VllmJinaReranker  # noqa: E402
from .retrievers import unified_retriever  # noqa: E402
from .tools import image_retriever_tool  # noqa: E402

__all__ = [
    "CorpusRetriever",
    "ImageQuery",
    "LateInteractionRetriever",
    "MaxSimReranker",
    "VllmJinaEmbedding",
    "VllmJinaReranker",
    "corpus_store",
    "image_document",
    "image_node",
    "image_retriever_tool",
    "name_images",
    "unified_retriever",
]

_RENAMED = {"PictureQuery": "ImageQuery", "name_pictures": "name_images"}


def __getattr__(name: str) -> Any:
    """Return what has another name now; the old one goes with the next version."""
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warn_renamed(name, _RENAMED[name], stacklevel=2)
    new = globals()[_RENAMED[name]]
    return renamed(picture="image")(new) if new is ImageQuery else new
