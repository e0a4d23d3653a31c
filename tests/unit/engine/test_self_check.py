"""An engine that gives other vectors than its row says may not serve."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.builders import builder_of
from tests.support.fake_engine import FakeEngine, vector_of
from tests.support.layered_engine import CONFIG as LAYERED
from tests.support.layered_engine import PAD, LayeredEngine, builder_for
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed._arrays import Floats
from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.checkpoints.prompt_pieces import Special
from vllm_jina_embed.checkpoints.table.bge import XLM_ROBERTA
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.checkpoints.table.text import QWEN3_EMBEDDING
from vllm_jina_embed.checkpoints.token_layer import TokenLayer
from vllm_jina_embed.checkpoints.weights.projector import Projection
from vllm_jina_embed.checkpoints.weights.token_layers import TokenLayers
from vllm_jina_embed.engine.protocol import TokenStates
from vllm_jina_embed.engine.self_check import check_engine, check_multi_vector, together
from vllm_jina_embed.errors import EngineError
from vllm_jina_embed.pooling import single_vector
from vllm_jina_embed.prompts.base import Prompt

START, END, IMAGE, VIDEO = 3, 4, 6, 7
CONFIG = SimpleNamespace(
    vision_start_token_id=START, vision_end_token_id=END, image_token_id=IMAGE, video_token_id=VIDEO
)
MEAN = replace(QWEN3_EMBEDDING, name="mean", pooling="mean")
BOTH = replace(MEAN, name="both", attention="both", splits_prompts=False)
NORMED = replace(XLM_ROBERTA, name="normed", layer_norm=True, matryoshka_sizes=(64,))
ROWS = {row.name: row for row in (JINA_V4, XLM_ROBERTA, QWEN3_EMBEDDING, MEAN, BOTH, NORMED)}


async def check(engine: LayeredEngine, *, row: Model | None = None, task: str = "retrieval", most: int = 4096) -> None:
    """Check an engine for its own row."""
    row = row or engine.row
    await check_engine(engine, builder_for(row), LAYERED, row=row, task=task, max_tokens=most)


# --- pooling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROWS)
async def test_an_engine_that_does_what_its_row_says_passes(name: str) -> None:
    """Nothing is raised; few prompts are sent: texts of two lengths, both roles, and an image if the row takes any."""
    engine = LayeredEngine(ROWS[name])
    await check(engine)
    roles = 1 if name in ("xlm-roberta", "normed") else 2
    assert len(engine.asked) == len({*engine.asked}) == 1 + roles + ROWS[name].takes_images


POOLED = {
    "jina-v4": ["last_token", "first_token", "mean", "no markers"],
    "xlm-roberta": ["last_token", "mean"],
    "qwen3-embedding": ["first_token", "mean", "token before the last"],
    "mean": ["first_token", "last_token", "prefix cache"],
    "both": ["first_token", "last_token", "prefix cache"],
    "normed": ["mean", "no layer norm", "norm after the cut"],
}
MESSAGES = {
    "jina-v4": "does not average the vision spans",
    "xlm-roberta": "does not pool by the first token",
    "qwen3-embedding": "does not pool by the last token",
    "mean": "does not average all tokens",
    "both": "does not average all tokens",
    "normed": "does not pool by the first token",
}


@pytest.mark.parametrize(
    ("name", "mistake"),
    [(name, one) for name in ROWS for one in (*POOLED[name], "not normalised", "another size")],
)
async def test_an_engine_that_pools_otherwise_is_refused(name: str, mistake: str) -> None:
    """Whatever it does instead: the check is on the host, and of the row."""
    with pytest.raises(EngineError, match=MESSAGES[name]):
        await check(LayeredEngine(ROWS[name], mistake))


async def test_a_prefix_cache_is_found_where_images_are_pooled() -> None:
    """The second answer would miss what is cached."""
    with pytest.raises(EngineError, match="does not average the vision spans"):
        await check(LayeredEngine(JINA_V4, "prefix cache"))


async def test_the_full_length_and_the_shortest_are_asked_for() -> None:
    """Those of the row, whatever config.json lists: vLLM is told to take any."""
    sizes = set()

    class Listing(LayeredEngine):
        async def embed(self, prompt: Prompt, *, dimensions: int, task: str, **options: Any) -> Floats:
            sizes.add(dimensions)
            return await super().embed(prompt, dimensions=dimensions, task=task, **options)

    await check_engine(Listing(NORMED), builder_for(NORMED), LAYERED, row=NORMED, task="retrieval", max_tokens=4096)
    full = max(sizes)
    assert sizes == {full, min(*NORMED.matryoshka_sizes, full)}
    assert len(sizes) == 2


# --- token ids --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["jina-v4", "qwen3-embedding", "xlm-roberta"])
@pytest.mark.parametrize("mistake", ["tokens made anew", "one token more"])
async def test_an_engine_that_computes_other_tokens_is_refused(name: str, mistake: str) -> None:
    """Its vectors equal the pooling of its own states, and yet are those of another prompt."""
    with pytest.raises(
        EngineError, match=r"computes other tokens than those sent: from place \d+ on, got \[.*\], sent \["
    ):
        await check(LayeredEngine(ROWS[name], mistake))


async def test_an_engine_that_leaves_a_token_out_is_refused() -> None:
    with pytest.raises(EngineError, match=r"gives \d+ token states for \d+ tokens"):
        await check(LayeredEngine(XLM_ROBERTA, "one state less"))


# --- attention --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROWS)
async def test_attention_of_the_other_kind_is_refused(name: str) -> None:
    """Its vectors equal the pooling of its own states here too; what a row does not say is not checked."""
    row = ROWS[name]
    message = "lets the first tokens .*is_causal': True" if row.attention == "causal" else "does not let the first"
    with pytest.raises(EngineError, match=message):
        await check(LayeredEngine(row, "other attention"))
    await check(LayeredEngine(replace(row, attention=None), "other attention"))


async def test_rounding_is_not_taken_for_attention() -> None:
    """Kernels of another batch round bfloat16 otherwise."""

    class Rounding(LayeredEngine):
        def _states(self, prompt: Prompt) -> TokenStates:
            tokens = super()._states(prompt)
            noise = np.random.default_rng(len(tokens.states)).normal(size=tokens.states.shape)
            return replace(tokens, states=np.asarray(tokens.states * (1 + 2e-3 * noise), dtype=np.float32))

    await check(Rounding(QWEN3_EMBEDDING))
    with pytest.raises(EngineError, match="does not let the first tokens"):
        await check(Rounding(BOTH, "other attention"))


async def test_an_engine_of_short_prompts_is_checked_with_what_it_takes() -> None:
    """Both texts are cut to the same tokens there, which tells nothing of attention."""
    for row, most in ((XLM_ROBERTA, 5), (JINA_V4, 9)):
        engine = LayeredEngine(row)
        await check(engine, most=most)
        texts = [ids for ids in engine.asked if PAD not in ids]
        assert [len(ids) for ids in texts] == [most] * len(texts)


async def test_prompts_that_are_filled_up_have_their_whole_length_here_too() -> None:
    """However long: a shorter one is none of the model's."""
    row = replace(BOTH, name="filled", padding=Special("<|im_end|>"))
    engine, length = LayeredEngine(row), 300
    builder = builder_of(row, make_tokenizer().to_str(), length=length)
    await check_engine(engine, builder, LAYERED, row=row, task="retrieval", max_tokens=length)
    assert {len(ids) for ids in engine.asked} == {length}


