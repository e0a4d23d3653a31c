"""The real engine under threads, loops, cancellation and hostile items.

Right vectors in the right rows, or clear errors.
"""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import gc
import threading
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.real.test_faithful import FLOAT32_GATE
from tests.support.images import encoded, noise
from tests.support.reference import Reference, distance
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed._arrays import Floats
from vllm_jina_embed.engine.pool import running_engines
from vllm_jina_embed.errors import ClosedError, InputError

pytestmark = pytest.mark.real

ITEMS: list[Any] = [
    noise(60 + 7 * n, 120 - 5 * n, n) if n % 4 == 0 else f"text {n} " + "the quick brown fox " * (n % 9)
    for n in range(24)
]


@pytest.fixture(scope="module")
def singles(random_embedder: JinaEmbedder) -> Floats:
    """Each item embedded alone, one after the other."""
    rows = np.concatenate([random_embedder.embed([item]) for item in ITEMS])
    for row in range(len(rows)):  # else a mixed-up row would not be seen
        assert all(distance(rows[row], rows[other]) > 100 * FLOAT32_GATE for other in range(row))
    return rows


@pytest.mark.fire
def test_the_sockets_of_an_engine_are_in_its_own_folder(random_embedder: JinaEmbedder) -> None:
    """So that those of a killed one can be removed; ten stayed for each kill."""
    random_embedder.embed(["start"])
    engine, _ = random_embedder.backend.ready()
    folder = Path(engine._folder)  # type: ignore[attr-defined]
    assert [path.name for path in folder.iterdir() if path.is_socket()]


def rolled(values: Sequence[Any] | Floats, by: int) -> Any:
    """Return ``values`` in another order for each ``by``."""
    return np.roll(values, by, axis=0) if isinstance(values, np.ndarray) else [*values[-by:], *values[:-by]]


def reference_ids(reference: Reference, text: str, most: int = 4096) -> list[int]:
    """Return the ids of a passage whose special tokens are ordinary text."""
    encoded_text = reference.tokenizer("Passage: " + text, split_special_tokens=True, add_special_tokens=False)
    found: list[int] = encoded_text.input_ids[:most]
    return found


@torch.inference_mode()
def reference_vector(reference: Reference, ids: list[int]) -> np.ndarray:
    """Return the mean of the reference's states over ``ids``."""
    states = reference.model.model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0]
    return torch.nn.functional.normalize(states.mean(0), dim=-1).numpy()


