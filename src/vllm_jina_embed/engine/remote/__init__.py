"""vLLM servers elsewhere."""
