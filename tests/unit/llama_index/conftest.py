"""An adapter over an embedder without an engine, and some images."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_index.core.instrumentation import get_dispatcher

from tests.support.embedders import FakeEmbedder
from tests.support.images import encoded, noise
from tests.support.observers import Recorder, Spans, attached
from vllm_jina_embed.llama_index import VllmJinaEmbedding


@pytest.fixture
def fake() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def embedding(fake: FakeEmbedder) -> VllmJinaEmbedding:
    return VllmJinaEmbedding(embedder=fake)


@pytest.fixture(scope="session")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three different images as files."""
    folder = tmp_path_factory.mktemp("images")
    found = [folder / f"{name}.png" for name in ("one", "two", "three")]
    for seed, path in enumerate(found):
        path.write_bytes(encoded(noise(40 + seed, 30, seed=seed)))
    return found


@pytest.fixture(scope="session")
def base64s(paths: list[Path]) -> list[str]:
    """The same images as LlamaIndex keeps them inside nodes."""
    return [base64.b64encode(path.read_bytes()).decode() for path in paths]


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    yield from attached(Recorder(), get_dispatcher().event_handlers)


@pytest.fixture
def spans() -> Iterator[Spans]:
    yield from attached(Spans(), get_dispatcher().span_handlers)
