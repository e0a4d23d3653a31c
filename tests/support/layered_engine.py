"""An engine in memory with attention, a processor and a pooler of its own, each of which may make one mistake."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.support.builders import builder_of
from tests.support.fake_engine import FakeEngine, vector_of
from tests.support.tokenizer import make_tokenizer
from tests.support.unigram import make_unigram
from vllm_jina_embed._arrays import Floats
from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.engine.protocol import TokenStates
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.pieces import PieceBuilder

WIDTH = 128
PATCHES = 5
_IDS = {name: make_tokenizer().token_to_id(f"<|{name}|>") for name in ("vision_start", "image_pad", "vision_end")}
START, PAD, END = _IDS.values()
CONFIG = SimpleNamespace(vision_start_token_id=START, vision_end_token_id=END)


def builder_for(row: Model) -> PieceBuilder:
    """Return the builder of a row's prompts with a small tokenizer of its kind."""
    return builder_of(row, (make_unigram() if row.kind == "unigram" else make_tokenizer()).to_str())


class LayeredEngine(FakeEngine):
    """Pools, as a row says, states that depend on their token, its place, and the tokens that they see.

    Attributes:
        row: The row.
        mistakes: What is wrong, by the names in the methods below.
        asked: The token ids of each prompt whose states were asked for.
    """

    def __init__(self, row: Model, *mistakes: str) -> None:
        super().__init__()
        self.row, self.mistakes = row, mistakes
        self.asked: list[tuple[int, ...]] = []
        self._embedded: list[tuple[int, ...]] = []

    async def token_states(self, prompt: Prompt, *, task: str) -> TokenStates:
        """Return the states of the expanded prompt."""
        self.asked.append(prompt.token_ids)
        return self._states(prompt)

    async def embed(
        self, prompt: Prompt, *, dimensions: int, task: str, urgent: bool = False, normalize: bool = True
    ) -> Floats:
        """Return the pooled states: layer norm where the row has one, cut, normalised."""
        tokens = self._states(prompt)
        pooled = tokens.states[self._chosen(tokens.token_ids, prompt)].mean(0)
        if self.row.layer_norm and "norm after the cut" not in self.mistakes and "no layer norm" not in self.mistakes:
            pooled = _layer_norm(pooled)
        pooled = pooled[: dimensions // 2 if "another size" in self.mistakes else dimensions]
        if "norm after the cut" in self.mistakes:
            pooled = _layer_norm(pooled)
        self._embedded.append(prompt.token_ids)
        length = np.linalg.norm(pooled) * (2 if "not normalised" in self.mistakes else 1)
        return np.asarray(pooled / length, dtype=np.float32)

    def _chosen(self, ids: Sequence[int], prompt: Prompt) -> list[int]:
        """Return the places of the tokens that are pooled."""
        kind = next((one for one in self.mistakes if one in _PLACES), self.row.pooling)
        places = _PLACES[kind](ids)
        cached = "prefix cache" in self.mistakes and prompt.token_ids in self._embedded
        return places[len(places) // 2 :] if cached else places

    def _states(self, prompt: Prompt) -> TokenStates:
        ids = [
            one for token in prompt.token_ids for one in [token] * (PATCHES if prompt.images and token == PAD else 1)
        ]
        if "tokens made anew" in self.mistakes and (prompt.images or not self.row.takes_images):
            ids[2:4] = [ids[2] + 1]
        if "one token more" in self.mistakes:
            ids.append(1)
        tokens = np.stack([_own(token, place) * (1 + place) for place, token in enumerate(ids)])
        both = (self.row.attention == "both") != ("other attention" in self.mistakes)
        seen = np.full(len(ids), len(ids)) if both else np.arange(1, len(ids) + 1)
        states = tokens + np.stack([tokens[:count].mean(0) for count in seen])
        if "one state less" in self.mistakes:
            states = states[1:]
        return TokenStates(token_ids=tuple(ids), states=np.asarray(states, dtype=np.float32))


def _spans(ids: Sequence[int], *, without: Collection[int] = ()) -> list[int]:
    if START not in ids:
        return [*range(len(ids))]
    return [place for place in range(ids.index(START), ids.index(END) + 1) if ids[place] not in without]


_PLACES: dict[str, Any] = {
    "vision_span_mean": _spans,
    "no markers": lambda ids: _spans(ids, without=(START, END)),
    "mean": lambda ids: [*range(len(ids))],
    "first_token": lambda ids: [0],
    "last_token": lambda ids: [len(ids) - 1],
    "token before the last": lambda ids: [len(ids) - 2],
}


def _own(token: int, place: int) -> Floats:
    return vector_of(Prompt(token_ids=(token, place)), WIDTH)


def _layer_norm(values: Floats) -> Floats:
    return np.asarray((values - values.mean()) / np.sqrt(values.var() + 1e-5), dtype=np.float32)
