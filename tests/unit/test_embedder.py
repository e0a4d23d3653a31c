"""JinaEmbedder on an engine in memory: calls, settings, sharing, closing, threads and loops."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import json
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine, raw_of, vector_of, wait_until
from tests.support.images import encoded, noise
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed import JinaEmbedder, MediaPolicy
from vllm_jina_embed.engine.pool import EnginePool, running_engines
from vllm_jina_embed.errors import (
    ClosedError,
    ConfigError,
    EmbeddingWarning,
    EngineDeadError,
    EngineError,
    ForkedError,
    InputError,
)
from vllm_jina_embed.prompts.base import Prompt

Make = Callable[..., JinaEmbedder]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint without weights: its facts and its tokenizer."""
    path = tmp_path_factory.mktemp("checkpoint")
    config = {
        "model_type": "qwen2_5_vl",
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "text_config": {"hidden_size": 64},
        "matryoshka_dims": [16, 32, 64],
    }
    (path / "config.json").write_text(json.dumps(config))
    make_tokenizer().save(str(path / "tokenizer.json"))
    return path


@pytest.fixture
def engines() -> list[FakeEngine]:
    """Every engine that the test started."""
    return []


@pytest.fixture
def make(folder: Path, engines: list[FakeEngine]) -> Iterator[Make]:
    """Make embedders of a class whose engines live in memory; closes them all."""

    class InMemory(JinaEmbedder):
        delay: ClassVar[float] = 0.0
        fail: ClassVar[Exception | None] = None
        _pool: ClassVar[EnginePool]

    def start(config: Any) -> FakeEngine:
        delay, fail = InMemory.delay, InMemory.fail
        engines.append(FakeEngine(config, delay=lambda prompt: delay, fail=lambda prompt: fail))
        return engines[-1]

    InMemory._pool = EnginePool(start)
    made: list[JinaEmbedder] = []

    def build(*, delay: float = 0.0, fail: Exception | None = None, **keywords: Any) -> JinaEmbedder:
        InMemory.delay, InMemory.fail = delay, fail
        made.append(InMemory(folder, **keywords))
        return made[-1]

    yield build
    for embedder in made:
        embedder.close()
    assert all(engine.closed for engine in engines)


def prompt_of(text: str) -> Prompt:
    """Return a whole prompt text as a prompt."""
    return Prompt(token_ids=tuple(make_tokenizer().encode(text).ids))


def answer(text: str, dimensions: int = 64) -> np.ndarray:
    """Return what the engine gives for a whole prompt text."""
    return vector_of(prompt_of(text), dimensions)


