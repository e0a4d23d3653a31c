"""The order of the results, by numbers that were computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vllm_jina_embed.ui.ranking import Hit, candidates, dropped, looked_at_again
from vllm_jina_embed.ui.shelf import Item, Shelf
from vllm_jina_embed.ui.token_store import TokenStore


def array(*rows: object) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def item(name: str) -> Item:
    return Item(key=name, name=name, text=name)


def names(hits: list[Hit]) -> list[str]:
    return [hit.source.name for hit in hits if isinstance(hit.source, Item)]


def test_every_dropped_item_has_its_cosine() -> None:
    """Of vectors of any length; an item without an embedding is left out."""
    shelf = Shelf(is_open=True)
    for name, vector in (("same", array(3, 4)), ("across", array(-4, 3)), ("against", array(-6, -8))):
        shelf.put(item(name), vector)
    shelf.put(item("none"), None)
    hits = dropped(shelf, array(0.6, 0.8))
    assert {hit.source.name: hit.cosine for hit in hits} == {  # type: ignore[union-attr]
        "same": pytest.approx(1), "across": pytest.approx(0, abs=1e-6), "against": pytest.approx(-1),
    }  # fmt: skip
    assert dropped(Shelf(), array(1, 0)) == []


def test_the_cosine_selects_the_best_and_says_their_places() -> None:
    hits = [Hit(source=item(name), cosine=cosine) for name, cosine in
            (("b", 0.5), ("nan", float("nan")), ("a", 0.9), ("none", None), ("c", -0.1), ("d", -0.2))]  # fmt: skip
    best = candidates(hits, 3)
    assert names(best) == ["a", "b", "c"]
    assert [hit.cosine_rank for hit in best] == [1, 2, 3]


def test_maxsim_ranks_the_candidates_again() -> None:
    """A question of two tokens: 1 + 0.6 against 0.8 + 0.6 and 0 + 1; one without tokens stays behind, in its place."""
    query = array((1, 0), (0, 1))
    tokens = {"item:a": array((0, 1)), "item:b": array((1, 0), (0.8, 0.6)), "item:c": array((0.8, 0.6))}
    places = (("x", 0.9), ("a", 0.8), ("c", 0.7), ("b", 0.6), ("y", 0.5))
    hits = [
        Hit(source=item(name), cosine=cosine, cosine_rank=number) for number, (name, cosine) in enumerate(places, 1)
    ]
    ranked = looked_at_again(hits, query, tokens)
    assert names(ranked) == ["b", "c", "a", "x", "y"]
    assert [hit.maxsim for hit in ranked[:3]] == pytest.approx([1.6, 1.4, 1.0])
    assert [hit.maxsim for hit in ranked[3:]] == [None, None]
    assert [hit.cosine_rank for hit in ranked] == [4, 3, 2, 1, 5]
    assert looked_at_again([], query, {}) == []


def test_a_place_and_an_item_of_one_name_are_two() -> None:
    from vllm_jina_embed.corpus import Row
    from vllm_jina_embed.mcp.places import Place

    place = Place(id="a", source="a", page=None, text="", rows=(Row(id="a", source="a"),))
    assert Hit(source=place).key != Hit(source=item("a")).key


def test_multi_vectors_are_kept_as_long_as_they_fit() -> None:
    """Those that were not used for the longest time go first."""
    store, rows = TokenStore(most_bytes=24), array((1, 2))  # 8 bytes each
    for name in "abc":
        store.put(name, rows)
    assert store.get("a") is rows
    store.put("d", rows)
    assert [name for name in "abcd" if store.get(name) is not None] == ["a", "c", "d"]
    store.put("d", array((1, 2), (3, 4)))
    assert [name for name in "abcd" if store.get(name) is not None] == ["c", "d"]
    store.remove("d")
    store.remove("d")
    store.put("e", rows)
    assert [name for name in "cde" if store.get(name) is not None] == ["c", "e"]
    store.put("large", array(*range(100)))
    assert [name for name in ("c", "e", "large") if store.get(name) is not None] == []
