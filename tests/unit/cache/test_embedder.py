"""Cached embedders: what is computed once, what never collides, and what is said about bad items."""

from __future__ import annotations

import itertools
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data import old_cache
from tests.support.fake_engine import FakeEngine
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import JinaEmbedder, MediaPolicy
from vllm_jina_embed.cache import backend as cache
from vllm_jina_embed.cache import keys as cache_keys
from vllm_jina_embed.cache.embedder import CachedEmbedder
from vllm_jina_embed.embedding.backend import Request
from vllm_jina_embed.embedding.outcomes import Outcome
from vllm_jina_embed.errors import ClosedError, ConfigError, EmbeddingWarning, InputError
from vllm_jina_embed.prompts.base import Prompt

COMMIT = "4a58ca57710c49f51896e4bc820e202fbf64904b"


class Memory:
    """A store that counts."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.reads = self.writes = 0

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        self.reads += 1
        return [self.values.get(key) for key in keys]

    def put_many(self, values: Mapping[str, bytes]) -> None:
        self.writes += 1
        self.values.update(values)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def engines() -> list[FakeEngine]:
    """Every engine that the test started."""
    return []


@pytest.fixture
def store() -> Memory:
    return Memory()


class Nothing(old_cache.Given):
    """A backend that computes nothing."""

    def __init__(self) -> None:
        super().__init__(np.empty(0))

    def run(self, request: Request) -> Outcome:
        raise AssertionError("the cache has it")


Make = Callable[..., CachedEmbedder]


@pytest.fixture
def make(folder: Path, engines: list[FakeEngine], store: Memory) -> Iterator[Make]:
    """Make cached embedders on engines in memory; closes them all."""
    made: list[JinaEmbedder] = []

    def build(
        *,
        kind: type[CachedEmbedder] = CachedEmbedder,
        fail: Callable[[Prompt], Exception | None] = lambda prompt: None,
        into: Any = None,
        model: Any = None,
        **keywords: Any,
    ) -> CachedEmbedder:
        made.append(in_memory(engines, fail=fail)(model or folder, **keywords))
        return kind(made[-1], store if into is None else into)

    yield build
    for embedder in made:
        embedder.close()


def computed(engines: list[FakeEngine]) -> int:
    """Return how many prompts reached an engine."""
    return sum(len(engine.prompts) for engine in engines)


MIXED: list[Any] = ["a", noise(40, 30, seed=1), "b", [noise(30, 30, seed=2), noise(30, 30, seed=3)], "a"]


class TestHits:
    """What was embedded once is not embedded again, and is the same to the bit."""

    async def test_hit_equals_miss_bit_for_bit_in_every_call(self, make: Make, engines: list[FakeEngine]) -> None:
        """Texts in both roles, images, mixed lists, streams; sync and async share what they find."""
        first, second = make(), make()
        calls: list[Callable[[CachedEmbedder], np.ndarray]] = [
            lambda e: e.embed_queries(["a", "b"]),
            lambda e: e.embed_passages(["a", "b"]),
            lambda e: e.embed_images([noise(40, 30, seed=1)]),
            lambda e: e.embed(MIXED),
            lambda e: e.embed(MIXED, prompt_name="query", dimensions=16),
            lambda e: np.stack(list(e.embed_stream(MIXED))),
        ]
        missed = [call(first) for call in calls]
        bare = [call(first.embedder) for call in calls]
        before = computed(engines)
        hit = [call(second) for call in calls]
        awaited = [
            await second.aembed_queries(["a", "b"]),
            await second.aembed_passages(["a", "b"]),
            await second.aembed_images([noise(40, 30, seed=1)]),
            await second.aembed(MIXED),
            await second.aembed(MIXED, prompt_name="query", dimensions=16),
            np.stack([row async for row in second.aembed_stream(MIXED)]),
        ]
        assert computed(engines) == before
        for expected, *others in zip(missed, bare, hit, awaited, strict=True):
            assert expected.dtype == np.float32
            for other in others:
                assert (other.dtype, other.tobytes()) == (expected.dtype, expected.tobytes())

    def test_a_vector_that_is_not_normalised_has_an_entry_of_its_own(
        self, make: Make, engines: list[FakeEngine]
    ) -> None:
        """By the embedder's setting or the call's: neither kind answers for the other."""
        unit, raw = make(), make(normalize=False)
        rows = unit.embed(["a"]), raw.embed(["a"])
        assert computed(engines) == 2
        assert not np.array_equal(*rows)
        assert np.array_equal(raw.embed(["a"], normalize=True), rows[0])
        assert np.array_equal(unit.embed(["a"], normalize=False), rows[1])
        assert computed(engines) == 2

    async def test_hits_start_no_engine(self, make: Make, engines: list[FakeEngine]) -> None:
        """A second process with a full cache never loads the model."""
        make().embed(MIXED)
        assert len(engines) == 1
        second = make()
        second.embed(MIXED)
        await second.aembed(MIXED)
        assert len(engines) == 1

    def test_equal_inputs_of_one_call_are_computed_once(self, make: Make, engines: list[FakeEngine]) -> None:
        """The same pixels from a file, bytes and PIL are one image."""
        image = noise(50, 40)
        rows = make().embed(["a", image, "a", encoded(image), encoded(image, "BMP"), "b", "a"])
        assert computed(engines) == 3
        assert (rows[0] == rows[[2, 6]]).all()
        assert (rows[1] == rows[[3, 4]]).all()
        assert len({row.tobytes() for row in rows}) == 3

    def test_new_ones_among_old_ones_keep_the_order(self, make: Make, engines: list[FakeEngine]) -> None:
        """Only the new ones are computed."""
        embedder = make()
        embedder.embed_passages(["b", "d"])
        texts = list("abcde")
        assert (embedder.embed_passages(texts) == embedder.embedder.embed_passages(texts)).all()
        assert computed(engines) == 2 + 3 + 5

    def test_the_store_is_asked_once_for_many(self, make: Make, store: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
        """And once per bounded part of a large call, each of which is kept before the next is computed."""
        make().embed_passages([f"text {number}" for number in range(300)])
        assert (store.reads, store.writes) == (1, 1)
        monkeypatch.setattr(cache, "ITEMS", 100)
        monkeypatch.setattr(cache, "PIXELS", 3000)
        make().embed_passages([f"other {number}" for number in range(300)])
        assert (store.reads, store.writes) == (4, 4)
        make().embed_images([noise(50, 40, seed=seed) for seed in range(6)])
        assert (store.reads, store.writes) == (7, 7)

    def test_nothing_in_nothing_out(self, make: Make, store: Memory, engines: list[FakeEngine]) -> None:
        assert make().embed([], dimensions=16).shape == (0, 16)
        assert (store.reads, engines) == (0, [])

    @pytest.mark.parametrize("kind", [bytearray, memoryview, lambda value: memoryview(bytearray(value))])
    def test_a_store_may_give_any_bytes(self, make: Make, store: Memory, engines: list[FakeEngine], kind: Any) -> None:
        """Drivers of databases do; what is damaged among them is still none."""
        embedder = make()
        rows = embedder.embed(["a", "b"])
        before = computed(engines)
        store.values = {key: kind(value) for key, value in store.values.items()}
        np.testing.assert_array_equal(embedder.embed(["a", "b"]), rows)
        assert computed(engines) == before
        store.values = {key: kind(bytes(value)[:-1]) for key, value in store.values.items()}
        np.testing.assert_array_equal(embedder.embed(["a", "b"]), rows)
        assert computed(engines) == before + 2

    def test_threads_share_it(self, make: Make, engines: list[FakeEngine], tmp_path: Path) -> None:
        """Every thread gets its own texts' vectors, from an SQLite file too."""
        for into in (None, tmp_path / "cache.sqlite"):
            embedder = make(into=into)
            lists = [[f"{number % 7}", f"{(number + 1) % 7}"] for number in range(64)]
            with ThreadPoolExecutor(16) as threads:
                found = list(threads.map(embedder.embed_passages, lists))
            for texts, rows in zip(lists, found, strict=True):
                assert (rows == embedder.embedder.embed_passages(texts)).all()


