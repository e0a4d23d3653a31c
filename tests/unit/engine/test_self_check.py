"""An engine that pools wrongly may not serve."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine, vector_of
from vllm_jina_embed._arrays import Floats
from vllm_jina_embed.engine.protocol import TokenStates
from vllm_jina_embed.engine.self_check import check_first_token, check_multi_vector, check_pooling, together
from vllm_jina_embed.errors import EngineError
from vllm_jina_embed.pooling import single_vector
from vllm_jina_embed.prompts.base import Prompt

START, END, IMAGE, VIDEO = 3, 4, 6, 7
CONFIG = SimpleNamespace(
    vision_start_token_id=START, vision_end_token_id=END, image_token_id=IMAGE, video_token_id=VIDEO
)


class PoolingEngine(FakeEngine):
    """Pools its own token states, rightly or wrongly."""

    def __init__(self, mistake: str = "") -> None:
        super().__init__()
        self.mistake = mistake
        self.seen: list[tuple[int, ...]] = []

    async def token_states(self, prompt: Prompt, *, task: str) -> TokenStates:
        """Expand the image to five tokens; each place has its own state."""
        ids = [one for token in prompt.token_ids for one in [token] * (5 if token == IMAGE else 1)]
        rows = [vector_of(Prompt(token_ids=(token, place)), 128) * (1 + place) for place, token in enumerate(ids)]
        return TokenStates(token_ids=tuple(ids), states=np.stack(rows))

    async def embed(self, prompt: Prompt, *, dimensions: int, task: str, urgent: bool = False) -> Floats:
        """Average as told."""
        tokens = await self.token_states(prompt, task=task)
        mask = single_vector.vision_mask(tokens.token_ids, vision_start=START, vision_end=END)
        if self.mistake == "last token":
            return single_vector.finish(tokens.states[-1], dimensions)
        if self.mistake == "all tokens":
            mask[:] = True
        if self.mistake == "no markers":
            mask &= ~np.isin(tokens.token_ids, (START, END))
        if self.mistake == "prefix cache" and prompt.token_ids in self.seen:
            mask[: int(np.flatnonzero(mask)[0]) + 2] = False
        self.seen.append(prompt.token_ids)
        return single_vector.finish(single_vector.mean(tokens.states, mask), dimensions)


async def test_an_engine_that_pools_rightly_passes() -> None:
    """Nothing is raised."""
    await check_pooling(PoolingEngine(), CONFIG, task="retrieval")


@pytest.mark.parametrize("mistake", ["last token", "all tokens", "no markers", "prefix cache"])
async def test_an_engine_that_pools_wrongly_is_refused(mistake: str) -> None:
    """Whatever it does instead."""
    with pytest.raises(EngineError, match="does not average the vision spans"):
        await check_pooling(PoolingEngine(mistake), CONFIG, task="retrieval")


class ProjectingEngine(PoolingEngine):
    """Projects its own token states, rightly or wrongly."""

    weight = np.random.default_rng(3).normal(size=(8, 128)).astype(np.float32)

    async def multi_vector(self, prompt: Prompt, *, task: str, urgent: bool = False) -> Floats:
        """Project as told."""
        states = (await self.token_states(prompt, task=task)).states
        if self.mistake == "states":
            return single_vector.normalize(states)
        if self.mistake == "one token less":
            states = states[1:]
        return self.project(single_vector.normalize(states) if self.mistake == "normalised" else states, self.mistake)

    @classmethod
    def project(cls, states: Floats, mistake: str = "") -> Floats:
        """Return rows of norm 1; the bias makes the length of a state matter."""
        weight = cls.weight[::-1] if mistake == "another task" else cls.weight
        return single_vector.normalize(states @ weight.T + np.float32(mistake != "no bias"))


async def test_an_engine_that_projects_rightly_passes() -> None:
    """Nothing is raised."""
    await check_multi_vector(ProjectingEngine(), CONFIG, task="code", expected=ProjectingEngine.project)


@pytest.mark.parametrize("mistake", ["states", "one token less", "normalised", "another task", "no bias"])
async def test_an_engine_that_projects_wrongly_is_refused(mistake: str) -> None:
    """Whatever it does instead; the task is named."""
    with pytest.raises(EngineError, match="multi-vectors of task 'code'"):
        await check_multi_vector(ProjectingEngine(mistake), CONFIG, task="code", expected=ProjectingEngine.project)


class WaitingEngine(ProjectingEngine):
    """Answers when as many prompts are inside as can be."""

    def __init__(self, inside: int, mistake: str = "") -> None:
        super().__init__(mistake)
        self.barrier = asyncio.Barrier(inside)

    async def token_states(self, prompt: Prompt, *, task: str) -> TokenStates:
        """Wait for the others, where a check asks."""
        if task:
            await self.barrier.wait()
        return await super().token_states(prompt, task="")

    async def embed(self, prompt: Prompt, *, dimensions: int, task: str, urgent: bool = False) -> Floats:
        """Pool, without waiting for the token states."""
        return await super().embed(prompt, dimensions=dimensions, task="")


async def test_the_prompts_of_all_checks_are_in_the_engine_at_once() -> None:
    """One after the other, each would read all weights of a large model by itself."""
    engine = WaitingEngine(6)
    async with asyncio.timeout(20):
        await together(check_pooling(engine, CONFIG, task=task) for task in ("retrieval", "text-matching", "code"))


async def test_the_first_failure_is_told_and_the_rest_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is left running in an engine that is about to be closed."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        begun.set()
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()

    with pytest.raises(EngineError, match="does not average"):
        await together([endless(), check_pooling(PoolingEngine("last token"), CONFIG, task="code")])
    assert begun.is_set()
    async with asyncio.timeout(20):
        await ended.wait()
    assert not caplog.records


ENDS = SimpleNamespace(bos_token_id=0, eos_token_id=2, pad_token_id=1)


class FirstTokenEngine(PoolingEngine):
    """Pools its own token states, rightly or wrongly."""

    async def embed(self, prompt: Prompt, *, dimensions: int, task: str, urgent: bool = False) -> Floats:
        """Take a token as told."""
        assert (prompt.token_ids[0], prompt.token_ids[-1]) == (0, 2)
        assert not {0, 1, 2} & set(prompt.token_ids[1:-1])
        states = (await self.token_states(prompt, task=task)).states
        pooled = {"last token": states[-1], "mean": states.mean(0), "another size": states[0, :64]}
        found = single_vector.normalize(pooled.get(self.mistake, states[0]))
        return found * np.float32(0.5) if self.mistake == "not normalised" else found


async def test_an_engine_that_takes_the_first_token_passes() -> None:
    """Nothing is raised."""
    await check_first_token(FirstTokenEngine(), ENDS, task="retrieval")


@pytest.mark.parametrize("mistake", ["last token", "mean", "another size", "not normalised"])
async def test_an_engine_that_takes_another_is_refused(mistake: str) -> None:
    """Whatever it does instead."""
    with pytest.raises(EngineError, match="by its first token"):
        await check_first_token(FirstTokenEngine(mistake), ENDS, task="retrieval")


async def test_a_model_without_first_and_last_ids_is_checked_too() -> None:
    """BERT's configuration names none."""
    no_ends = SimpleNamespace(bos_token_id=None, eos_token_id=None, pad_token_id=0)

    class Engine(PoolingEngine):
        async def embed(self, prompt: Prompt, *, dimensions: int, task: str, urgent: bool = False) -> Floats:
            """Take the first token."""
            assert all(type(token_id) is int and token_id > 0 for token_id in prompt.token_ids)
            return single_vector.normalize((await self.token_states(prompt, task=task)).states[0])

    await check_first_token(Engine(), no_ends, task="retrieval")


