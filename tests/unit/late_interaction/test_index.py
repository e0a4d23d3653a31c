"""An index in Qdrant or LanceDB over an engine in memory: what it finds is what two loops over tokens find."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from tests.support.fake_engine import FakeEngine
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory
from tests.unit.late_interaction.conftest import MakeIndex
from tests.unit.scoring.test_maxsim import by_definition
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.checkpoints.prompt_pieces import Slot
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.checkpoints.token_layer import TokenLayer
from vllm_jina_embed.errors import ConfigError, InputError
from vllm_jina_embed.late_interaction import Hit, LateInteractionIndex, Storage, batches

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "user", "image", "query", "passage"]
RNG = np.random.default_rng(7)
TEXTS = [" ".join(RNG.choice(WORDS, size=int(RNG.integers(2, 9)))) + f" {n}" for n in range(60)]
ITEMS: list[Any] = [*TEXTS, *(noise(30 + n, 40, seed=n) for n in range(10))]
PAYLOADS = [{"number": n, "kind": "text" if n < 60 else "image", "deep": {"even": n % 2 == 0}} for n in range(70)]
IDS = [f"item {n}" for n in range(70)]
QUERIES: list[Any] = ["where is the fox", "a lazy dog 7", noise(30, 30, seed=99)]


def scores_of(embedder: JinaEmbedder, query: Any, items: list[Any] = ITEMS) -> np.ndarray:
    """MaxSim by its definition."""
    asked = embedder.embed_multi_vector([query], prompt_name="query")
    return by_definition(asked, embedder.embed_multi_vector(items, prompt_name="passage"))[0]


def assert_best(hits: list[Hit], scores: np.ndarray, allowed: set[int] | None = None) -> None:
    """Check ids, scores and order against every score; equal to 1e-4 may change places."""
    numbers = [int(hit.payload["number"]) for hit in hits]
    assert [hit.id for hit in hits] == [IDS[number] for number in numbers]
    assert [hit.score for hit in hits] == pytest.approx(scores[numbers].tolist(), abs=1e-4)
    left = np.array([scores[n] for n in (range(len(scores)) if allowed is None else sorted(allowed))])
    assert sorted(scores[numbers])[::-1] == pytest.approx(np.sort(left)[::-1][: len(hits)].tolist(), abs=1e-4)
    assert allowed is None or set(numbers) <= allowed


of_qdrant = pytest.mark.parametrize("store", ["qdrant"])


@pytest.fixture(params=["qdrant", "lancedb"])
def store(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def where(store: str, **conditions: Any) -> Any:
    """Return the store's filter for payloads with these values; ``__`` stands for a deeper key."""
    if store == "lancedb":
        paths = {"$." + key.replace("__", "."): json.dumps(value) for key, value in conditions.items()}
        return " AND ".join(f"json_extract(payload, '{path}') = '{value}'" for path, value in paths.items())
    must: list[Any] = [
        models.FieldCondition(key=key.replace("__", "."), match=models.MatchValue(value=value))
        for key, value in conditions.items()
    ]
    return models.Filter(must=must)


@pytest.fixture
def index(make: MakeIndex) -> LateInteractionIndex:
    index = make()
    assert index.add(ITEMS, payloads=PAYLOADS, ids=IDS) == IDS
    return index


