"""Leaves out the tests of what is not installed: the light environment has neither a framework nor torch nor Qdrant.

The test of that environment itself is left out elsewhere. And what many tests share: an embedder in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import JinaEmbedder

HAS_LANGCHAIN = find_spec("langchain_core") is not None
HAS_LLAMA_INDEX = find_spec("llama_index") is not None
HAS_QDRANT = find_spec("qdrant_client") is not None
HAS_TORCH = find_spec("torch") is not None

collect_ignore = [
    *([] if HAS_LANGCHAIN else ["langchain"]),
    *([] if HAS_LLAMA_INDEX else ["llama_index"]),
    *([] if HAS_LANGCHAIN and HAS_LLAMA_INDEX else ["frameworks"]),
    *([] if HAS_QDRANT else ["late_interaction"]),
    *([] if HAS_TORCH else ["scoring/test_maxsim_torch.py"]),
    *(["test_light.py"] if HAS_TORCH else []),
]


@pytest.fixture
def engines() -> list[FakeEngine]:
    """The engines that ``embedder`` started."""
    return []


@pytest.fixture
def embedder(tmp_path: Path, engines: list[FakeEngine]) -> Iterator[JinaEmbedder]:
    """An embedder whose engine lives in memory."""
    with in_memory(engines)(write_folder(tmp_path / "model"), dimensions=32) as embedder:
        yield embedder
