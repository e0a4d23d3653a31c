"""What the local engine hands to vLLM: rendered prompts, images prepared on several threads, the same bits."""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch

from tests.support.images import noise
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.engine.local.engine import LocalEngine
from vllm_jina_embed.engine.local.requests import Renderer
from vllm_jina_embed.inputs.items import images
from vllm_jina_embed.prompts.base import Prompt

pytestmark = pytest.mark.real

IMAGES = [noise(60 + 37 * n, 400 - 11 * n, n) for n in range(24)]


@pytest.fixture
def engine(demo_embedder: JinaEmbedder) -> LocalEngine:
    found, _ = demo_embedder.backend.ready()  # type: ignore[attr-defined]
    assert isinstance(found, LocalEngine)
    return found


@pytest.fixture
def prompts(demo_embedder: JinaEmbedder) -> list[Prompt]:
    """One per image."""
    _, builder = demo_embedder.backend.ready()  # type: ignore[attr-defined]
    return builder.build(images(IMAGES), role="passage", text_prefix="", max_length=9, truncate="end")


def test_vllm_warns_of_nothing(demo_embedder: JinaEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It warns of raw prompts, which a later release refuses."""
    from vllm.v1.engine import input_processor

    logger = MagicMock()
    monkeypatch.setattr(input_processor, "logger", logger)
    demo_embedder.embed(["a text", IMAGES[0], [IMAGES[1], IMAGES[2]]])
    demo_embedder.embed_multi_vector(["a text", IMAGES[0]])
    assert not [call for call in logger.mock_calls if "warning" in str(call)]


def test_images_prepared_at_once_are_the_same_bits(engine: LocalEngine, prompts: list[Prompt]) -> None:
    """As vLLM's own single thread prepares them, one after the other."""
    llm = engine._llm

    async def at_once() -> list[dict[str, Any]]:
        renderer = Renderer(threads=8)
        try:
            return await asyncio.gather(*(renderer.render(llm, prompt) for prompt in prompts * 4))
        finally:
            renderer.close()

    found = engine.run(at_once()).result()
    for prompt, rendered in zip(prompts * 4, found, strict=True):
        request = {"prompt_token_ids": list(prompt.token_ids), "multi_modal_data": {"image": list(prompt.images)}}
        (expected,) = llm.renderer.render_cmpl([request])
        assert rendered["prompt_token_ids"] == expected["prompt_token_ids"]
        (ours,), (theirs,) = rendered["mm_kwargs"]["image"], expected["mm_kwargs"]["image"]
        for name, item in theirs.get_data().items():
            assert torch.equal(ours.get_data()[name], item), name


def test_torch_keeps_its_threads(engine: LocalEngine, prompts: list[Prompt]) -> None:
    """vLLM sets torch's number of threads while it prepares an image, for the whole process."""
    before = threads_of_a_new_thread()
    assert before == torch.get_num_threads()

    async def at_once() -> None:
        await asyncio.gather(*(engine._renderer.render(engine._llm, prompt) for prompt in prompts))

    for _ in range(5):
        engine.run(at_once()).result()
        assert threads_of_a_new_thread() == before
    assert torch.get_num_threads() == before


def threads_of_a_new_thread() -> int:
    """Return how many threads torch uses in a thread that has just started."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]
