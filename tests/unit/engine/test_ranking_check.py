"""An engine that judges pairs otherwise than its checkpoint's head may not serve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken

from tests.support.fake_engine import FakeEngine, vector_of
from tests.support.tokenizer import KNOWN, make_tokenizer
from tests.support.unigram import make_unigram
from vllm_jina_embed.checkpoints.ranking import RankingModel
from vllm_jina_embed.checkpoints.table.rerank import BGE_RERANKER, JINA_RERANKER_M0, QWEN3_RERANKER, QWEN3_VL_RERANKER
from vllm_jina_embed.checkpoints.weights.heads import Judge
from vllm_jina_embed.engine.protocol import TokenStates
from vllm_jina_embed.engine.ranking_check import check_scores
from vllm_jina_embed.errors import EngineError
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.pairs import PairBuilder
from vllm_jina_embed.prompts.plain import plain_tokenizer

WIDTH = 32
HEAD = Judge(first=None, activation="", weight=20 * vector_of(Prompt(token_ids=(1,)), WIDTH), bias=0.0)
ROWS = {row.name: row for row in (QWEN3_RERANKER, QWEN3_VL_RERANKER, BGE_RERANKER, JINA_RERANKER_M0)}


class Judging(FakeEngine):
    """Judges states that depend on their token and on what they see; each of ``mistakes`` is one."""

    def __init__(self, row: RankingModel, *mistakes: str) -> None:
        super().__init__()
        self.row, self.mistakes, self.asked = row, mistakes, 0

    async def token_states(self, prompt: Prompt, *, task: str) -> TokenStates:
        self.asked += 1
        return TokenStates(token_ids=prompt.token_ids, states=self._states(prompt))

    async def logit(self, prompt: Prompt, *, urgent: bool = False) -> float:
        states = self._states(prompt)
        place = {"first_token": 0, "last_token": -1}[self.row.pooling or ""]
        logit = HEAD.logit(states[-2 if "another token" in self.mistakes else place])
        if "nan" in self.mistakes:
            return float("nan")
        return -logit if "swapped" in self.mistakes else logit

    def _states(self, prompt: Prompt) -> Any:
        both = (self.row.attention == "both") != ("attention" in self.mistakes)
        ids = prompt.token_ids
        seen = [ids if both else ids[: place + 1] for place in range(len(ids))]
        return np.stack([vector_of(Prompt(token_ids=(*one, place)), WIDTH) for place, one in enumerate(seen)])


async def check(engine: Judging) -> None:
    row = engine.row
    tokenizer = make_unigram() if row.kind == "unigram" else make_tokenizer(f"yes\nno\n{KNOWN}")
    if row.kind == "bpe":
        tokenizer.add_tokens([AddedToken(token, special=False) for token in ("<think>", "</think>")])
    plain = plain_tokenizer(row, tokenizer.to_str().encode(), origin="test")
    await check_scores(engine, PairBuilder(plain, row, policy=MediaPolicy()), HEAD, row, max_tokens=4096)


@pytest.mark.parametrize("name", ROWS)
async def test_an_engine_that_does_what_its_row_says_passes(name: str) -> None:
    engine = Judging(ROWS[name])
    await check(engine)
    assert engine.asked == 5 + ROWS[name].takes_images


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("swapped", "does not judge pairs as this checkpoint's head does"),
        ("another token", "does not judge pairs as this checkpoint's head does"),
        ("nan", "does not judge pairs as this checkpoint's head does"),
        ("attention", "the first tokens of a prompt see"),
    ],
)
async def test_a_mistake_is_found(name: str, mistake: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        await check(Judging(ROWS[name], mistake))
