"""Embed a corpus: folders, tables and PDFs in, shards of vectors with a journal out."""