class TestMultiVectorsAlone:
    """A model without embeddings: the means of the rows select candidates, and MaxSim ranks them."""

    @pytest.fixture
    def alone(self, folder: Path) -> Iterator[JinaEmbedder]:
        row = replace(
            JINA_V4, name="alone", pooling=None, score="maxsim", projector=TokenLayer(names=("proj",), size=64),
            adapter_architecture=None, vectors_before={},
        )  # fmt: skip
        with in_memory([])(folder, row=row) as embedder:
            yield embedder

    async def test_ranks_as_brute_force_does(self, make: MakeIndex, alone: JinaEmbedder) -> None:
        index = make(of=alone)
        assert index.add(ITEMS, payloads=PAYLOADS, ids=IDS) == IDS
        for query in QUERIES:
            hits = index.search(query, 70)
            assert len(hits) == 70
            assert_best(hits, scores_of(alone, query))
            awaited = await index.asearch(query, 70)
            assert [(hit.id, hit.payload) for hit in awaited] == [(hit.id, hit.payload) for hit in hits]
            assert [hit.scores for hit in awaited] == [pytest.approx(hit.scores, abs=1e-7) for hit in hits]

    def test_ranks_what_the_means_select(self, make: MakeIndex, alone: JinaEmbedder) -> None:
        index = make(of=alone)
        index.add(ITEMS, payloads=PAYLOADS, ids=IDS)
        means = [rows.mean(0) / np.linalg.norm(rows.mean(0)) for rows in alone.embed_multi_vector(ITEMS)]
        (query,) = alone.embed_multi_vector(QUERIES[:1], prompt_name="query")
        cosines = np.stack(means) @ query.mean(0)
        hits = index.search(QUERIES[0], 12, candidates=12)
        assert {hit.payload["number"] for hit in hits} == set(np.argsort(-cosines)[:12].tolist())

    async def test_the_means_alone_find_too(self, make: MakeIndex, alone: JinaEmbedder) -> None:
        """The first stage needs no embedding of the query, which such a model does not have."""
        index = make(of=alone)
        index.add(ITEMS, payloads=PAYLOADS, ids=IDS)
        means = [rows.mean(0) / np.linalg.norm(rows.mean(0)) for rows in alone.embed_multi_vector(ITEMS)]
        (query,) = alone.embed_multi_vector(QUERIES[:1], prompt_name="query")
        best = np.argsort(-(np.stack(means) @ query.mean(0)))[:5].tolist()
        for hits in (
            index.search(QUERIES[0], 5, stages=["embedding"]),
            await index.asearch(QUERIES[0], 5, stages=["embedding"]),
        ):
            assert [hit.payload["number"] for hit in hits] == best

    def test_names_bad_items(self, make: MakeIndex, alone: JinaEmbedder) -> None:
        with pytest.raises(InputError, match=r"items\[1\]"):
            make(of=alone).add(["a", ""])


class TestSearch:
    """Texts and images in one ranking."""

    @pytest.mark.parametrize("query", QUERIES, ids=["text", "other text", "image"])
    def test_ranks_as_brute_force_does(self, index: LateInteractionIndex, embedder: JinaEmbedder, query: Any) -> None:
        hits = index.search(query, 70)
        assert len(hits) == 70
        assert_best(hits, scores_of(embedder, query))
        assert hits[0].payload == PAYLOADS[hits[0].payload["number"]]

    @pytest.mark.parametrize("query", QUERIES, ids=["text", "other text", "image"])
    async def test_gives_the_same_when_awaited(self, index: LateInteractionIndex, query: Any) -> None:
        awaited, hits = await index.asearch(query, 9), index.search(query, 9)
        assert [replace(hit, scores={}) for hit in awaited] == [replace(hit, scores={}) for hit in hits]
        # The embedded Qdrant gives a stored vector back with other last digits.
        assert [hit.scores for hit in awaited] == [pytest.approx(hit.scores, abs=1e-7) for hit in hits]

    def test_ranks_what_the_embeddings_select(self, index: LateInteractionIndex, embedder: JinaEmbedder) -> None:
        """With as many candidates as hits, the first stage decides which, and MaxSim in which order."""
        cosines = embedder.score(QUERIES[:1], ITEMS)[0]
        scores = scores_of(embedder, QUERIES[0])
        selected = set(np.argsort(-cosines)[:12].tolist())
        assert selected != set(np.argsort(-scores)[:12].tolist())
        hits = index.search(QUERIES[0], 12, candidates=12)
        assert {hit.payload["number"] for hit in hits} == selected
        assert_best(hits, scores, selected)

    def test_hands_filters_to_both_stages(
        self, index: LateInteractionIndex, embedder: JinaEmbedder, store: str
    ) -> None:
        """As few candidates as hits: were the first stage not filtered, some would be lost."""
        hits = index.search(QUERIES[0], 5, candidates=5, filter=where(store, deep__even=True, kind="image"))
        assert len(hits) == 5
        assert_best(hits, scores_of(embedder, QUERIES[0]), set(range(60, 70, 2)))

    @pytest.mark.parametrize(
        ("k", "candidates"), [(0, None), (-1, None), (2.5, None), (True, None), (10, 9), (1, 2.5), (1, True), (1, "2")]
    )
    def test_refuses_senseless_limits(self, index: LateInteractionIndex, k: Any, candidates: Any) -> None:
        with pytest.raises(ConfigError, match=r"k=|candidates="):
            index.search("a", k, candidates=candidates)

    def test_names_a_query_that_is_nothing(self, index: LateInteractionIndex) -> None:
        with pytest.raises(InputError, match=r"queries\[0\]"):
            index.search(b"no image")

    def test_fails_where_a_bad_query_would_be_skipped(self, folder: Path, make: MakeIndex) -> None:
        with in_memory([])(folder, on_error="skip") as embedder:
            index = make(of=embedder)
            index.add(["a"])
            for bad in (b"no image", "", None):
                with pytest.raises(InputError, match=r"queries\[0\]: "):
                    index.search(bad)