class SpoilingEngine(ProjectingEngine, FirstTokenEngine):
    """Pools rightly, then spoils what it gives: the vectors, or the token states that they are compared with."""

    def __init__(self, spoil: Callable[[Floats], Floats], *, states: bool = False, first: bool = False) -> None:
        super().__init__()
        self.spoil, self.spoils_states, self.first = spoil, states, first

    async def token_states(self, prompt: Prompt, *, task: str) -> TokenStates:
        """Spoil them, or not."""
        tokens = await super().token_states(prompt, task=task)
        return replace(tokens, states=self.spoil(tokens.states)) if self.spoils_states else tokens

    async def embed(self, prompt: Prompt, *, dimensions: int, task: str, urgent: bool = False) -> Floats:
        """Pool as the check wants it."""
        kind = FirstTokenEngine if self.first else PoolingEngine
        found = await kind.embed(self, prompt, dimensions=dimensions, task=task)
        return found if self.spoils_states else self.spoil(found)

    async def multi_vector(self, prompt: Prompt, *, task: str, urgent: bool = False) -> Floats:
        """Project."""
        found = await super().multi_vector(prompt, task=task)
        return found if self.spoils_states else self.spoil(found)


def one_number(value: float) -> Callable[[Floats], Floats]:
    """Return a function that puts ``value`` in place of one number."""

    def spoil(values: Floats) -> Floats:
        spoilt = values.copy()
        spoilt.reshape(-1)[-1] = value
        return spoilt

    return spoil


SPOILT = {
    "nan": one_number(np.nan),
    "infinite": one_number(np.inf),
    "all nan": lambda values: values * np.float32(np.nan),
    "norm 37": lambda values: values * np.float32(37),
    "norm 0": lambda values: values * np.float32(0),
    "one more number": lambda values: np.concatenate([values, values[..., :1]], axis=-1),
    "none": lambda values: values[..., :0],
}


@pytest.mark.fire
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", SPOILT)
async def test_vectors_that_are_no_unit_vectors_are_refused(name: str) -> None:
    """NaN compares with no limit, and 37 times the right vector has a dot product over 1: neither passes."""
    spoil = SPOILT[name]
    with pytest.raises(EngineError, match="does not average the vision spans"):
        await check_pooling(SpoilingEngine(spoil), CONFIG, task="retrieval")
    with pytest.raises(EngineError, match="by its first token"):
        await check_first_token(SpoilingEngine(spoil, first=True), ENDS, task="retrieval")
    with pytest.raises(EngineError, match="multi-vectors of task 'code'"):
        await check_multi_vector(SpoilingEngine(spoil), CONFIG, task="code", expected=ProjectingEngine.project)


@pytest.mark.fire
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
async def test_token_states_that_are_not_finite_are_refused() -> None:
    """There is nothing to compare with then, and what is compared with nothing does not pass."""
    spoil = SPOILT["all nan"]
    with pytest.raises(EngineError, match="does not average the vision spans"):
        await check_pooling(SpoilingEngine(spoil, states=True), CONFIG, task="retrieval")
    with pytest.raises(EngineError, match="by its first token"):
        await check_first_token(SpoilingEngine(spoil, states=True, first=True), ENDS, task="retrieval")
    engine = SpoilingEngine(spoil, states=True)
    with pytest.raises(EngineError, match="multi-vectors"):
        await check_multi_vector(engine, CONFIG, task="code", expected=ProjectingEngine.project)
