"""Token ids of a server's clients are whole prompts: nothing is cut from them or put behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from vllm import PoolingParams
from vllm.exceptions import VLLMValidationError

from tests.support.qwen3 import make_qwen3_embedding
from tests.support.rendering import server_renderer
from tests.support.xlm_roberta import make_xlm_roberta
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.serve.request_checks import refuse_length

pytestmark = pytest.mark.real
MAKERS = {"bge-m3": make_xlm_roberta, "Qwen3-Embedding-0.6B": make_qwen3_embedding}
IDS = [0, 5, 6, 7, 8, 9, 2]


@pytest.fixture(scope="module", params=MAKERS)
def renderer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The renderer of a server of a row whose prompts end in a token that decides the vector."""
    folder = tmp_path_factory.mktemp("ids") / request.param
    MAKERS[request.param](folder)
    with server_renderer(str(folder)) as made:
        yield made


def rendered(renderer: Any, *, is_async: bool, **options: Any) -> list[int]:
    """Return the ids that the engine gets for ``IDS``."""
    params = renderer.default_cmpl_tok_params.with_kwargs(**options)
    prompts = [{"prompt_token_ids": list(IDS)}]
    (made,) = (
        asyncio.run(renderer.render_cmpl_async(prompts, params)) if is_async else renderer.render_cmpl(prompts, params)
    )
    return list(made["prompt_token_ids"])


@pytest.mark.parametrize("is_async", [True, False])
def test_ids_are_neither_cut_nor_padded(renderer: Any, is_async: bool) -> None:
    """Without the end the state of another token is pooled; vLLM changes them without a word."""
    for options in ({}, {"truncate_prompt_tokens": len(IDS)}, {"truncate_prompt_tokens": -1}):
        assert rendered(renderer, is_async=is_async, **options) == IDS
    for side in ("left", "right"):
        with pytest.raises(VLLMValidationError, match="truncate_prompt_tokens=4 would cut 7 token ids"):
            rendered(renderer, is_async=is_async, truncate_prompt_tokens=4, truncation_side=side)
    with pytest.raises(VLLMValidationError, match="the model would read padding with the prompt"):
        rendered(renderer, is_async=is_async, padding="max_length")


def test_the_rows_of_a_multi_vector_have_one_length() -> None:
    """vLLM's pooler cuts them where ``dimensions`` is set; ours gave whole ones, as if nothing had been asked."""
    checkpoint = resolve("demo")
    params: Any = SimpleNamespace(task="token_embed", dimensions=64)
    with pytest.raises(VLLMValidationError, match="dimensions=64: demo was trained for one length of a token's vector"):
        refuse_length(params, checkpoint)
    refuse_length(PoolingParams(task="token_embed"), checkpoint)
    refuse_length(PoolingParams(task="embed", dimensions=64), checkpoint)
