"""Search by embeddings and MaxSim: an index of two stages in one query, and a second look at any search's results."""

from ..scoring.ranking import Ranked
from .collection import Hit
from .index import LateInteractionIndex
from .maxsim_map import MaxSimMap, TokenMatch, amaxsim_map, maxsim_map
from .reranker import MaxSimReranker
from .stages import Rerank
from .storage import Size, Storage, size_of

__all__ = [
    "Hit",
    "LateInteractionIndex",
    "MaxSimMap",
    "MaxSimReranker",
    "Ranked",
    "Rerank",
    "Size",
    "Storage",
    "TokenMatch",
    "amaxsim_map",
    "maxsim_map",
    "size_of",
]