def roles_are_kept_apart(embedder: CachedEmbedder) -> bool:
    """Whether the same text as query and as passage has the vectors that the engine gives, in either order."""
    for first, second in (("query", "passage"), ("passage", "query")):
        text = f"the same text, {first} first"
        for prompt_name in (first, second):
            expected = embedder.embedder.embed([text], prompt_name=prompt_name)
            if not (embedder.embed([text], prompt_name=prompt_name) == expected).all():
                return False
    return True


class TestKeys:
    """What decides a vector is in its key."""

    @pytest.mark.parametrize("task", ["retrieval", "code", "text-matching"])
    def test_query_and_passage_of_one_text_never_collide(self, make: Make, task: str) -> None:
        assert roles_are_kept_apart(make(task=task))

    def test_a_key_without_the_role_is_caught(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """The check above fails on the fault of both frameworks' own caches."""
        right = cache_keys.key
        monkeypatch.setattr(cache_keys, "key", lambda identity, role, content: right(identity, "", content))
        assert not roles_are_kept_apart(make())

    def test_settings_that_decide_a_vector_never_collide(self, make: Make, folder: Path, tmp_path: Path) -> None:
        """Dimensions, task, checkpoint, pixel bounds, lengths, engine options; all in one store."""
        other = write_folder(tmp_path / "other")
        variants: list[dict[str, Any]] = [
            {},
            {"dimensions": 16},
            {"task": "code"},
            {"model": other},
            {"min_pixels": 4000},
            {"max_pixels": 500_000},
            {"max_length": 100},
            {"truncate": "start"},
            {"engine_kwargs": {"dtype": "float16"}},
        ]
        embedders = [make(**variant) for variant in variants]
        keys = set()
        for embedder in embedders:
            identity = cache_keys.identity(embedder.settings)
            keys.update(cache_keys.key(identity, role, "text x") for role in ("query", "passage", "image"))
        assert len(keys) == 3 * len(variants)

    def test_other_settings_share_their_entries(self, make: Make, engines: list[FakeEngine]) -> None:
        """Limits for media and the handling of errors change no vector."""
        make().embed(MIXED)
        before = computed(engines)
        make(media=MediaPolicy(max_bytes=10**6), on_error="skip").embed(MIXED)
        assert computed(engines) == before

    def test_dimensions_of_a_call_are_those_of_an_embedder(self, make: Make, engines: list[FakeEngine]) -> None:
        """And never the full length's entry."""
        short = make().embed_passages(["a"], dimensions=16)
        before = computed(engines)
        assert (make(dimensions=16).embed_passages(["a"]) == short).all()
        assert computed(engines) == before
        assert make().embed_passages(["a"]).shape == (1, 64)
        assert computed(engines) == before + 1

    def test_new_weights_in_the_same_folder_are_another_checkpoint(
        self, make: Make, engines: list[FakeEngine], tmp_path: Path
    ) -> None:
        """Nor do they share the engine that runs with the old ones."""
        folder = write_folder(tmp_path / "trained")
        (folder / "model.safetensors").write_bytes(b"old")
        kind, store = in_memory(engines), Memory()
        with kind(folder).cached(store) as old:
            old.embed_passages(["a"])
            (folder / "model.safetensors").write_bytes(b"newer")
            with kind(folder).cached(store) as new:
                new.embed_passages(["a"])
                assert (len(engines), computed(engines)) == (2, 2)
                assert new.fingerprint != old.fingerprint

    def test_an_image_edited_in_place_is_computed_again(
        self, make: Make, engines: list[FakeEngine], tmp_path: Path
    ) -> None:
        """The path is the same, and so may size and time be; the pixels are not."""
        path = tmp_path / "a.png"
        embedder = make()
        noise(40, 30, seed=1).save(path)
        old = embedder.embed_images([path])
        noise(40, 30, seed=2).save(path)
        new = embedder.embed_images([path])
        assert computed(engines) == 2
        assert (new == embedder.embedder.embed_images([path])).all()
        assert not (new == old).all()

    def test_what_was_hashed_is_what_is_embedded(self, make: Make, tmp_path: Path) -> None:
        """A file that changes between the two would poison the cache; so it is read once."""
        path = tmp_path / "a.png"
        noise(40, 30, seed=1).save(path)

        class Changing(Memory):
            def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
                noise(40, 30, seed=2).save(path)
                return super().get_many(keys)

        embedder = make(into=Changing())
        assert (embedder.embed_images([path]) == embedder.embedder.embed_images([noise(40, 30, seed=1)])).all()

    def test_pixels_of_another_shape_are_another_image(self, make: Make, engines: list[FakeEngine]) -> None:
        """The same bytes as 30 x 40 and 40 x 30; and one item of two images is not the two in the other order."""
        wide = noise(40, 30)
        tall = Image.frombytes("RGB", (30, 40), wide.tobytes())
        images: list[Any] = [wide, tall, [wide, tall], [tall, wide]]
        make().embed(images)
        assert computed(engines) == 4

    def test_an_image_has_one_vector_in_both_roles(self, make: Make, engines: list[FakeEngine]) -> None:
        """It has no prefix."""
        embedder = make()
        image = noise(40, 30)
        assert (embedder.embed([image], prompt_name="query") == embedder.embed([image])).all()
        assert computed(engines) == 1

    @pytest.mark.parametrize("revision", [None, "main", "v1", COMMIT[:7]])
    def test_a_repository_that_may_change_is_not_cached(self, revision: str | None) -> None:
        """A branch or tag can move; the error says what to pass."""
        model = "jinaai/jina-embeddings-v4-vllm-retrieval"
        with pytest.raises(ConfigError, match="40 hex digits"):
            JinaEmbedder(model, revision=revision).cached(Memory())
        assert JinaEmbedder(model, revision=COMMIT).cached(Memory()).model == model

    def test_a_cache_of_version_0_1_still_answers(self, tmp_path: Path) -> None:
        """Every model, role, task and kind of item; no engine starts, and nothing is computed."""
        file = tmp_path / "cache.sqlite"
        shutil.copyfile(old_cache.__file__.replace(".py", ".sqlite"), file)
        for embedder, role, items, vectors in old_cache.rows():
            embedder.backend = Nothing()
            with embedder.cached(file) as cached, pytest.warns(EmbeddingWarning) if items[1:] else nullcontext():
                assert (cached.embed(items, prompt_name=role) == vectors).all()


class TestDamage:
    """A damaged entry is a miss, never a vector."""

    @pytest.mark.parametrize(
        "damage",
        [
            lambda value: b"",
            lambda value: value[:-1],
            lambda value: value + b"\0",
            lambda value: value[:-4] + bytes([value[-4] ^ 1]) + value[-3:],
            lambda value: bytes([value[0] ^ 1]) + value[1:],
            lambda value: value[:16] + bytes([value[16] ^ 1]) + value[17:],
            lambda value: bytes(len(value)),
            lambda value: "text",
            lambda value: None,
        ],
        ids=["empty", "short", "long", "bit", "checksum", "flag", "zeros", "type", "none"],
    )
    def test_a_damaged_entry_is_computed_again(
        self, make: Make, store: Memory, engines: list[FakeEngine], damage: Callable[[bytes], Any]
    ) -> None:
        """And replaced."""
        expected = make().embed_passages(["a", "b"])
        whole = dict(store.values)
        store.values = {key: damage(value) for key, value in whole.items()}
        assert (make().embed_passages(["a", "b"]) == expected).all()
        assert computed(engines) == 4
        assert store.values == whole

    def test_an_entry_under_another_name_is_computed_again(self, make: Make, store: Memory) -> None:
        """A store that mixes up its values is found out."""
        expected = make().embed_passages(["a", "b"])
        (first, one), (second, other) = store.values.items()
        store.values = {first: other, second: one}
        assert (make().embed_passages(["a", "b"]) == expected).all()


class TestErrors:
    """Positions, rows and warnings are those of an embedder without a cache."""

    BAD: tuple[Any, ...] = ("a", b"no image", "bad", noise(20, 20), "bad", "b", [noise(20, 20), b"x"])

    @staticmethod
    def refuse(prompt: Prompt) -> Exception | None:
        text = Prompt(token_ids=prompt.token_ids)
        return InputError("refused.") if text.token_ids == TestErrors.bad_ids else None

    bad_ids: tuple[int, ...] = ()

    @pytest.fixture(autouse=True)
    def _bad_ids(self) -> None:
        from tests.support.tokenizer import make_tokenizer

        TestErrors.bad_ids = tuple(make_tokenizer().encode("Passage: bad").ids)

    async def test_the_same_error_as_without_a_cache(self, make: Make) -> None:
        """Message, positions, problems and rows; computed, found, and computed for one of two equal items."""
        embedder = make(fail=self.refuse)
        with pytest.raises(InputError) as bare:
            embedder.embedder.embed(list(self.BAD))
        for _ in range(2):
            with pytest.raises(InputError) as awaited:
                await embedder.aembed(list(self.BAD))
            with pytest.raises(InputError) as caught:
                embedder.embed(list(self.BAD))
            assert str(awaited.value) == str(bare.value)
            assert str(caught.value) == str(bare.value)
            assert caught.value.positions == bare.value.positions == (1, 2, 4, 6)
            assert caught.value.problems == bare.value.problems
            np.testing.assert_array_equal(caught.value.embeddings, bare.value.embeddings)

    def test_skip_gives_the_same_rows_and_one_warning(self, make: Make, store: Memory) -> None:
        """Rows of bad items are NaN, and never stored."""
        embedder = make(fail=self.refuse, on_error="skip")
        with pytest.warns(UserWarning, match="4 of 7 items") as caught:
            rows = embedder.embed(list(self.BAD))
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert np.isnan(rows[[1, 2, 4, 6]]).all()
        assert np.isfinite(rows[[0, 3, 5]]).all()
        assert len(store.values) == 3

    def test_a_cut_text_warns_on_hits_too(self, make: Make) -> None:
        """Whoever asks again has not seen the first warning."""
        texts = ["a", "a long text that is cut " * 9, "b"]
        rows = []
        for _ in range(2):
            with pytest.warns(UserWarning, match=r"1 of 3 texts.*positions 1\)"):
                rows.append(make(max_length=12).embed_passages(texts))
        assert (rows[0] == rows[1]).all()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            make(max_length=12).embed_passages(["a", "b"])

    def test_a_hit_opens_nothing_that_the_policy_refuses(self, make: Make, tmp_path: Path) -> None:
        """The image is in the cache, and this embedder may not read files."""
        noise(20, 20).save(tmp_path / "a.png")
        make().embed_images([tmp_path / "a.png"])
        with pytest.raises(InputError, match=r"images\[0\].*no local files"):
            make(media=MediaPolicy(allow_local_files=False)).embed_images([tmp_path / "a.png"])

    def test_wrong_arguments_are_refused_though_all_is_known(self, make: Make) -> None:
        embedder = make()
        embedder.embed(["a"])
        with pytest.raises(ConfigError, match="prompt_name='document'"):
            embedder.embed(["a"], prompt_name="document")  # type: ignore[arg-type]
        image = noise(30, 30, seed=1)
        embedder.embed([image])
        with pytest.raises(ConfigError, match="prompt_name='document'"):  # its vector is in the cache for both roles
            embedder.embed([image], prompt_name="document")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="dimensions=17"):
            embedder.embed(["a"], dimensions=17)
        with pytest.raises(InputError, match=r"texts\[1\]"):
            embedder.embed_queries(["a", ""])


