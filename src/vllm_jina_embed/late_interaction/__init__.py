"""Two-stage retrieval in Qdrant: embeddings find the candidates, MaxSim over all tokens ranks them, in one query."""

from .index import Hit, LateInteractionIndex
from .storage import Size, Storage, size_of

__all__ = ["Hit", "LateInteractionIndex", "Size", "Storage", "size_of"]
