"""Embeddings that were computed before, in front of any embedder."""
