"""The names of places: where the journal lies, what is written down, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from vllm_jina_embed import ConfigError, MissingExtraError, _extras
from vllm_jina_embed.corpus.chroma import flat
from vllm_jina_embed.corpus.destinations import place_of
from vllm_jina_embed.corpus.parquet_parts import Shape
from vllm_jina_embed.corpus.postgres import table_of, without_nul

SHAPE = Shape(dimensions=8, token_dimensions=None, kept={})


@pytest.mark.parametrize(
    ("name", "folder", "table"),
    [
        ("out", "out", None),
        ("lancedb://db/pages", "db/pages.journal", "lancedb://{here}/db/pages"),
        ("qdrant://./db/pages", "db/pages.journal", "qdrant://{here}/db/pages"),
        ("qdrant://localhost:6333/pages", "pages.journal", "qdrant://localhost:6333/pages"),
        ("qdrants://host/pages", "pages.journal", "qdrants://host/pages"),
        ("chroma://db/pages", "db/pages.journal", "chroma://{here}/db/pages"),
        ("chroma://localhost:8000/pages", "pages.journal", "chroma://localhost:8000/pages"),
        ("postgresql://me@host:5432/library/pages?sslmode=require", "pages.journal", "postgresql://host/library/pages"),
    ],
)
def test_the_journal_and_the_table_of_each_form(
    name: str, folder: str, table: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = place_of(name)
    assert place.folder == tmp_path / folder
    assert place.table == (table and table.format(here=tmp_path))
    assert (place.read is None) == (table is None)
    if table is not None:
        assert place_of(name, tmp_path / "own").folder == tmp_path / "own"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("s3://bucket/pages", "expected a folder, lancedb://DIR/TABLE, .*postgresql://"),
        ("chroma://pages", "expected a folder"),
        ("postgresql://host/pages", "expected postgresql://USER@HOST:PORT/DATABASE/TABLE"),
        ("postgresql://host/a/b/pages", "expected postgresql://USER@HOST:PORT/DATABASE/TABLE"),
        ('postgresql://host/library/pages"; DROP', "a table's name has letters, digits and _"),
        ("postgresql://me:secret@host/library/pages", "PGPASSWORD"),
        ("qdrant://me:secret@host/pages", "QDRANT_API_KEY"),
        ("qdrant://database/pages", r"a folder is qdrant://\./database/pages\."),
        ("qdrant://a/b/pages", r"a folder is qdrant://\./a/b/pages\."),
    ],
)
def test_other_forms_and_passwords_are_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        place_of(name)
    assert "secret" not in str(error.value)


def test_the_url_of_a_database_has_no_table() -> None:
    assert table_of("postgresql://me@/db/pages?host=/tmp/x") == ("postgresql://me@/db?host=/tmp/x", "pages")


@pytest.mark.parametrize(
    ("name", "extra"), [("chroma://db/pages", "chroma"), ("postgresql://host/db/pages", "postgres")]
)
def test_a_missing_library_is_told_with_its_extra(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_extras, "find_spec", lambda module: None)
    with pytest.raises(MissingExtraError, match=rf"vllm-jina-embed\[{extra}\]"):
        place_of(name).open(SHAPE)


def test_chroma_gets_flat_metadata_and_postgres_no_nul() -> None:
    assert flat({"a": 1, "b": True, "c": ["x", 1], "d": 2**70, "e": 0.5}) == {
        "a": 1,
        "b": True,
        "c": '["x", 1]',
        "d": str(2**70),
        "e": 0.5,
    }
    assert without_nul({"a\0": ["\0b", 1, None]}) == {"a\ufffd": ["\ufffdb", 1, None]}
