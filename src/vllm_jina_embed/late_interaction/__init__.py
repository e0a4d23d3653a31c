"""Search by embeddings and MaxSim: an index of two stages in one query, and a second look at any search's results."""

from ..scoring.ranking import Ranked
from .index import Hit, LateInteractionIndex
from .reranker import MaxSimReranker
from .storage import Size, Storage, size_of

__all__ = ["Hit", "LateInteractionIndex", "MaxSimReranker", "Ranked", "Size", "Storage", "size_of"]
