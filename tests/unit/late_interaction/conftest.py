"""Embedders on engines in memory, and indexes over them in Qdrant's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.late_interaction import LateInteractionIndex

MakeIndex = Callable[..., LateInteractionIndex]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def embedder(folder: Path) -> Iterator[JinaEmbedder]:
    with in_memory([])(folder) as embedder:
        yield embedder


@pytest.fixture
def make(embedder: JinaEmbedder) -> Iterator[MakeIndex]:
    """Make indexes of the embedder; closes them all."""
    made: list[LateInteractionIndex] = []

    def build(*, of: JinaEmbedder = embedder, **settings: Any) -> LateInteractionIndex:
        made.append(LateInteractionIndex(of, **settings))
        return made[-1]

    yield build
    for index in made:
        index.close()
