"""A corpus in a LanceDB table: the rows of the Parquet files, whatever interrupts the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lancedb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.corpus_files import Expected, Failing, write_corpus
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import ConfigError, JinaEmbedder
from vllm_jina_embed.corpus import Columns, Summary, embed_corpus, open_corpus, work
from vllm_jina_embed.errors import EngineError, WriteError

pytestmark = pytest.mark.wide


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Expected]:
    folder = tmp_path_factory.mktemp("made") / "corpus"
    return folder, write_corpus(folder, 150)


@pytest.fixture
def embedder(tmp_path: Path) -> Iterator[JinaEmbedder]:
    with in_memory([])(write_folder(tmp_path / "model"), dimensions=32) as embedder:
        yield embedder


@pytest.fixture
def run(made: tuple[Path, Expected], embedder: JinaEmbedder, tmp_path: Path) -> Callable[..., Summary]:
    def run(out: object = None, **options: Any) -> Summary:
        options = {"columns": Columns(keep=("text", "year")), "rows_per_file": 64, "vectors": "both", **options}
        return embed_corpus(made[0], str(out or f"lancedb://{tmp_path}/db/pages"), embedder=embedder, **options)

    return run


def stored(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """Return all rows of the table by their ids; none is there twice."""
    rows = lancedb.connect(str(tmp_path / "db")).open_table("pages").to_arrow().drop_columns("shard").to_pylist()
    for row in rows:  # what the frameworks' stores call metadata is there once more
        assert row.pop("metadata") == {name: row[name] for name in ("source", "page", "kind", "year")}
    found = {row["id"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def test_the_table_holds_the_rows_of_the_files(
    run: Callable[..., Summary], made: tuple[Path, Expected], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After two interruptions, of which the second leaves rows of a shard that is not done."""
    monkeypatch.setattr(work, "WINDOW", 8)
    monkeypatch.setattr(work, "AHEAD", 8)
    run(tmp_path / "files")
    whole = {
        row["id"]: row for part in open_corpus(tmp_path / "files").parts for row in pq.read_table(part).to_pylist()
    }
    for after in (40, 90):
        with pytest.raises(EngineError):
            run(report=Failing(after))
    table = lancedb.connect(str(tmp_path / "db")).open_table("pages")
    left = table.search().limit(1).to_arrow().select(table.schema.names)
    for name, value in (("id", "left over"), ("shard", 3)):
        field = table.schema.field(name)
        left = left.set_column(left.schema.get_field_index(name), field, pa.array([value], field.type))
    table.add(left)
    summary = run()
    assert summary.known > 0
    assert dict(summary.errors) == made[1].kinds
    assert stored(tmp_path) == whole
    assert set(whole) == made[1].good
    assert (run().rows, run().shards) == (0, 0)


def test_lost_rows_are_computed_again(run: Callable[..., Summary], tmp_path: Path) -> None:
    run()
    whole = stored(tmp_path)
    lancedb.connect(str(tmp_path / "db")).open_table("pages").delete(f"id = '{next(iter(whole))}'")
    assert run().shards == 1
    assert stored(tmp_path) == whole


def test_a_table_of_the_first_version_stays_as_it_is(run: Callable[..., Summary], tmp_path: Path) -> None:
    """It has no column metadata, and its kind is a dictionary; it is gone on with and searched."""
    run(vectors="embedding")
    whole = stored(tmp_path)
    database = lancedb.connect(str(tmp_path / "db"))
    table = database.open_table("pages").to_arrow().drop_columns("metadata")
    kind = table["kind"].dictionary_encode().cast(pa.dictionary(pa.int32(), pa.string()))
    old = table.set_column(table.schema.names.index("kind"), "kind", kind)
    database.drop_table("pages")
    database.create_table("pages", old).delete(f"id = '{next(iter(whole))}'")
    assert run(vectors="embedding").shards == 1
    table = database.open_table("pages")
    assert table.schema.names == old.schema.names
    assert {row["id"]: row for row in table.to_arrow().drop_columns("shard").to_pylist()} == whole
    corpus = open_corpus(f"lancedb://{tmp_path}/db/pages")
    assert {row.id for row in corpus} == set(whole)
    assert len(corpus.search(corpus_vector(whole), count=3)) == 3


def corpus_vector(rows: dict[str, dict[str, Any]]) -> Any:
    return next(iter(rows.values()))["embedding"]


def test_a_table_of_another_program_is_left_alone(run: Callable[..., Summary], tmp_path: Path) -> None:
    lancedb.connect(str(tmp_path / "db")).create_table("pages", [{"a": 1}])
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="another program made it"):
            run(overwrite=overwrite)
    assert lancedb.connect(str(tmp_path / "db")).open_table("pages").count_rows() == 1


def test_a_corpus_is_begun_anew_where_asked(run: Callable[..., Summary], tmp_path: Path) -> None:
    run()
    with pytest.raises(ConfigError, match="here"):
        run(vectors="embedding")
    run(vectors="embedding", overwrite=True)
    assert "multi_vector" not in next(iter(stored(tmp_path).values()))
    with pytest.raises(ConfigError, match=r"is the journal of lancedb://.*/pages"):
        open_corpus(tmp_path / "db" / "pages.journal")


@pytest.mark.parametrize("out", ["lancedb://pages", "s3://bucket/pages", "lancedb://", "files://a/b"])
def test_another_form_is_refused(out: str, run: Callable[..., Summary]) -> None:
    with pytest.raises(ConfigError, match="expected a folder, lancedb://DIR/TABLE"):
        run(out)


def test_an_error_of_the_store_is_told(
    run: Callable[..., Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(table: Any, data: Any) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(lancedb.table.LanceTable, "add", add)
        with pytest.raises(WriteError, match=r"lancedb://.*/pages': OSError: No space left on device"):
            run()
    assert run().complete
    assert json.loads((tmp_path / "db" / "pages.journal" / "done" / "00000.json").read_text())["shard"] == 0
