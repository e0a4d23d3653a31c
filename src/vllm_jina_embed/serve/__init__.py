"""The command ``serve``: vLLM's server, with our checks and our way to read images and texts."""
