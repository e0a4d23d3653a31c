"""Rows of known models, and published checkpoints: ``ROWS`` and ``CHECKPOINTS`` of each module."""
