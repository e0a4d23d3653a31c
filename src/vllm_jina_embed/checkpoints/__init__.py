"""Checkpoints: descriptions of models, and their files."""
