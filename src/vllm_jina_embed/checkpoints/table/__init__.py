"""The models that are known: one row each."""