class TestConcurrency:
    """vLLM merges its callers; nobody gets another's row."""

    def test_eight_threads_at_once(self, random_embedder: JinaEmbedder, singles: Floats) -> None:
        """Texts and images mixed, each thread in its own order."""
        gate = threading.Barrier(8)

        def call(thread: int) -> float:
            gate.wait(30)
            return distance(random_embedder.embed(rolled(ITEMS, thread)), rolled(singles, thread))

        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            assert max(threads.map(call, range(8))) <= FLOAT32_GATE

    def test_several_loops_at_once(self, random_embedder: JinaEmbedder, singles: Floats) -> None:
        """Three loops in three threads with three calls each, beside a sync caller."""

        async def calls(loop: int) -> float:
            orders = [5 * loop + call + 1 for call in range(3)]
            found = await asyncio.gather(*(random_embedder.aembed(rolled(ITEMS, by)) for by in orders))
            return max(distance(rows, rolled(singles, by)) for rows, by in zip(found, orders, strict=True))

        with concurrent.futures.ThreadPoolExecutor(3) as threads:
            loops = [threads.submit(asyncio.run, calls(loop)) for loop in range(3)]
            assert distance(random_embedder.embed(ITEMS), singles) <= FLOAT32_GATE
            assert max(loop.result(120) for loop in loops) <= FLOAT32_GATE

    async def test_a_sync_call_inside_a_running_loop(self, random_embedder: JinaEmbedder, singles: Floats) -> None:
        """As in a notebook."""
        assert distance(random_embedder.embed(ITEMS[:4]), singles[:4]) <= FLOAT32_GATE

    async def test_a_cancelled_call_leaves_the_engine_usable(
        self, random_embedder: JinaEmbedder, singles: Floats
    ) -> None:
        """Several times, at several moments; the next calls are right."""
        for wait in (0.0, 0.02, 0.1, 0.3):
            task = asyncio.create_task(random_embedder.aembed(ITEMS * 100))
            await asyncio.sleep(wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert distance(await random_embedder.aembed(ITEMS[:5]), singles[:5]) <= FLOAT32_GATE

    async def test_a_timeout_leaves_the_engine_usable(self, random_embedder: JinaEmbedder, singles: Floats) -> None:
        """asyncio.timeout sees its own TimeoutError."""
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await random_embedder.aembed(ITEMS * 100)
        assert distance(await random_embedder.aembed(ITEMS[:5]), singles[:5]) <= FLOAT32_GATE


class TestBadItems:
    """One bad item costs its own row only."""

    def test_one_bad_image_among_fifty(self, random_embedder: JinaEmbedder, singles: Floats) -> None:
        """The other 49 rows come with the error, and the engine lives on."""
        items, rows = (ITEMS * 3)[:50], np.concatenate([singles] * 3)[:50]
        items[33] = encoded(noise(50, 50))[:-200]
        with pytest.raises(InputError, match=r"items\[33\].*cannot be decoded") as caught:
            random_embedder.embed(items)
        assert caught.value.positions == (33,)
        good = [n for n in range(50) if n != 33]
        assert distance(caught.value.embeddings[good], rows[good]) <= FLOAT32_GATE
        assert np.isnan(caught.value.embeddings[33]).all()
        assert distance(random_embedder.embed(ITEMS), singles) <= FLOAT32_GATE

    def test_more_tokens_than_the_engine_holds(self, random_embedder: JinaEmbedder, singles: Floats) -> None:
        """Six large images in one item: only vLLM knows how many tokens they are; the position is named."""
        large = [noise(784, 756, seed) for seed in range(6)]
        with pytest.raises(InputError, match=r"items\[1\]: the engine refuses") as caught:
            random_embedder.embed([ITEMS[0], large, ITEMS[1], large[0]])
        assert caught.value.positions == (1,)
        assert distance(caught.value.embeddings[[0, 2]], singles[:2]) <= FLOAT32_GATE
        # The image that was in the refused item: vLLM's cache must not answer with nothing.
        assert distance(caught.value.embeddings[3], random_embedder.embed([large[0]])) <= FLOAT32_GATE

    def test_a_text_of_exactly_the_engines_length(
        self, random_embedder: JinaEmbedder, random_reference: Reference
    ) -> None:
        """4096 tokens pass uncut; one more loses its end, with one warning."""
        ids = reference_ids(random_reference, " a" * 5000, 4096)
        text = random_reference.tokenizer.decode(ids).removeprefix("Passage: ")
        assert reference_ids(random_reference, text, 9999) == ids
        expected = reference_vector(random_reference, ids)
        assert distance(random_embedder.embed_passages([text]), expected) <= FLOAT32_GATE
        with pytest.warns(UserWarning, match="1 of 1 texts"):
            got = random_embedder.embed_passages([text + " a"])
        assert distance(got, expected) <= FLOAT32_GATE

    @pytest.mark.parametrize(
        "text",
        [
            "<|vision_start|>",
            "<|vision_end|> before <|vision_start|>",
            "<|vision_start|><|image_pad|><|vision_end|>",
            "<|image_pad|>" * 300,
            "<|video_pad|>",
            "<|im_start|>user\n<|im_end|>\n",
            "<|endoftext|>",
            "\x00",
            "a\x00b",
            "\u200b",
            "\u202eright to left שלום مرحبا",
            "e\u0301" * 50,
            "👩‍👩‍👧‍👦" * 20,
            "\ufeff\ufffe\uffff",
            "\n" * 200 + "x",
        ],
        ids=lambda text: ascii(text)[:20],
    )
    def test_hostile_texts_are_embedded_as_text(
        self, random_embedder: JinaEmbedder, random_reference: Reference, text: str
    ) -> None:
        """The vector is the mean over ordinary tokens, as transformers gives it; a neighbour is untouched."""
        got = random_embedder.embed_passages([text, "a neighbour"])
        assert (
            distance(got[0], reference_vector(random_reference, reference_ids(random_reference, text))) <= FLOAT32_GATE
        )
        assert distance(got[1], random_reference.embed("Passage: a neighbour")) <= FLOAT32_GATE

    def test_a_megabyte_of_one_letter(self, random_embedder: JinaEmbedder, random_reference: Reference) -> None:
        """Cut to what the engine holds, with a warning."""
        text = "a" * 1_000_000
        with pytest.warns(UserWarning, match="longer than max_length"):
            got = random_embedder.embed_passages([text])
        assert distance(got, reference_vector(random_reference, reference_ids(random_reference, text))) <= FLOAT32_GATE

    def test_a_lone_surrogate_is_named(self, random_embedder: JinaEmbedder) -> None:
        """Before anything runs."""
        with pytest.raises(InputError, match=r"texts\[1\].*not valid Unicode"):
            random_embedder.embed_passages(["fine", "\ud800"])

    def test_every_form_of_an_image_is_one_vector(self, random_embedder: JinaEmbedder, tmp_path: Path) -> None:
        """Path, string, bytes, file, PIL, array, data URI; alone and as one of several in a list of one."""
        image = noise(90, 70, 3)
        data = encoded(image)
        (tmp_path / "a.png").write_bytes(data)
        uri = "data:image/png;base64," + base64.b64encode(data).decode()
        forms: list[Any] = [tmp_path / "a.png", data, bytearray(data), BytesIO(data), image, np.asarray(image), uri]
        rows = random_embedder.embed([*forms, [data]])
        rows = np.concatenate([rows, random_embedder.embed_images([str(tmp_path / "a.png"), uri])])
        assert distance(rows, np.repeat(rows[:1], len(rows), axis=0)) <= FLOAT32_GATE


class TestLife:
    """Sharing, counting, closing."""

    def test_embedders_of_one_model_share_one_engine(
        self, random_embedder: JinaEmbedder, random_checkpoint: Path, singles: Floats
    ) -> None:
        """Closing one leaves the other's engine alone."""
        random_embedder.embed(ITEMS[:1])
        before = running_engines()
        with JinaEmbedder(random_checkpoint, task="text-matching", engine_kwargs={"dtype": "float32"}) as other:
            assert distance(other.embed(ITEMS[:1]), singles[:1]) <= FLOAT32_GATE
            assert running_engines() == before
        assert running_engines() == before
        assert distance(random_embedder.embed(ITEMS[:2]), singles[:2]) <= FLOAT32_GATE

    def test_steps_are_sized_for_bulk_work(self, random_embedder: JinaEmbedder) -> None:
        """As in vLLM's own ``LLM``: by itself ``AsyncLLM`` takes 128 requests, whatever the machine."""
        random_embedder.embed(ITEMS[:1])
        steps = random_embedder.backend.engine._llm.vllm_config.scheduler_config  # type: ignore[union-attr]
        assert (steps.max_num_seqs, steps.max_num_batched_tokens) == (256, 4096)

    def test_two_steps_of_prompts_are_in_the_engine(self, random_embedder: JinaEmbedder) -> None:
        """While one is computed, the other one's are packed and sent."""
        random_embedder.embed(ITEMS[:1])
        assert random_embedder.backend.engine.in_flight == 512  # type: ignore[union-attr]

    @pytest.mark.wide
    def test_other_pixel_bounds_are_another_engine_that_closes_while_busy(self, random_checkpoint: Path) -> None:
        """Both bounds reach the image processor; the last close() stops the engine and answers who still waits.

        Meanwhile Python's garbage collection leaves out what vLLM keeps in this process.
        """
        low, high = 40_000, 90_000
        reference = Reference(random_checkpoint, min_pixels=low, max_pixels=high)
        small, large = noise(60, 50, 1), noise(700, 600, 2)
        before = running_engines()
        embedder = JinaEmbedder(random_checkpoint, min_pixels=low, max_pixels=high, engine_kwargs={"dtype": "float32"})
        gc.unfreeze()  # what other engines of this run have frozen
        with embedder:
            got = embedder.embed_images([small, large])
            assert distance(got, np.stack([reference.embed(small), reference.embed(large)])) <= FLOAT32_GATE
            assert running_engines() == before + 1
            assert gc.get_freeze_count() > 100_000
            with concurrent.futures.ThreadPoolExecutor(1) as threads:
                busy = threads.submit(embedder.embed, ITEMS * 50)
                with pytest.raises(TimeoutError):
                    busy.result(0.5)
                embedder.close()
                with pytest.raises(ClosedError):
                    busy.result(60)
        assert running_engines() == before
        assert gc.get_freeze_count() == 0
