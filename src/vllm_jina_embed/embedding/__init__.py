"""The embedder's calls: checked items in, arrays out."""