# --- multi-vectors ----------------------------------------------------------------------------------------------------


class PoolingEngine(FakeEngine):
    """Has token states of its own; a mistake is made with them."""

    def __init__(self, mistake: str = "") -> None:
        super().__init__()
        self.mistake = mistake

    async def token_states(self, prompt: Prompt, *, task: str) -> TokenStates:
        """Expand the image to five tokens; each place has its own state."""
        ids = [one for token in prompt.token_ids for one in [token] * (5 if token == IMAGE else 1)]
        rows = [vector_of(Prompt(token_ids=(token, place)), 128) * (1 + place) for place, token in enumerate(ids)]
        return TokenStates(token_ids=tuple(ids), states=np.stack(rows))


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


ALONE = replace(
    QWEN3_EMBEDDING, name="alone", pooling=None, score="maxsim", projector=TokenLayer(names=("p",)), token_side=32
)


class ProjectingLayers(LayeredEngine):
    """Has multi-vectors of its own states alone."""

    async def multi_vector(self, prompt: Prompt, *, task: str, urgent: bool = False) -> Floats:
        """Project, perhaps with a mistake."""
        states = self._states(prompt).states
        mistake = next((one for one in self.mistakes if one in ("no bias", "another task")), "")
        return ProjectingEngine.project(states[1:] if "no first row" in self.mistakes else states, mistake)

    async def embed(self, prompt: Prompt, **others: Any) -> Floats:
        raise AssertionError("this row has no embedding")


async def check_alone(engine: LayeredEngine) -> None:
    layer = Projection(weight=ProjectingEngine.weight, bias=np.ones(8, dtype=np.float32))
    options: dict[str, Any] = {"row": ALONE, "task": "", "max_tokens": 4096}
    await check_engine(engine, builder_for(ALONE), LAYERED, layers=TokenLayers(projector=layer), **options)


