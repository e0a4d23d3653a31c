"""The rows of jina-embeddings-v4: native, and merged for one task."""

from __future__ import annotations

from .. import recognition
from ..description import (
    JINA_V4_DIMENSIONS,
    TASKS,
    Checkpoint,
)


def _published(task: str) -> Checkpoint:
    """Return the facts of one of Jina's merged vLLM checkpoints (source: their model cards)."""
    name = f"{NATIVE}-vllm-{task}"
    return Checkpoint(
        name=name,
        location=name,
        tasks=(task,),
        hidden_size=JINA_V4_DIMENSIONS[-1],
        dimensions=JINA_V4_DIMENSIONS,
        token_dimensions=JINA_V4_DIMENSIONS[-1],
    )


NATIVE = "jinaai/jina-embeddings-v4"


NATIVE_ARCHITECTURE = recognition.NATIVE_ARCHITECTURE


MERGED = {checkpoint.name: checkpoint for checkpoint in map(_published, TASKS)}
