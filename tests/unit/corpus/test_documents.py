"""A row as a document and back: no text, image or column is lost on the way."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from typing import Any

import pytest

from tests.support.images import encoded, noise
from vllm_jina_embed.corpus.documents import document_of, plain, row_of, typed
from vllm_jina_embed.corpus.entries import Content, Entry
from vllm_jina_embed.corpus.parquet_parts import Shape
from vllm_jina_embed.corpus.work import Result

pa = pytest.importorskip("pyarrow")

FILE = encoded(noise(20, 10))
DAY = dt.date(2026, 11, 28)
MOMENT = dt.datetime(2026, 11, 28, 23, 59, 1)


def result(kind: str, **content: Any) -> Result:
    return Result(entry=Entry(id="a", source="b.pdf", page=3), content=Content(**content), kind=kind)


@pytest.mark.parametrize(
    ("kind", "text", "file"),
    [
        ("text", "a text", None),
        ("text", "data:image/png;base64,iVBORw0KGgo=", None),  # a text that looks like an image is a text
        ("image", "", None),
        ("image", "the page's text", None),
        ("image", "the page's text", FILE),
        ("image", "", FILE),
        ("both", "a, b: 100 %\nc", FILE),
        ("both", "a text", None),
    ],
)
def test_a_row_comes_back(kind: str, text: str, file: bytes | None) -> None:
    types = {"year": pa.int64(), "day": pa.date32(), "none": pa.string()}
    shape = Shape(dimensions=8, token_dimensions=None, image=True, kept=types)
    kept = {"year": 1999, "day": DAY, "none": None}
    content, metadata = document_of(result(kind, text=text, file=file, kept=kept), shape)
    metadata = json.loads(json.dumps(metadata))
    row = row_of("a", content, metadata, types, 0.5)
    assert (row.id, row.source, row.page, row.kind) == ("a", "b.pdf", 3, kind)
    assert (row.text, row.image, row.kept, row.score) == (text, file, kept, 0.5)
    assert "none" not in metadata


def test_a_text_that_is_not_kept_is_not_written() -> None:
    shape = Shape(dimensions=8, token_dimensions=None, text=False, kept={})
    content, metadata = document_of(result("text", text="secret"), shape)
    assert (content, metadata) == ("", {"source": "b.pdf", "page": 3, "kind": "text"})


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (MOMENT, pa.timestamp("us")),
        (DAY, pa.date32()),
        (decimal.Decimal("1.50"), pa.decimal128(10, 2)),
        (b"\xff\0", pa.binary()),
        ({"a": [1, 2], "b": "c"}, pa.struct([("a", pa.list_(pa.int64())), ("b", pa.string())])),
        ("2026", pa.string()),
        (True, pa.bool_()),
    ],
)
def test_values_come_back_from_json(value: object, kind: Any) -> None:
    assert typed(json.loads(json.dumps(plain(value))), kind) == value


def test_what_is_no_number_is_none() -> None:
    assert plain(float("nan")) is None
    assert plain({"a": [float("inf"), 1.0]}) == {"a": [None, 1.0]}
