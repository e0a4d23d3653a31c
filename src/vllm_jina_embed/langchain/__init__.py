"""The LangChain adapter: embeddings of texts and images for every vector store, a retriever, and a tool for agents."""

from .._extras import require

require("langchain", "langchain_core")

from .corpus import CorpusRetriever  # noqa: E402  (after the check, whose error holds the pip line)
from .corpus_stores import corpus_store  # noqa: E402
from .documents import image_document  # noqa: E402
from .embeddings import VllmJinaEmbeddings  # noqa: E402
from .late_interaction import LateInteractionRetriever  # noqa: E402
from .reranking import MaxSimReranker, VllmJinaReranker  # noqa: E402
from .tools import image_retriever_tool  # noqa: E402

__all__ = [
    "CorpusRetriever",
    "LateInteractionRetriever",
    "MaxSimReranker",
    "VllmJinaEmbeddings",
    "VllmJinaReranker",
    "corpus_store",
    "image_document",
    "image_retriever_tool",
]
