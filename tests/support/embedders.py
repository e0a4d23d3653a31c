"""An embedder without an engine, to be passed as ``embedder=``: it notes what it was asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed._arrays import Floats
from vllm_jina_embed.errors import ClosedError
from vllm_jina_embed.inputs.images import image_string


class FakeEmbedder:
    """Gives every pair of role and input its own unit vector, the same on every call.

    Attributes:
        settings: Those of a published checkpoint, whose facts are known without a download.
        calls: One ``(role, inputs, was_awaited)`` per call, in order.
        closed: How often it was closed.
    """

    def __init__(self, **keywords: Any) -> None:
        keywords = {"model": "jinaai/jina-embeddings-v4-vllm-retrieval", "dimensions": 128, **keywords}
        self.settings = JinaEmbedder(**keywords).settings
        self.dimension = self.settings.dimensions
        self.calls: list[tuple[str, list[object], bool]] = []
        self.closed = 0

    def vector(self, role: str, value: object) -> list[float]:
        """Return what this embedder answers for ``value`` in ``role``."""
        digest = hashlib.sha256(f"{role}|{value!r}".encode()).digest()
        row = np.random.default_rng(int.from_bytes(digest[:8], "big")).normal(size=self.dimension)
        found: list[float] = (row / np.linalg.norm(row)).astype(np.float32).tolist()
        return found

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        return self._answer("query", texts, False)

    def embed_passages(self, texts: Sequence[str]) -> Floats:
        return self._answer("passage", texts, False)

    def embed_images(self, images: Sequence[object]) -> Floats:
        return self._answer("image", images, False)

    def embed(
        self, items: Sequence[object], *, prompt_name: str = "passage", show_progress: bool | None = None
    ) -> Floats:
        return self._answer_mixed(prompt_name, items, False)

    async def aembed_queries(self, texts: Sequence[str]) -> Floats:
        return self._answer("query", texts, True)

    async def aembed_passages(self, texts: Sequence[str]) -> Floats:
        return self._answer("passage", texts, True)

    async def aembed_images(self, images: Sequence[object]) -> Floats:
        return self._answer("image", images, True)

    async def aembed(
        self, items: Sequence[object], *, prompt_name: str = "passage", show_progress: bool | None = None
    ) -> Floats:
        return self._answer_mixed(prompt_name, items, True)

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1

    def _answer_mixed(self, prompt_name: str, items: Sequence[object], was_awaited: bool) -> Floats:
        """Noted as one call of role ``mixed query`` or ``mixed passage``."""
        if self.closed:
            raise ClosedError("the fake is closed.")
        self.calls.append((f"mixed {prompt_name}", list(items), was_awaited))
        is_text = [isinstance(item, str) and image_string(item) is None for item in items]
        values = [item["image"] if isinstance(item, dict) and [*item] == ["image"] else item for item in items]
        roles = [prompt_name if text else "image" for text in is_text]
        rows = list(map(self.vector, roles, values))
        return np.array(rows, dtype=np.float32).reshape(len(rows), self.dimension)

    def _answer(self, role: str, values: Sequence[object], was_awaited: bool) -> Floats:
        if self.closed:
            raise ClosedError("the fake is closed.")
        self.calls.append((role, list(values), was_awaited))
        rows = [self.vector(role, value) for value in values]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self.dimension)
