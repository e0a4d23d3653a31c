"""Scores of multi-vectors."""
