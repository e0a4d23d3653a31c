"""Token states to embeddings, in numpy: the reference for what the engine does."""
