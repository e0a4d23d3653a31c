"""Engines: where a checkpoint runs; prompts in, vectors out."""
