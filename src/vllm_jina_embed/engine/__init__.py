"""Prompts in, vectors out: where a checkpoint runs."""
