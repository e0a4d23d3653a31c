"""Say in an error how a user describes a model that no row does."""

from __future__ import annotations

from typing import get_args

from .row import Pooling


def how_to_describe(name: str, architecture: str) -> str:
    """Return the lines with which a user describes a model that no row does."""
    return (
        " If you know what it was trained with, write it where dots stand, and pass this description:\n"
        "    from vllm_jina_embed import JinaEmbedder, Layout, Model, Slot, Special\n"
        "    prompt = (..., Slot.TEXT, ...)  # texts, and special tokens such as Special('<s>')\n"
        f"    row = Model(name='my-model', layouts=(Layout(architecture={architecture[:100]!r}),), "
        "pooling=..., kind=..., templates={('any', 'text'): prompt}, max_length=...)\n"
        f"    # pooling: {' or '.join(get_args(Pooling))}; kind: bpe, unigram or wordpiece\n"
        f"    embedder = JinaEmbedder({name!r}, row=row)"
    )
