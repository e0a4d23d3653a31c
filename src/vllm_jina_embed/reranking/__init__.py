"""Scores of a query and its documents: the settings and the calls of a reranker."""
