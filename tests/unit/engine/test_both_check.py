"""An engine that gives another vector or other rows where it computes both kinds may not serve."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.support.layered_engine import WIDTH, LayeredEngine, builder_for
from vllm_jina_embed._arrays import Floats
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.engine import two_requests
from vllm_jina_embed.engine.both_check import check_both
from vllm_jina_embed.errors import EngineError
from vllm_jina_embed.prompts.base import Prompt

MISTAKES: dict[str, Any] = {
    "another size": lambda vector, rows: (vector[:-1], rows),
    "not normalised": lambda vector, rows: (2 * vector, rows),
    "another vector": lambda vector, rows: (np.roll(vector, 1), rows),
    "NaN": lambda vector, rows: (vector * np.float32("nan"), rows),
    "a row less": lambda vector, rows: (vector, rows[1:]),
    "rows in reverse": lambda vector, rows: (vector, rows[::-1]),
    "rows that are not normalised": lambda vector, rows: (vector, 2 * rows),
    "one wrong row": lambda vector, rows: (vector, np.concatenate([rows[:-1], rows[:1]])),
}


class Joint(LayeredEngine):
    """Computes both kinds, and changes them."""

    def __init__(self, change: Any = lambda vector, rows: (vector, rows)) -> None:
        super().__init__(JINA_V4)
        self.change = change
        self.sent: list[Prompt] = []
        self.lengths: list[int] = []

    async def both(self, prompt: Prompt, *, dimensions: int, task: str, **options: Any) -> tuple[Floats, Floats]:
        self.sent.append(prompt)
        self.lengths.append(dimensions)
        found: tuple[Floats, Floats] = self.change(
            *await two_requests.both(self, prompt, dimensions=dimensions, task=task, **options)
        )
        return found


async def check(engine: Joint) -> None:
    await check_both(engine, builder_for(JINA_V4), row=JINA_V4, task="retrieval", max_tokens=4096, full=WIDTH)


async def test_an_engine_that_gives_the_same_passes() -> None:
    """One prompt is computed so: an image, of a length under the full one."""
    engine = Joint()
    await check(engine)
    (prompt,) = engine.sent
    assert prompt.images
    assert engine.lengths == [min(*JINA_V4.matryoshka_sizes, WIDTH)]


@pytest.mark.parametrize("change", MISTAKES.values(), ids=MISTAKES.keys())
async def test_an_engine_that_gives_another_is_refused(change: Any) -> None:
    with pytest.raises(EngineError, match=re.escape("where it computes both kinds together (got")):
        await check(Joint(change))
