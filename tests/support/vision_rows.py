"""A tiny checkpoint of each row that takes images, under a name that its row is known by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.llava_next import make_e5_v
from tests.support.nemotron_vl import make_nemotron_vl
from tests.support.qwen2_vl import make_qwen2_vl
from tests.support.qwen3_vl import make_qwen3_vl

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


def make_vision(row: str, parent: Path) -> Path:
    """Write the random checkpoint of a row into ``parent``, which is new, and return its folder."""
    name, make = MAKERS[row]
    return make(parent / name)
