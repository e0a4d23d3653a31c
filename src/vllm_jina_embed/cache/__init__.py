"""A cache of embeddings in front of any embedder."""