class TestConstruction:
    """Constructing starts nothing and refuses what cannot be."""

    def test_starts_nothing(self, make: Make, engines: list[FakeEngine]) -> None:
        """The first call does."""
        embedder = make()
        assert engines == []
        embedder.embed_queries(["a"])
        embedder.embed_queries(["b"])
        assert len(engines) == 1

    def test_tells_its_facts(self, make: Make, folder: Path) -> None:
        """Without an engine."""
        embedder = make(task="code", dimensions=32)
        assert (embedder.model, embedder.task, embedder.dimensions) == (str(folder), "code", 32)
        with pytest.warns(DeprecationWarning, match="dimensions"):
            assert embedder.dimension == embedder.dimensions
        assert embedder.checkpoint.matryoshka_sizes == (16, 32, 64)
        assert embedder.fingerprint == make(task="code", dimensions=32).fingerprint != make(task="code").fingerprint
        assert repr(embedder) == f"JinaEmbedder({str(folder)!r}, task='code', dimensions=32)"

    def test_aliases_are_the_same_setting(self, make: Make) -> None:
        """truncate_dim and model_kwargs; both names at once are refused."""
        by_alias = make(truncate_dim=16, model_kwargs={"seed": 1})
        assert by_alias.settings == make(dimensions=16, engine_kwargs={"seed": 1}).settings
        twice: list[dict[str, Any]] = [
            {"dimensions": 16, "truncate_dim": 16},
            {"engine_kwargs": {}, "model_kwargs": {}},
        ]
        for both in twice:
            with pytest.raises(ConfigError, match="two names of one setting"):
                make(**both)

    def test_unknown_keywords_and_bad_values_are_refused(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """Never ignored; the object that never was neither warns about its close nor fails in it."""
        gc.collect()  # what other tests left is not judged here
        failed: list[Any] = []
        monkeypatch.setattr(sys, "unraisablehook", failed.append)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for keywords in ({"dimension": 16}, {"batch_size": 8}, {"device": "cuda"}):
                with pytest.raises(TypeError, match="unexpected keyword"):
                    make(**keywords)
            bad = ({"dimensions": 17}, {"task": "search"}, {"truncate": "x"}, {"on_error": "x"}, {"max_length": 0})
            for keywords in bad:
                with pytest.raises(ConfigError):
                    make(**keywords)
            gc.collect()
        assert (caught, failed) == ([], [])


class TestCalls:
    """What comes back."""

    def test_roles_have_their_prefix(self, make: Make) -> None:
        """Queries and passages differ, and embed() takes the role by name."""
        embedder = make()
        np.testing.assert_array_equal(embedder.embed_queries(["a", "b"]), [answer("Query: a"), answer("Query: b")])
        np.testing.assert_array_equal(embedder.embed_passages(["a"]), [answer("Passage: a")])
        np.testing.assert_array_equal(embedder.embed(["a"]), [answer("Passage: a")])
        np.testing.assert_array_equal(embedder.embed(["a"], prompt_name="query"), [answer("Query: a")])
        np.testing.assert_array_equal(make(task="text-matching").embed_passages(["a"]), [answer("Query: a")])

    def test_questions_overtake_documents(self, make: Make, engines: list[FakeEngine]) -> None:
        """A person waits for the first, an index for the second."""
        embedder = make()
        embedder.embed_passages(["a"])
        embedder.embed_queries(["a"])
        embedder.embed_images([noise(20, 20)])
        embedder.embed(["a"], prompt_name="query")
        assert engines[0].urgent == [False, True, False, True]

    def test_images_and_texts_mix(self, make: Make) -> None:
        """The same image has one vector in each call, role and form."""
        embedder = make()
        image = noise(40, 30)
        alone = embedder.embed_images([image])[0]
        mixed = embedder.embed(["a", image, encoded(image), [image, image]], prompt_name="query")
        np.testing.assert_array_equal(mixed[0], answer("Query: a"))
        np.testing.assert_array_equal(mixed[1], alone)
        np.testing.assert_array_equal(mixed[2], alone)
        assert not np.array_equal(mixed[3], alone)

    def test_nothing_gives_an_empty_array_without_an_engine(self, make: Make, engines: list[FakeEngine]) -> None:
        """All four calls, any iterable, the right width."""
        embedder = make(dimensions=32)
        for call in (embedder.embed_queries, embedder.embed_passages, embedder.embed_images, embedder.embed):
            empty: list[Any] = [[], (), iter([])]
            for nothing in empty:
                got = call(nothing)
                assert got.shape == (0, 32)
                assert got.dtype == np.float32
        assert embedder.embed([], dimensions=16).shape == (0, 16)
        assert engines == []

    async def test_nothing_awaited_gives_an_empty_array(self, make: Make, engines: list[FakeEngine]) -> None:
        """The same for the twins."""
        embedder = make()
        for call in (embedder.aembed_queries, embedder.aembed_passages, embedder.aembed_images, embedder.aembed):
            assert (await call([])).shape == (0, 64)
        assert engines == []

    async def test_the_twins_give_the_same(self, make: Make) -> None:
        """Every call and its awaited form."""
        embedder = make()
        image = noise(30, 30)
        pairs = [
            (await embedder.aembed_queries(["a"]), embedder.embed_queries(["a"])),
            (await embedder.aembed_passages(["a"]), embedder.embed_passages(["a"])),
            (await embedder.aembed_images([image]), embedder.embed_images([image])),
            (
                await embedder.aembed(["a", image], prompt_name="query"),
                embedder.embed(["a", image], prompt_name="query"),
            ),
        ]
        for awaited, waited in pairs:
            np.testing.assert_array_equal(awaited, waited)

    def test_dimensions_of_one_call(self, make: Make) -> None:
        """Override the embedder's own; others are refused before anything starts."""
        embedder = make(dimensions=32)
        np.testing.assert_array_equal(embedder.embed_queries(["a"], dimensions=16), [answer("Query: a", 16)])
        assert embedder.embed_queries(["a"]).shape == (1, 32)
        for bad in (17, 0, 16.0):
            with pytest.raises(ConfigError, match="choose one of 16, 32, 64"):
                embedder.embed_queries(["a"], dimensions=bad)

    async def test_an_input_type_chooses_the_role_and_the_task(self, make: Make, engines: list[FakeEngine]) -> None:
        """In every call that takes a role; unknown ones are refused before anything starts."""
        embedder = make()
        query, passage = answer("Query: a"), answer("Passage: a")
        for name, expected in (("search_query", query), ("query", query), ("document", passage), ("code.query", query)):
            rows = [
                embedder.embed(["a"], input_type=name)[0],
                (await embedder.aembed(["a"], input_type=name))[0],
                next(embedder.embed_stream(["a"], input_type=name)),
                *[row async for row in embedder.aembed_stream(["a"], input_type=name)],
            ]
            np.testing.assert_array_equal(rows, [expected] * 4)
            multi = [
                embedder.embed_multi_vector(["a"], input_type=name)[0],
                (await embedder.aembed_multi_vector(["a"], input_type=name))[0],
            ]
            role: Any = "query" if expected is query else "passage"
            np.testing.assert_array_equal(multi, embedder.embed_multi_vector(["a"], prompt_name=role) * 2)
        embedder.embed(["a"], input_type="code.passage")
        embedder.embed(["a"], input_type="text-matching", prompt_name=None)
        assert engines[0].tasks[-2:] == ["code", "text-matching"]
        np.testing.assert_array_equal(embedder.embed(["a"], input_type="text-matching"), [query])
        for wrong in ("clustering", "summarization.query"):
            with pytest.raises(
                ConfigError, match=f"input_type='{wrong}' means nothing to .*; choose one of query, pas"
            ):
                make().embed(["a"], input_type=wrong)
        with pytest.raises(ConfigError, match="both choose a role"):
            make().embed_queries(["a"], input_type="search_query")
        assert len(engines) == 1

    async def test_vectors_that_are_not_normalised(self, make: Make) -> None:
        """By the embedder's setting or the call's, from every method; cut to its size, and never multi-vectors."""
        raw, unit = make(normalize=False), make()
        (expected,) = unit.embed_queries(["a fox"], normalize=False)
        np.testing.assert_array_equal(expected, raw_of(prompt_of("Query: a fox"), 64))
        assert np.linalg.norm(expected) == pytest.approx(len(prompt_of("Query: a fox").token_ids))
        (shorter,) = raw.embed_queries(["a fox"], dimensions=16)
        np.testing.assert_array_equal(shorter, raw_of(prompt_of("Query: a fox"), 16))
        rows = [
            raw.embed_queries(["a fox"])[0],
            raw.embed(["a fox"], prompt_name="query")[0],
            next(raw.embed_stream(["a fox"], prompt_name="query")),
            next(unit.embed_stream(["a fox"], prompt_name="query", normalize=False)),
            (await raw.aembed_queries(["a fox"]))[0],
            *[row async for row in unit.aembed_stream(["a fox"], prompt_name="query", normalize=False)],
        ]
        np.testing.assert_array_equal(rows, [expected] * len(rows))
        (same,) = raw.embed_queries(["a fox"], normalize=True)
        np.testing.assert_array_equal(same, answer("Query: a fox"))
        (tokens,) = raw.embed_multi_vector(["a fox"])
        np.testing.assert_allclose(np.linalg.norm(tokens, axis=1), 1, atol=1e-6)
        image = noise(30, 40)
        assert np.linalg.norm(raw.embed_images([image])[0]) > 2
        with pytest.raises(ConfigError, match="normalize='no' must be True or False"):
            unit.embed(["a"], normalize="no")

    def test_unknown_overrides_are_refused(self, make: Make) -> None:
        """Never ignored."""
        with pytest.raises(TypeError, match="unexpected keyword"):
            make().embed_queries(["a"], truncate_dim=16)
        with pytest.raises(ConfigError, match="prompt_name='document'"):
            make().embed(["a"], prompt_name="document")  # type: ignore[arg-type]

    def test_progress_is_drawn_on_request(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """On stderr, by the embedder's setting or the call's."""
        make().embed_queries(["a"])
        make(show_progress=True).embed_queries(["a"], show_progress=False)
        assert capsys.readouterr().err == ""
        make().embed_queries(["a"] * 3, show_progress=True)
        make(show_progress=True).embed_queries(["a"] * 3)
        shown = capsys.readouterr()
        assert shown.err.count("3/3") >= 2
        assert shown.out == ""

    def test_a_policy_holds(self, make: Make, tmp_path: Path) -> None:
        """For every image of the embedder."""
        (tmp_path / "a.png").write_bytes(encoded(noise(20, 20)))
        with pytest.raises(InputError, match="allows no local files"):
            make(media=MediaPolicy(allow_local_files=False)).embed_images([tmp_path / "a.png"])
        assert make().embed_images([tmp_path / "a.png"]).shape == (1, 64)


class TestErrors:
    """Bad items."""

    @pytest.mark.fire
    def test_wrong_types_cost_themselves_alone(self, make: Make, engines: list[FakeEngine]) -> None:
        """All positions at once, and the others are computed."""
        with pytest.raises(InputError) as caught:
            make().embed_queries(["a", "", "b", None])  # type: ignore[list-item]
        assert caught.value.positions == (1, 3)
        np.testing.assert_array_equal(caught.value.embeddings[[0, 2]], make().embed_queries(["a", "b"]))
        assert np.isnan(caught.value.embeddings[[1, 3]]).all()

    def test_a_text_too_long_is_named_and_no_other_is_lost(self, make: Make, engines: list[FakeEngine]) -> None:
        """With NONE, as vLLM calls it; with START the engine gets the prefix and the end of the text."""
        long = "the quick brown fox " * 20
        with pytest.raises(InputError, match=r"^texts\[1\]: got \d+ tokens; max_length is 9") as caught:
            make(truncate="NONE", max_length=9).embed_passages(["a", long, "b"])
        assert caught.value.positions == (1,)
        np.testing.assert_array_equal(caught.value.embeddings[[0, 2]], make().embed_passages(["a", "b"]))
        with pytest.warns(UserWarning, match="lost their start"):
            make(truncate="START", max_length=9).embed_passages([long])
        whole, prefix = prompt_of(f"Passage: {long}").token_ids, prompt_of("Passage:").token_ids
        assert engines[-1].prompts[-1].token_ids == (*prefix, *whole[len(prefix) - 9 :])

    @pytest.mark.fire
    def test_a_call_with_nothing_good_starts_nothing(self, make: Make, engines: list[FakeEngine]) -> None:
        for value in ("", None, 7, [], "\ud800"):
            with pytest.raises(InputError, match=r"items\[0\]: got ") as caught:
                make().embed([value])  # type: ignore[list-item]
            assert caught.value.embeddings.shape == (1, 64)
        assert engines == []

    @pytest.mark.fire
    @pytest.mark.parametrize("dimensions", [None, 16])
    async def test_skip_is_the_same_for_what_is_found_before_the_run(self, make: Make, dimensions: int | None) -> None:
        """Blank texts, None, numbers, lists of texts, broken images, one whose file is away."""
        items: list[Any] = ["a", "", None, 7, ["b"], b"broken", Path("no/such.png"), noise(20, 20), "c", "\ud800"]
        embedder = make(on_error="skip")
        with pytest.warns(UserWarning, match="rows are NaN: 7 of 10 items") as caught:
            rows = embedder.embed(items, dimensions=dimensions)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert np.isnan(rows).any(axis=1).tolist() == [
            item not in ("a", "c") and position != 7 for position, item in enumerate(items)
        ]
        good = embedder.embed(["a", items[7], "c"], dimensions=dimensions)
        np.testing.assert_array_equal(rows[[0, 7, 8]], good)
        with pytest.warns(UserWarning, match="7 of 10 items"):
            np.testing.assert_array_equal(await embedder.aembed(items, dimensions=dimensions), rows)
        with pytest.warns(UserWarning, match="7 of 10 items"):
            np.testing.assert_array_equal(list(embedder.embed_stream(items, dimensions=dimensions)), rows)
        with pytest.warns(UserWarning, match="7 of 10 items"):
            np.testing.assert_array_equal(
                [row async for row in embedder.aembed_stream(items, dimensions=dimensions)], rows
            )
        with pytest.warns(UserWarning, match="multi-vectors are empty: 7 of 10 items"):
            multi = embedder.embed_multi_vector(items)
        assert [len(row) == 0 for row in multi] == np.isnan(rows).any(axis=1).tolist()

    @pytest.mark.fire
    def test_a_call_may_say_it_for_itself(self, make: Make) -> None:
        with pytest.raises(InputError, match=r"items\[0\]"):
            make(on_error="skip").embed([""], on_error="raise")
        with pytest.warns(UserWarning, match="NaN"):
            assert np.isnan(make().embed([""], on_error="skip")).all()
        with pytest.raises(ConfigError, match="on_error='ignore' is unknown; choose one of raise, skip"):
            make().embed(["a"], on_error="ignore")

    @pytest.mark.fire
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_what_the_model_gives_that_is_not_finite_is_that_item_s_error(
        self, make: Make, monkeypatch: pytest.MonkeyPatch, value: float
    ) -> None:
        async def embed(self: Any, prompt: Any, **options: Any) -> Any:
            rows = await given(self, prompt, **options)
            if prompt.images:
                rows[3] = value
            return rows

        given = FakeEngine.embed
        monkeypatch.setattr(FakeEngine, "embed", embed)
        with pytest.raises(InputError, match=r"items\[1\]: the model gave NaN or infinity") as caught:
            make().embed(["a", noise(20, 20), "b"])
        assert np.isnan(caught.value.embeddings).any(axis=1).tolist() == [False, True, False]

    @pytest.mark.fire
    @pytest.mark.parametrize("bad", ["", b"broken", None])
    @pytest.mark.parametrize("at", [0, 255, 256, 700])
    async def test_a_stream_has_given_what_came_before_its_error(self, make: Make, bad: Any, at: int) -> None:
        """To the item, whichever window it stands in; the error names its place in the stream."""
        items: list[Any] = [f"text {number}" for number in range(900)]
        items[at] = bad
        embedder, told = make(), list[Any]()
        rows = embedder.embed_stream(items)
        told.extend(islice(rows, at))
        with pytest.raises(InputError, match=rf"items\[{at}\]: ") as caught:
            next(rows)
        assert caught.value.positions == (at,)
        assert len(told) == at
        told.clear()
        arows = embedder.aembed_stream(items)
        told.extend([await anext(arows) for _ in range(at)])
        with pytest.raises(InputError, match=rf"items\[{at}\]: "):
            await anext(arows)
        assert len(told) == at

    def test_raise_names_every_position_and_keeps_what_was_computed(self, make: Make) -> None:
        """Nobody has to embed the other 48 again."""
        items: list[Any] = [f"text {n}" for n in range(50)]
        items[10], items[30] = b"broken", Path("no/such/file.png")
        with pytest.raises(InputError, match="2 of 50 items") as caught:
            make().embed(items)
        assert caught.value.positions == (10, 30)
        assert [problem[:9] for problem in caught.value.problems] == ["items[10]", "items[30]"]
        kept = caught.value.embeddings
        assert np.isnan(kept).any(axis=1).nonzero()[0].tolist() == [10, 30]
        np.testing.assert_array_equal(kept[11], answer("Passage: text 11"))

    def test_objects_whose_own_code_raises_are_bad_items(self, make: Make) -> None:
        """Looked at or read, alone or in a list of images: their positions, and the vectors of the others."""

        class Broken:
            def __getattribute__(self, name: str) -> Any:
                raise ZeroDivisionError("mine")

        closed = noise(20, 20)
        closed.close()
        items: list[Any] = ["a text", Broken(), noise(20, 20), closed, [noise(20, 20), Broken()], noise(30, 20)]
        with pytest.raises(InputError, match="3 of 6 items") as caught:
            make().embed(items)
        assert caught.value.positions == (1, 3, 4)
        assert np.isfinite(caught.value.embeddings[[0, 2, 5]]).all()
        with pytest.raises(InputError, match="3 of 5 items") as caught:
            make().embed_images(items[1:])
        assert caught.value.positions == (0, 2, 3)
        with pytest.raises(InputError):
            make().embed(Broken())  # type: ignore[arg-type]

    def test_skip_gives_nan_rows_and_one_warning(self, make: Make) -> None:
        """The warning names the positions and points at the caller's line."""
        with pytest.warns(UserWarning, match=r"images\[1\]") as caught:
            got = make(on_error="skip").embed_images([noise(20, 20), b"broken", noise(30, 20)])
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert np.isnan(got).any(axis=1).tolist() == [False, True, False]

    def test_too_long_texts_give_one_warning(self, make: Make) -> None:
        """Positions, the lost end, the caller's line; the first ten positions only."""
        with pytest.warns(
            UserWarning, match=r"12 of 13 texts.*lost their end .*0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\."
        ) as caught:
            make(max_length=20).embed_queries([*["fox " * 50] * 12, "a"])
        assert (len(caught), caught[0].filename) == (1, __file__)
        with pytest.warns(UserWarning, match=r"1 of 2 texts.*lost their start \(positions 1\)"):
            make(max_length=20, truncate="start").embed_queries(["a", "fox " * 50])

    async def test_awaited_warnings_point_at_the_caller_too(self, make: Make) -> None:
        """The same line in async code."""
        with pytest.warns(UserWarning, match="lost their end") as caught:
            await make(max_length=20).aembed_queries(["fox " * 50])
        assert (len(caught), caught[0].filename) == (1, __file__)

    def test_too_long_texts_are_an_error_on_request(self, make: Make) -> None:
        """By position."""
        with pytest.raises(InputError, match=r"texts\[1\]: got \d+ tokens; max_length is 20") as caught:
            make(max_length=20, truncate="error").embed_queries(["a", "fox " * 50])
        assert caught.value.positions == (1,)


class TestWarningsThatAreErrors:
    """``python -W error``: what was computed hangs on the warning, complete."""

    TEXTS: ClassVar[list[Any]] = ["a", "fox " * 50, None, "b"]

    @pytest.fixture(autouse=True)
    def strict(self) -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield

    async def test_a_cut_text(self, make: Make) -> None:
        embedder = make(max_length=20)
        with pytest.raises(UserWarning, match="lost their end") as caught:
            embedder.embed(self.TEXTS[:2])
        assert isinstance(caught.value, EmbeddingWarning)
        np.testing.assert_array_equal(caught.value.embeddings[:1], embedder.embed(["a"]))
        assert np.isfinite(caught.value.embeddings).all()
        with pytest.raises(EmbeddingWarning) as caught:
            await embedder.aembed_multi_vector(self.TEXTS[:2])
        assert all(len(rows) for rows in caught.value.embeddings)

    async def test_a_skipped_item(self, make: Make) -> None:
        embedder = make(on_error="skip")
        with pytest.raises(EmbeddingWarning, match=r"items\[2\]") as caught:
            await embedder.aembed(self.TEXTS)
        assert np.isnan(caught.value.embeddings).any(axis=1).tolist() == [False, False, True, False]
        np.testing.assert_array_equal(caught.value.embeddings[3:], embedder.embed(["b"]))

    def test_the_error_of_a_call_comes_first(self, make: Make) -> None:
        """It says more than that a text was cut."""
        with pytest.raises(InputError) as caught:
            make(max_length=20).embed(self.TEXTS)
        assert caught.value.positions == (2,)
        assert np.isnan(caught.value.embeddings).any(axis=1).tolist() == [False, False, True, False]

    async def test_a_stream(self, make: Make) -> None:
        """All of the window was yielded before."""
        rows = make(max_length=20).embed_stream(self.TEXTS[:2])
        assert all(np.isfinite(next(rows)).all() for _ in range(2))
        with pytest.raises(EmbeddingWarning):
            next(rows)
        awaited = make(on_error="skip").aembed_stream(self.TEXTS)
        assert [bool(np.isfinite(await anext(awaited)).all()) for _ in range(4)] == [True, True, False, True]
        with pytest.raises(EmbeddingWarning):
            await anext(awaited)


class TestSharing:
    """One engine for all that want the same one."""

    def test_embedders_of_one_configuration_share(self, make: Make, engines: list[FakeEngine]) -> None:
        """Task, dimensions, truncation and policy do not make another engine."""
        embedders = [make(), make(task="code"), make(dimensions=16), make(truncate="start", max_length=9)]
        for embedder in embedders:
            embedder.embed_queries(["a"])
        assert len(engines) == 1

    def test_other_pixel_bounds_or_keywords_start_another(self, make: Make, engines: list[FakeEngine]) -> None:
        """What the engine itself must know."""
        for keywords in ({}, {"max_pixels": 100_000}, {"min_pixels": 4000}, {"engine_kwargs": {"seed": 1}}):
            make(**keywords).embed_queries(["a"])
        assert len(engines) == 4
        configs = [engine.config for engine in engines if engine.config is not None]
        assert [(c.min_pixels, c.max_pixels) for c in configs[:2]] == [(3136, 602112), (3136, 100_000)]

    def test_the_last_close_stops_the_engine(self, make: Make, engines: list[FakeEngine]) -> None:
        """An embedder that never called anything does not count."""
        a, b, idle = make(), make(), make()
        a.embed_queries(["a"])
        b.embed_queries(["a"])
        idle.close()
        a.close()
        a.close()
        assert engines[0].closed == 0
        b.embed_queries(["a"])
        b.close()
        assert engines[0].closed == 1

    def test_the_packages_own_pool_is_untouched(self, make: Make) -> None:
        """These tests start no vLLM."""
        before = running_engines()
        make().embed_queries(["a"])
        assert running_engines() == before


class TestClosing:
    """close(), with, forgetting, and using it afterwards."""

    def test_use_after_close_is_an_error(self, make: Make, engines: list[FakeEngine]) -> None:
        """Every call, also with nothing to do; no engine comes back to life."""
        embedder = make()
        embedder.embed_queries(["a"])
        embedder.close()
        for call in (embedder.embed_queries, embedder.embed_passages, embedder.embed):
            for items in (["a"], []):
                with pytest.raises(ClosedError, match="is closed"):
                    call(items)
        with pytest.raises(ClosedError):
            embedder.embed_images([noise(20, 20)])
        assert len(engines) == 1

    async def test_awaited_use_after_aclose_is_an_error(self, make: Make) -> None:
        """The twins."""
        embedder = make()
        await embedder.aembed_queries(["a"])
        await embedder.aclose()
        await embedder.aclose()
        with pytest.raises(ClosedError):
            await embedder.aembed_queries(["a"])

    def test_with_closes(self, make: Make, engines: list[FakeEngine]) -> None:
        """After an error as well."""
        embedder = make()
        embedder.embed_queries(["a"])
        with pytest.raises(ConfigError), embedder:
            embedder.embed_queries(["a"], dimensions=17)
        assert engines[0].closed == 1

    async def test_async_with_closes(self, make: Make, engines: list[FakeEngine]) -> None:
        """The same."""
        async with make() as embedder:
            await embedder.aembed_queries(["a"])
        assert engines[0].closed == 1

    def test_closing_while_a_call_waits_is_a_closed_error(self, make: Make, engines: list[FakeEngine]) -> None:
        """Neither a bare CancelledError nor a hang."""
        embedder = make(delay=60)
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            future = threads.submit(embedder.embed_queries, ["a"])
            wait_until(lambda: engines and engines[0].prompts)
            embedder.close()
            with pytest.raises(ClosedError, match="closed before this call was done"):
                future.result(10)

    async def test_closing_while_a_call_is_awaited_is_a_closed_error(
        self, make: Make, engines: list[FakeEngine]
    ) -> None:
        """A CancelledError would look as if the caller's own task were cancelled."""
        embedder = make(delay=60)
        task = asyncio.create_task(embedder.aembed_queries(["a"]))
        await asyncio.to_thread(wait_until, lambda: engines and engines[0].prompts)
        await embedder.aclose()
        with pytest.raises(ClosedError, match="closed before this call was done"):
            async with asyncio.timeout(10):
                await task

    @pytest.mark.parametrize("kind", [EngineDeadError, EngineError])
    @pytest.mark.parametrize("closed", [True, False])
    async def test_an_engine_that_fails_is_told_from_one_that_was_closed(
        self, make: Make, engines: list[FakeEngine], closed: bool, kind: type[EngineError]
    ) -> None:
        """vLLM answers both in the same way."""
        embedder = make(delay=0.2, fail=kind("gone"))
        expected = ClosedError if closed else kind
        waited = asyncio.create_task(asyncio.to_thread(embedder.embed_queries, ["a"]))
        awaited = asyncio.create_task(embedder.aembed_queries(["b"]))
        await asyncio.to_thread(wait_until, lambda: engines and len(engines[0].prompts) == 2)
        if closed:
            embedder.backend._closed = True  # the moment in which close() stops the engine
        for task in (waited, awaited):
            with pytest.raises(expected) as caught:
                await task
            assert caught.value.__suppress_context__
        embedder.backend._closed = False

    def test_a_forgotten_close_warns(self, make: Make) -> None:
        """Once it was used; an unused or closed one is silent."""
        kind, folder = type(make()), make().model
        for use, close, expected in ((True, False, 1), (True, True, 0), (False, False, 0)):
            embedder = kind(folder)
            if use:
                embedder.embed_queries(["a"])
            if close:
                embedder.close()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                del embedder
                gc.collect()
            assert [warning.category for warning in caught] == [ResourceWarning] * expected
        kind._pool.close()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_use_in_a_forked_child_is_an_error_at_once(self, make: Make) -> None:
        """It names the way out; the parent goes on."""
        embedder = make()
        embedder.embed_queries(["a"])
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                embedder.embed_queries(["a"])
            except ForkedError as error:
                os.write(writer, str(error).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as said:
            assert b"'spawn'" in said.read()
        os.waitpid(child, 0)
        assert embedder.embed_queries(["a"]).shape == (1, 64)


class TestConcurrency:
    """Any thread, any loop."""

    def test_threads_get_their_own_rows(self, make: Make, engines: list[FakeEngine]) -> None:
        """Eight at once on a new embedder: one engine, right vectors."""
        embedder = make(delay=0.001)
        gate = threading.Barrier(8)

        def call(thread: int) -> bool:
            gate.wait(5)
            texts = [f"{thread} {n}" for n in range(30)]
            return np.array_equal(embedder.embed_queries(texts), [answer(f"Query: {text}") for text in texts])

        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            assert all(threads.map(call, range(8)))
        assert len(engines) == 1

    def test_loops_get_their_own_rows(self, make: Make, engines: list[FakeEngine]) -> None:
        """Four event loops in four threads on one embedder."""
        embedder = make(delay=0.001)

        async def gather(thread: int) -> bool:
            lists = [[f"{thread} {call} {n}" for n in range(10)] for call in range(5)]
            rows = await asyncio.gather(*map(embedder.aembed_passages, lists))
            return all(
                np.array_equal(got, [answer(f"Passage: {text}") for text in texts])
                for got, texts in zip(rows, lists, strict=True)
            )

        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            assert all(threads.map(lambda thread: asyncio.run(gather(thread)), range(4)))
        assert len(engines) == 1

    async def test_a_sync_call_inside_a_running_loop_works(self, make: Make) -> None:
        """As in a notebook."""
        np.testing.assert_array_equal(make().embed_queries(["a"]), [answer("Query: a")])

    async def test_the_first_awaited_call_does_not_block_the_loop(self, make: Make) -> None:
        """The start of the engine happens elsewhere."""
        slow = make()
        pool = type(slow)._pool
        with pool._lock:  # as if another thread were starting an engine
            task = asyncio.create_task(slow.aembed_queries(["a"]))
            for _ in range(5):
                await asyncio.sleep(0.01)
            assert not task.done()
        assert (await task).shape == (1, 64)

    async def test_cancelling_frees_the_engine(self, make: Make, engines: list[FakeEngine]) -> None:
        """The caller sees its own CancelledError and the embedder goes on."""
        embedder = make(delay=60)
        task = asyncio.create_task(embedder.aembed_queries(["a", "b"]))
        await asyncio.to_thread(wait_until, lambda: engines and len(engines[0].prompts) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(wait_until, lambda: engines[0].cancelled == 2)


@pytest.mark.parametrize(
    "code", ["import vllm_jina_embed", "import vllm_jina_embed; vllm_jina_embed.JinaEmbedder('{model}')"]
)
def test_importing_and_constructing_load_nothing_heavy(code: str, folder: Path) -> None:
    """Neither vllm nor torch, transformers, langchain or llama_index."""
    heavy = "vllm", "torch", "transformers", "langchain_core", "llama_index"
    program = code.format(model=folder) + f"; import sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
