"""Checkpoints: what each model is, and where its files lie."""
