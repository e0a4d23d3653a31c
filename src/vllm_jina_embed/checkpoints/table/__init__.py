"""Rows of known models."""
