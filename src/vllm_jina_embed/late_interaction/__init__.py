"""Two-stage retrieval in one Qdrant query: embeddings find candidates, MaxSim over all tokens ranks them."""

from .index import Hit, LateInteractionIndex
from .storage import Size, Storage, size_of

__all__ = ["Hit", "LateInteractionIndex", "Size", "Storage", "size_of"]
