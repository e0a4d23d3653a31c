"""What LanceDB alone has: its place, its filters, its faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from tests.unit.late_interaction.conftest import MakeIndex
from vllm_jina_embed.errors import ConfigError, EngineError
from vllm_jina_embed.late_interaction import LateInteractionIndex, Storage


@pytest.fixture
def store() -> str:
    return "lancedb"


@pytest.mark.parametrize("place", [{"path": "a"}, {"url": "http://localhost:1"}, {"api_key": "secret"}])
def test_an_index_lies_in_one_place(make: MakeIndex, tmp_path: Path, place: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="pass one of them") as caught:
        make(lancedb=tmp_path, **place)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("storage", [Storage(quantization="binary"), Storage(on_disk=True)])
def test_what_qdrant_alone_has_is_refused(make: MakeIndex, storage: Storage) -> None:
    with pytest.raises(ConfigError, match="are Qdrant's"):
        make(storage=storage)


def test_another_object_is_refused(make: MakeIndex) -> None:
    with pytest.raises(ConfigError, match="got a int as lancedb"):
        make(lancedb=5)


def test_the_table_of_another_program_is_refused(make: MakeIndex, tmp_path: Path) -> None:
    database = lancedb.connect(tmp_path / "other")
    database.create_table("items", schema=pa.schema([pa.field("id", pa.string())]))
    with pytest.raises(ConfigError, match="another program created it"):
        make(lancedb=database).add(["a"])


def test_half_precision_is_kept_and_is_another_table(make: MakeIndex, tmp_path: Path) -> None:
    half = make(lancedb=tmp_path / "half", storage=Storage(datatype="float16"))
    half.add(["the quick fox", "a dog"], ids=["fox", "dog"])
    full = make()
    full.add(["the quick fox", "a dog"], ids=["fox", "dog"])
    hits = half.search("where is the fox")
    assert [hit.id for hit in hits] == [hit.id for hit in full.search("where is the fox")]
    assert [hit.score for hit in hits] == pytest.approx(
        [hit.score for hit in full.search("where is the fox")], abs=0.01
    )
    schema = lancedb.connect(tmp_path / "half").open_table("items").schema
    assert schema.field("embedding").type.value_type == pa.float16()
    with pytest.raises(ConfigError, match=r"datatype='float16' .here 'float32'."):
        make(lancedb=tmp_path / "half").count()


def test_names_with_quotes_are_names(make: MakeIndex) -> None:
    """In ids and in filters: nobody's text becomes SQL."""
    index = make()
    names = ["it's", "' OR 1=1 --", 'a "b"', "x'); DROP"]
    index.add(["a", "b", "c", "d"], ids=names, payloads=[{"name": name} for name in names])
    assert {hit.id for hit in index.search("a")} == {*names}
    for name in names:
        (hit,) = index.search("a", filter=index.filter_for("name", name))
        assert (hit.id, hit.payload) == (name, {"name": name})
    index.delete([names[1]])
    assert {hit.id for hit in index.search("a")} == {*names} - {names[1]}
    index.delete([])
    assert index.count() == 3


def test_payloads_come_back_as_they_went_in(make: MakeIndex) -> None:
    payload = {"text": "浜辺 \u2028 \" ' \\", "list": [1, 2.5, None, {"a": True}], "deep": {"none": None}, "empty": {}}
    index = make()
    index.add(["a"], payloads=[payload])
    assert index.search("a")[0].payload == payload


async def test_a_filter_of_another_store_and_a_broken_one_are_named(make: MakeIndex) -> None:
    index = make()
    index.add(["a"])
    for only, error, said in (
        (object(), ConfigError, "LanceDB's are SQL"),
        ("nonsense ((", EngineError, "LanceDB: search failed"),
    ):
        with pytest.raises(error, match=said):
            index.search("a", filter=only)  # type: ignore[arg-type]
        with pytest.raises(error, match=said):
            await index.asearch("a", filter=only)  # type: ignore[arg-type]


def test_two_indexes_on_one_folder_see_each_other(make: MakeIndex, tmp_path: Path) -> None:
    one, other = make(lancedb=tmp_path / "db"), make(lancedb=str(tmp_path / "db"))
    one.add(["a"])
    assert other.count() == 1
    other.add(["b"])
    assert one.count() == 2


def test_a_long_item_is_kept(make: MakeIndex) -> None:
    """Qdrant's limit of numbers is not LanceDB's."""
    index: LateInteractionIndex = make()
    assert index._collection.most_numbers is None
    index.add(["word " * 900])
    assert np.isfinite(index.search("word")[0].score)
