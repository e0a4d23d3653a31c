"""What a checkpoint is: the description that every stage reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TASKS = ("retrieval", "text-matching", "code")


JINA_V4, XLM_ROBERTA = "jina-v4", "xlm-roberta"
"""Families: checkpoints with one way to make prompts, to start vLLM and to pool."""


# Source: config.json `matryoshka_dims` of jinaai/jina-embeddings-v4; paper arXiv:2506.18902, section 4.
JINA_V4_DIMENSIONS = (128, 256, 512, 1024, 2048)


# Source: config.json `multi_vector_projector_dim` of jinaai/jina-embeddings-v4.
JINA_V4_TOKEN_DIMENSIONS = 128


# Source: preprocessor_config.json of jinaai/jina-embeddings-v4: 602112 = 768 * 28 * 28, at most 768 image tokens.
# The merged vLLM checkpoints ship 12845056, which gives other vectors for larger pictures.
JINA_V4_MIN_PIXELS = 3136


JINA_V4_MAX_PIXELS = 602112


# Source: modeling_jina_embeddings_v4.py, encode_text(max_length=32768).
JINA_V4_MAX_LENGTH = 32768


DEMO = "demo"


DEMO_FOLDER = Path(__file__).parent.parent / "demo" / "checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Facts about one checkpoint.

    Attributes:
        name: What the user wrote.
        location: Folder or hub repository that the engine loads.
        tasks: Tasks whose vectors these weights give; the first is the default.
        hidden_size: Length of a full embedding.
        dimensions: Matryoshka sizes that were trained, ascending; the last is ``hidden_size``.
        token_dimensions: Length of one row of a multi-vector; ``hidden_size`` where no projector was trained for them.
        has_adapters: Whether one engine serves every task by adapters, rather than weights merged for one.
        min_pixels: Smallest picture area in pixels; smaller pictures are enlarged to it.
        max_pixels: Largest picture area in pixels; larger pictures are reduced to it.
        max_length: Longest text in tokens, prefix included.
        options: Engine arguments that this checkpoint wants where the user gives none.
        family: Decides prompts, engine arguments and pooling.
    """

    name: str
    location: str
    tasks: tuple[str, ...]
    hidden_size: int
    dimensions: tuple[int, ...]
    token_dimensions: int
    has_adapters: bool = False
    min_pixels: int = JINA_V4_MIN_PIXELS
    max_pixels: int = JINA_V4_MAX_PIXELS
    max_length: int = JINA_V4_MAX_LENGTH
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)
    family: str = JINA_V4

    @property
    def sees_pictures(self) -> bool:
        """Whether pictures have vectors too."""
        return self.family == JINA_V4

    @property
    def label(self) -> str:
        """The name without the path to it: what observers and stores may see."""
        path = Path(self.location)
        return path.name if path.is_absolute() and self.name != DEMO else self.name
