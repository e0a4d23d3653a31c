"""A tiny checkpoint of each row that takes images, under a name that its row is known by."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.support.clip import make_clip
from tests.support.llava_next import make_e5_v
from tests.support.nemotron_vl import make_nemotron_vl
from tests.support.qwen2_vl import make_qwen2_vl
from tests.support.qwen3_vl import make_qwen3_vl
from tests.support.siglip import make_siglip, make_siglip2

MAKERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "qwen3-vl-embedding": ("Qwen3-VL-Embedding-2B", make_qwen3_vl),
    "dse-qwen2": ("dse-qwen2-2b-mrl-v1", make_qwen2_vl),
    "gme-qwen2-vl": ("gme-Qwen2-VL-2B-Instruct", make_qwen2_vl),
    "vlm2vec-qwen2vl": ("VLM2Vec-Qwen2VL-2B-merged", make_qwen2_vl),
    "vlm2vec-v2": ("VLM2Vec-V2.0-merged", make_qwen2_vl),
    "e5-v": ("e5-v", make_e5_v),
    "llama-nemotron-embed-vl": ("llama-nemotron-embed-vl-1b-v2", make_nemotron_vl),
}
"""By the row, the folder's name and what writes it; those of jina-embeddings-v4 are ``checkpoints`` and ``native``."""
DUAL_ENCODERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "clip": ("clip-vit-base-patch32", make_clip),
    "siglip": ("siglip-base-patch16-224", partial(make_siglip, normalizes=False)),  # capitals are ours to drop
    "siglip2": ("siglip2-base-patch16-224", make_siglip2),
}
"""The same for rows of one text or one image, with prompts of a few tokens."""


def make_vision(row: str, parent: Path) -> Path:
    """Write the random checkpoint of a row into ``parent``, which is new, and return its folder."""
    name, make = {**MAKERS, **DUAL_ENCODERS}[row]
    return make(parent / name)
