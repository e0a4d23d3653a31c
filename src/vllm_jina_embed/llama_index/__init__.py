"""The LlamaIndex adapter: an embedding of texts, images and nodes, retrievers, and a tool for agents."""

from .._extras import require

require("llama-index", "llama_index.core")

from .embedding import VllmJinaEmbedding  # noqa: E402  (after the check, whose error holds the pip line)
from .image_nodes import image_document, image_node, name_images  # noqa: E402
from .late_interaction import ImageQuery, LateInteractionRetriever  # noqa: E402
from .retrievers import unified_retriever  # noqa: E402
from .tools import image_retriever_tool  # noqa: E402

__all__ = [
    "ImageQuery",
    "LateInteractionRetriever",
    "VllmJinaEmbedding",
    "image_document",
    "image_node",
    "image_retriever_tool",
    "name_images",
    "unified_retriever",
]
