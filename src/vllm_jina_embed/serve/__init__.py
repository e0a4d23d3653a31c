"""The command ``serve`` and what it adds to vLLM's server."""