async def test_multi_vectors_alone_are_checked_on_the_prompts_of_their_row() -> None:
    engine = ProjectingLayers(ALONE)
    await check_alone(engine)
    assert len(engine.asked) == 3


@pytest.mark.parametrize("mistake", ["no bias", "another task", "no first row"])
async def test_multi_vectors_alone_that_are_projected_wrongly_are_refused(mistake: str) -> None:
    """A bias that is left out among them."""
    with pytest.raises(EngineError, match="does not project multi-vectors"):
        await check_alone(ProjectingLayers(ALONE, mistake))


@pytest.mark.parametrize(
    ("mistake", "message"),
    [("other attention", "lets the first tokens"), ("one token more", "computes other tokens")],
)
async def test_tokens_and_attention_are_checked_without_a_pooling(mistake: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        await check_alone(ProjectingLayers(ALONE, mistake))


# --- all checks together ----------------------------------------------------------------------------------------------


class WaitingEngine(LayeredEngine):
    """Answers when as many prompts are inside as can be."""

    def __init__(self, row: Model, inside: int) -> None:
        super().__init__(row)
        self.barrier = asyncio.Barrier(inside)

    async def token_states(self, prompt: Prompt, *, task: str) -> TokenStates:
        """Wait for the others."""
        await self.barrier.wait()
        return await super().token_states(prompt, task=task)


async def test_the_prompts_of_all_checks_are_in_the_engine_at_once() -> None:
    """One after the other, each would read all weights of a large model by itself."""
    tasks = {"retrieval": 4, "text-matching": 3, "code": 4}  # both roles are one in the second
    engine = WaitingEngine(JINA_V4, sum(tasks.values()))
    async with asyncio.timeout(20):
        await together(check(engine, task=task) for task in tasks)


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
        await together([endless(), check(LayeredEngine(JINA_V4, "last_token"), task="code")])
    assert begun.is_set()
    async with asyncio.timeout(20):
        await ended.wait()
    assert not caplog.records


# --- numbers that are none --------------------------------------------------------------------------------------------


class Spoiling(LayeredEngine):
    """Pools rightly, then spoils what it gives: the vectors, or the token states that they are compared with."""

    def __init__(self, row: Model, spoil: Callable[[Floats], Floats], *, states: bool = False) -> None:
        super().__init__(row)
        self.spoil, self.spoils_states = spoil, states

    async def token_states(self, prompt: Prompt, *, task: str) -> TokenStates:
        """Spoil them, or not."""
        tokens = await super().token_states(prompt, task=task)
        return replace(tokens, states=self.spoil(tokens.states)) if self.spoils_states else tokens

    async def embed(self, prompt: Prompt, **others: Any) -> Floats:
        """Spoil it, or not."""
        found = await super().embed(prompt, **others)
        return found if self.spoils_states else self.spoil(found)


class SpoilingEngine(ProjectingEngine):
    """Projects rightly, then spoils what it gives, or the token states."""

    def __init__(self, spoil: Callable[[Floats], Floats], *, states: bool = False) -> None:
        super().__init__()
        self.spoil, self.spoils_states = spoil, states

    async def token_states(self, prompt: Prompt, *, task: str) -> TokenStates:
        """Spoil them, or not."""
        tokens = await super().token_states(prompt, task=task)
        return replace(tokens, states=self.spoil(tokens.states)) if self.spoils_states else tokens

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
    for row in (JINA_V4, XLM_ROBERTA, QWEN3_EMBEDDING):
        with pytest.raises(EngineError, match=MESSAGES[row.name]):
            await check(Spoiling(row, spoil))
    with pytest.raises(EngineError, match="multi-vectors of task 'code'"):
        await check_multi_vector(SpoilingEngine(spoil), CONFIG, task="code", expected=ProjectingEngine.project)


@pytest.mark.fire
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
async def test_token_states_that_are_not_finite_are_refused() -> None:
    """There is nothing to compare with then, and what is compared with nothing does not pass."""
    spoil = SPOILT["all nan"]
    for row in (JINA_V4, XLM_ROBERTA, QWEN3_EMBEDDING):
        with pytest.raises(EngineError, match=MESSAGES[row.name]):
            await check(Spoiling(row, spoil, states=True))
    engine = SpoilingEngine(spoil, states=True)
    with pytest.raises(EngineError, match="multi-vectors"):
        await check_multi_vector(engine, CONFIG, task="code", expected=ProjectingEngine.project)
