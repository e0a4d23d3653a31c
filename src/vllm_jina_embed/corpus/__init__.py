"""Embed a corpus: folders, tables and PDFs in, shards of vectors with a journal out.

from vllm_jina_embed.corpus import embed_corpus, open_corpus, search_corpus
"""

from .embed import embed_corpus
from .entries import Columns
from .opened import Corpus, Row, open_corpus
from .ray_shards import RayActors
from .reports import Summary
from .search import embedder_of, search_corpus

__all__ = [
    "Columns", "Corpus", "RayActors", "Row", "Summary", "embed_corpus", "embedder_of", "open_corpus", "search_corpus",
]  # fmt: skip
