"""Token states to embeddings, in numpy: the reference for the pooling inside vLLM."""
