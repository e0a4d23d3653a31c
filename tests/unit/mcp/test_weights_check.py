"""An index is asked only by the weights that made it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vllm_jina_embed import ConfigError, MediaPolicy

pytest.importorskip("mcp")

from vllm_jina_embed.mcp.server import Service


@pytest.mark.fire
@pytest.mark.parametrize(("stored", "now"), [(np.nan, 1.0), (1.0, np.nan), (0.0, 1.0), (-1.0, 1.0)])
async def test_a_stored_embedding_that_cannot_be_compared_is_another(stored: float, now: float) -> None:
    """NaN is like nothing, whichever of the two it stands in."""
    entry = SimpleNamespace(text="a", image=None)
    index: Any = SimpleNamespace(
        images=Path(), entries=[entry], embedding=lambda entry: np.array([stored, 0], dtype=np.float32)
    )

    async def again(items: list[Any]) -> np.ndarray:
        return np.array([[now, 0]], dtype=np.float32)

    embedder: Any = SimpleNamespace(aembed_passages=again, settings=SimpleNamespace(media=MediaPolicy()))
    with pytest.raises(ConfigError, match="other weights"):
        await Service(index, embedder)._check()