class TestLife:
    """Closing, and what it wraps."""

    def test_close_closes_what_computes(self, make: Make, tmp_path: Path) -> None:
        """After it even a hit is refused; so it is when only the inner one was closed."""
        for number, close in enumerate([lambda e: e.close(), lambda e: e.embedder.close()]):
            embedder = make(into=tmp_path / f"{number}.sqlite")
            embedder.embed(["a"])
            close(embedder)
            assert embedder.closed
            with pytest.raises(ClosedError):
                embedder.embed(["a"])
            embedder.close()

    async def test_with_closes(self, make: Make) -> None:
        with make() as embedder:
            pass
        assert embedder.embedder.closed
        async with make() as embedder:
            pass
        assert embedder.embedder.closed

    def test_it_tells_the_embedders_facts(self, make: Make) -> None:
        embedder = make(task="code", dimensions=32)
        inner = embedder.embedder
        for name in ("model", "task", "dimension", "fingerprint", "checkpoint", "settings"):
            assert getattr(embedder, name) == getattr(inner, name)

    def test_it_has_every_call(self, make: Make) -> None:
        """Whatever JinaEmbedder learns, the cached one must learn too."""
        own = {"cached", "from_server"}
        public = {name for name in dir(JinaEmbedder) if not name.startswith("_")} - own
        assert public <= set(dir(make()))

    @pytest.mark.parametrize("store", [None, 3, {}, object()], ids=lambda store: type(store).__name__)
    def test_what_is_no_store_is_refused(self, folder: Path, store: Any) -> None:
        with pytest.raises(ConfigError, match="as store"):
            JinaEmbedder(folder).cached(store)

    def test_what_is_no_embedder_is_refused(self, store: Memory) -> None:
        with pytest.raises(ConfigError, match="expected a JinaEmbedder"):
            CachedEmbedder(object(), store)  # type: ignore[arg-type]


def test_keys_are_names_that_every_store_takes() -> None:
    """LangChain's file store allows letters, digits, and few signs."""
    keys = [cache_keys.key(*parts) for parts in itertools.product(("a", "ab"), ("b", "bc"), ("c", "é\n"))]
    assert len(set(keys)) == 8
    for key in keys:
        assert key.replace("-", "").isalnum()
        assert len(key) == 80