class TestAdd:
    """What is in the index after items were put into it."""

    def test_twice_changes_nothing(self, make: MakeIndex) -> None:
        """Without ids too: equal content with an equal payload is one item, whatever file it came from."""
        index = make()
        image = noise(30, 40, seed=1)
        items = ["a", "b", "a", image, encoded(image)]
        ids = index.add(items)
        assert ids[0] == ids[2] != ids[1]
        assert ids[3] == ids[4]
        assert index.add(items) == ids
        assert index.count() == 3
        assert index.add(["a"], payloads=[{"page": 2}]) != [ids[0]]
        assert index.count() == 4

    def test_of_a_known_id_replaces_the_item(self, make: MakeIndex) -> None:
        index = make()
        known = str(uuid.uuid4())
        index.add(["a", "b"], ids=["one", known], payloads=[{"old": 1}, {}])
        index.add(["the fox", "c"], ids=["one", known], payloads=[{"new": 2}, {}])
        assert index.count() == 2
        hits = {hit.id: hit for hit in index.search("the fox")}
        assert set(hits) == {"one", known}
        assert hits["one"].payload == {"new": 2}

    def test_of_one_id_twice_keeps_the_last(self, make: MakeIndex) -> None:
        """In one batch; a store that merges rows by their id would refuse both."""
        index = make()
        index.add(["a", "the fox", "b"], ids=["one", "one", "two"], payloads=[{"n": 1}, {"n": 2}, {}])
        assert index.count() == 2
        assert {hit.id: hit.payload for hit in index.search("the fox")} == {"one": {"n": 2}, "two": {}}

    def test_shows_its_progress(self, make: MakeIndex, capsys: pytest.CaptureFixture[str]) -> None:
        make().add(TEXTS)
        assert capsys.readouterr().err == ""
        make().add(TEXTS, show_progress=True)
        assert "60item" in capsys.readouterr().err

    def test_reads_as_it_writes(self, make: MakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
        """Never more than three batches of a stream are held, one of them being read."""
        monkeypatch.setattr(batches, "ITEMS", 4)
        index = make()
        ahead = []

        def stream() -> Iterator[str]:
            for number in range(50):
                ahead.append(number - index.count())
                yield f"text {number}"

        assert len(index.add(stream(), payloads=({"n": n} for n in range(50)))) == 50
        assert index.count() == 50
        assert max(ahead) <= 12

    def test_names_a_bad_item_by_its_place_in_the_whole(self, make: MakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
        """And keeps what came before its batch."""
        monkeypatch.setattr(batches, "ITEMS", 4)
        index = make()
        with pytest.raises(InputError, match=r"items\[9\]") as caught:
            index.add([*TEXTS[:9], b"no image", *TEXTS[10:20]])
        assert caught.value.positions == (9,)
        assert index.count() == 8

    async def test_leaves_out_what_is_skipped(self, folder: Path, make: MakeIndex) -> None:
        with in_memory([])(folder, on_error="skip") as embedder:
            index = make(of=embedder)
            with pytest.warns(UserWarning, match=r"items\[1\]"):
                ids = index.add(["a", b"no image", "b"], ids=["1", "2", "3"])
            assert ids == ["1", "3"]
            with pytest.warns(UserWarning, match=r"items\[0\]"):
                assert await index.aadd([b"none", "c"], ids=["4", "5"]) == ["5"]
            assert index.count() == 3

    @pytest.mark.fire
    async def test_heals_when_what_was_left_out_is_added_again(self, folder: Path, make: MakeIndex) -> None:
        """Blank texts, None, broken images; one warning for both kinds of vector."""
        with in_memory([])(folder, on_error="skip") as embedder:
            index = make(of=embedder)
            with pytest.warns(UserWarning, match=r"left out: 3 of 5 items") as caught:
                added = index.add(["a", "", None, b"broken", "b"])  # type: ignore[list-item]
            assert len([warning for warning in caught if "left out" in str(warning.message)]) == 1
            assert len(added) == index.count() == 2
            mended = ["a", "c", "d", noise(20, 20), "b"]
            assert len(await index.aadd(mended)) == index.count() == 5

    @of_qdrant
    @pytest.mark.fire
    def test_leaves_out_what_qdrant_cannot_hold_where_it_skips(
        self, folder: Path, make: MakeIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(batches, "MOST_NUMBERS", 64 * 10)
        with in_memory([])(folder, on_error="skip") as embedder:
            index = make(of=embedder)
            with pytest.warns(UserWarning, match=r"left out: items\[1\]: .* rows of 64 numbers"):
                assert len(index.add(["a", TEXTS[0] * 10, "b"])) == 2
            assert index.count() == 2

    @pytest.mark.fire
    @pytest.mark.parametrize("of", [0, 1], ids=["embed", "multi_vector"])
    def test_leaves_out_what_has_one_kind_of_vector_alone(
        self, folder: Path, make: MakeIndex, monkeypatch: pytest.MonkeyPatch, of: int
    ) -> None:
        """And tells it: NaN in one of them is enough."""

        async def faulty(self: Any, prompt: Any, **options: Any) -> Any:
            pair = await given(self, prompt, **options)
            return tuple(rows * np.nan if prompt.images and kind == of else rows for kind, rows in enumerate(pair))

        given = FakeEngine.both
        monkeypatch.setattr(FakeEngine, "both", faulty)
        with in_memory([])(folder, on_error="skip") as embedder:
            index = make(of=embedder)
            with pytest.warns(UserWarning, match=r"left out: items\[1\]: the model gave NaN"):
                assert len(index.add(["a", noise(20, 20), "b"])) == 2

    @pytest.mark.parametrize("given", [{"ids": ["1"]}, {"payloads": [{}] * 3}])
    def test_refuses_lists_of_other_lengths(self, make: MakeIndex, given: dict[str, Any]) -> None:
        with pytest.raises(InputError, match="one per item"):
            make().add(["a", "b"], **given)

    def test_refuses_one_item_for_a_list(self, make: MakeIndex) -> None:
        with pytest.raises(InputError, match="Wrap it"):
            make().add("a text")

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ({"ids": ["1", 2]}, r"items\[1\]: got the id 2 \(int\); expected a string"),
            ({"ids": ["1", "\ud800"]}, r"items\[1\]: got the id .* valid Unicode"),
            ({"payloads": [{}, None]}, r"items\[1\]: its payload is a NoneType; expected a mapping"),
            ({"payloads": [{}, {1: "a", "b": 2}]}, r"items\[1\]: its payload is a dict; .* keys are strings"),
        ],
    )
    def test_names_what_has_a_bad_id_or_payload(
        self, folder: Path, make: MakeIndex, given: dict[str, Any], told: str
    ) -> None:
        """By its place, as a bad item, and leaves it out where that is wanted."""
        with pytest.raises(InputError, match=told) as caught:
            make().add(["a", "b"], **given)
        assert caught.value.positions == (1,)
        with in_memory([])(folder, on_error="skip") as embedder:
            index = make(of=embedder)
            with pytest.warns(UserWarning, match=f"left out: {told}"):
                assert len(index.add(["a", "b"], **given)) == index.count() == 1

    @pytest.mark.parametrize("given", [{"ids": "ab"}, {"payloads": {"a": 1, "b": 2}}, {"ids": 7}, {"payloads": 7}])
    def test_takes_ids_and_payloads_as_lists(self, make: MakeIndex, given: dict[str, Any]) -> None:
        """A string would be its characters."""
        with pytest.raises(InputError, match=r"(ids|payloads): got .*expected a list"):
            make().add(["a", "b"], **given)

    @of_qdrant
    def test_refuses_what_qdrant_cannot_hold(self, make: MakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batches, "MOST_NUMBERS", 64 * 10)
        index = make()
        with pytest.raises(InputError, match=r"items\[1\]: .* rows of 64 numbers; Qdrant takes 640"):
            index.add(["a", TEXTS[0] * 10])
        pooled = make(storage=Storage(pool_factor=40))
        assert len(pooled.add(["a", TEXTS[0] * 10])) == 2

    async def test_awaits(self, make: MakeIndex, embedder: JinaEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batches, "ITEMS", 7)
        index = make()
        assert await index.aadd(iter(ITEMS), payloads=iter(PAYLOADS), ids=iter(IDS)) == IDS
        assert await index.acount() == 70
        assert_best(await index.asearch(QUERIES[0], 70), scores_of(embedder, QUERIES[0]))
        with pytest.raises(InputError, match=r"items\[8\]"):
            await index.aadd([*TEXTS[:8], b"no image"])

    def test_keeps_pooled_tokens(self, make: MakeIndex, embedder: JinaEmbedder) -> None:
        from vllm_jina_embed.pooling.token_reduction import pool_tokens

        index = make(storage=Storage(pool_factor=3))
        index.add(ITEMS, payloads=PAYLOADS, ids=IDS)
        asked = embedder.embed_multi_vector(QUERIES[:1], prompt_name="query")
        told = [pool_tokens(rows, 3) for rows in embedder.embed_multi_vector(ITEMS)]
        assert_best(index.search(QUERIES[0], 70), by_definition(asked, told)[0])


class TestDelete:
    """By ids or by filter."""

    def test_removes_items(self, index: LateInteractionIndex, embedder: JinaEmbedder, store: str) -> None:
        index.delete(["item 3", "item 60", "unknown"])
        index.delete(filter=where(store, deep__even=False))
        left = set(range(0, 70, 2)) - {60}
        assert index.count() == len(left)
        assert_best(index.search(QUERIES[1], 70), scores_of(embedder, QUERIES[1]), left)

    async def test_awaits(self, index: LateInteractionIndex) -> None:
        await index.adelete(["item 3"])
        assert index.count() == 69

    @pytest.mark.parametrize("ids", ["item 3", 7, ["item 3", 7], [None], {"item 3": 1}])
    async def test_takes_a_list_of_strings(self, index: LateInteractionIndex, ids: Any) -> None:
        """One string would be its characters, each another item's id."""
        with pytest.raises(InputError, match=r"ids: got|got the id"):
            index.delete(ids)
        with pytest.raises(InputError, match=r"ids: got|got the id"):
            await index.adelete(ids)
        assert index.count() == 70

    def test_refuses_neither_and_both(self, index: LateInteractionIndex) -> None:
        for given in ({}, {"ids": ["item 3"], "filter": models.Filter()}):
            with pytest.raises(ConfigError, match="exactly one"):
                index.delete(**given)
        assert index.count() == 70


class TestCollection:
    """The collection outlives the index."""

    def test_is_found_again(self, make: MakeIndex, embedder: JinaEmbedder, tmp_path: Path) -> None:
        index = make(path=tmp_path)
        index.add(ITEMS, payloads=PAYLOADS, ids=IDS)
        index.close()
        assert_best(make(path=tmp_path).search(QUERIES[0], 70), scores_of(embedder, QUERIES[0]))

    @pytest.mark.parametrize(
        ("other", "said"),
        [
            ({"dimensions": 16}, "dimensions=64 .here 16."),
            ({"storage": Storage(pool_factor=2)}, "pool_factor=1 .here 2."),
            ({"task": "code"}, "task='retrieval' .here 'code'."),
        ],
    )
    def test_of_other_vectors_is_refused(
        self, make: MakeIndex, shared: dict[str, Any], other: dict[str, Any], said: str
    ) -> None:
        make(**shared).add(["a"])
        for call in (lambda index: index.add(["b"]), lambda index: index.search("a"), lambda index: index.count()):
            with pytest.raises(ConfigError, match=said):
                call(make(**shared, **other))
        assert make(**shared).count() == 1

    @of_qdrant
    @pytest.mark.parametrize(
        ("model", "sizes"),
        [
            ("jinaai/jina-embeddings-v4", {"dimensions": 2048, "token_dimensions": 128}),
            ("BAAI/bge-m3", {"dimensions": 1024, "token_dimensions": 1024}),
        ],
    )
    def test_of_version_0_1_is_found_again(self, make: MakeIndex, model: str, sizes: dict[str, int]) -> None:
        """With exactly these facts; no engine starts."""
        client = QdrantClient(":memory:")
        with JinaEmbedder(model) as embedder:
            assert make(of=embedder, client=client).count() == 0
        metadata = client.get_collection("items").config.metadata
        facts = {"vectors": "vllm-jina-embed/1", "model": model, "task": "retrieval", **sizes, "pool_factor": 1}
        assert metadata == {"vllm_jina_embed": facts}

    def test_of_another_row_is_refused(self, make: MakeIndex, shared: dict[str, Any], folder: Path) -> None:
        """The same checkpoint with another prompt has other vectors."""
        make(**shared).add(["a"])
        with in_memory([])(folder) as other:
            checkpoint = other.settings.checkpoint
            row = replace(checkpoint.row, templates=checkpoint.row.templates | {("query", "text"): (Slot.TEXT,)})
            other.settings = replace(other.settings, checkpoint=replace(checkpoint, row=row))
            with pytest.raises(ConfigError, match=f"vectors='vllm-jina-embed/1' .here '{row.vectors}'."):
                make(of=other, **shared).count()

    @of_qdrant
    def test_of_another_kind_is_refused(self, make: MakeIndex) -> None:
        client = QdrantClient(":memory:")
        client.create_collection("items", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
        with pytest.raises(ConfigError, match="another program created it"):
            make(client=client).add(["a"])

    def test_names_are_apart(self, make: MakeIndex, shared: dict[str, Any]) -> None:
        make(**shared, name="one").add(["a", "b"])
        other = make(**shared, name="two", dimensions=16)
        other.add(["a"])
        assert (make(**shared, name="one").count(), other.count()) == (2, 1)

    def test_a_client_that_was_passed_stays_open(self, make: MakeIndex, shared: dict[str, Any]) -> None:
        with make(**shared) as index:
            index.add(["a"])
        assert make(**shared).count() == 1

    @of_qdrant
    @pytest.mark.parametrize(
        "places",
        [
            {"path": "a", "url": "http://localhost:1"},
            {"client": QdrantClient(":memory:"), "path": "a"},
            {"async_client": object()},
            {"api_key": "secret", "path": "a"},
        ],
    )
    def test_lies_in_one_place(self, make: MakeIndex, places: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="pass") as caught:
            make(**places)
        assert "secret" not in str(caught.value)

    def test_needs_an_embedder(self) -> None:
        with pytest.raises(ConfigError, match="expected a JinaEmbedder"):
            LateInteractionIndex("demo")  # type: ignore[arg-type]


def test_threads_and_loops_share_an_index(make: MakeIndex, tmp_path: Path) -> None:
    """Eight threads write and read at the same time, two of them on loops of their own."""
    index = make(path=tmp_path)

    def work(number: int) -> list[Hit]:
        items = [f"{text} {number}" for text in TEXTS[:20]]
        if number % 4:
            index.add(items)
            return index.search(items[3], 3)

        async def on_a_loop() -> list[Hit]:
            await index.aadd(items)
            return await index.asearch(items[3], 3)

        return asyncio.run(on_a_loop())

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(8)))
    assert index.count() == 160
    assert all(len(hits) == 3 for hits in found)


def test_a_cached_embedder_serves_too(make: MakeIndex, embedder: JinaEmbedder, tmp_path: Path) -> None:
    cached = embedder.cached(tmp_path / "cache.db")
    index = make(of=cached)
    index.add(TEXTS[:5])
    assert [hit.id for hit in index.search("the fox")] == [hit.id for hit in index.search("the fox")]
    cached.store.close()  # type: ignore[attr-defined]
