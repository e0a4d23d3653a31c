"""Embedders on engines in memory, and indexes over them in Qdrant's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

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
def store() -> str:
    """Which store holds the vectors; modules whose tests are of both give it parameters."""
    return "qdrant"


@pytest.fixture
def shared(store: str, tmp_path: Path) -> dict[str, Any]:
    """The keyword of one place for several indexes."""
    if store == "qdrant":
        return {"client": QdrantClient(":memory:")}
    import lancedb

    return {"lancedb": lancedb.connect(tmp_path / "shared")}


@pytest.fixture
def make(embedder: JinaEmbedder, store: str, tmp_path: Path) -> Iterator[MakeIndex]:
    """Make indexes of the embedder; closes them all."""
    made: list[LateInteractionIndex] = []

    def build(*, of: JinaEmbedder = embedder, **settings: Any) -> LateInteractionIndex:
        if store == "lancedb" and "lancedb" not in settings:
            settings["lancedb"] = settings.pop("path", tmp_path / f"lance-{len(made)}")
        made.append(LateInteractionIndex(of, **settings))
        return made[-1]

    yield build
    for index in made:
        index.close()
