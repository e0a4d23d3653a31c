"""Check, read and open the texts and images that callers pass."""
