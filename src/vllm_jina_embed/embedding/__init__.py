"""Calls of the embedder: from checked items to arrays."""
