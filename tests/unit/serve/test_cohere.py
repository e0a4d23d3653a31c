"""What is read of a body of /v2/embed, and what is refused: each names the field or the item."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vllm_jina_embed.errors import ConfigError, InputError
from vllm_jina_embed.serve.cohere import Input, read

IMAGE = {"type": "image_url", "image_url": {"url": "data:x", "detail": "high"}}
TEXT = {"type": "text", "text": "a"}


def request(**body: Any) -> Any:
    return read(json.dumps(body).encode())


def test_the_three_kinds_of_items() -> None:
    """In order, each with its place."""
    assert request(texts=["a", "b"]).inputs == (Input(where="texts[0]", text="a"), Input(where="texts[1]", text="b"))
    assert request(images=["data:x"]).inputs == (Input(where="images[0]", text="", urls=("data:x",)),)
    blocks = [IMAGE, TEXT, {"type": "text", "text": "b"}, IMAGE]
    (item,) = request(inputs=[{"content": blocks}]).inputs
    assert item == Input(where="inputs[0]", text="ab", urls=("data:x", "data:x"))


def test_a_text_is_a_text_whatever_it_looks_like() -> None:
    (item,) = request(texts=["data:image/png;base64,AAAA"]).inputs
    assert item == Input(where="texts[0]", text="data:image/png;base64,AAAA")


def test_what_is_not_told() -> None:
    """A null is as good as nothing."""
    told = request(texts=["a"], images=None, input_type=None, output_dimension=None, max_tokens=None)
    assert (told.texts, told.model, told.input_type, told.output_dimension) == (["a"], None, None, None)
    assert (told.embedding_types, told.truncate, told.max_tokens, told.priority) == (("float",), "end", None, 0)


def test_what_is_told() -> None:
    told = request(
        inputs=[{"content": [TEXT]}],
        model="m",
        input_type="search_query",
        output_dimension=64,
        embedding_types=["int8", "float", "int8"],
        truncate="NONE",
        max_tokens=9,
        priority=-5,
    )
    assert (told.texts, told.model, told.input_type, told.output_dimension) == (None, "m", "search_query", 64)
    assert (told.embedding_types, told.truncate, told.max_tokens, told.priority) == (("int8", "float"), "error", 9, -5)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the body is no JSON"),
        (b"\xff", "the body is no JSON"),
        (b'{"texts": ["a"], "max_tokens": ' + b"9" * 5000 + b"}", "the body is no JSON"),
        (b"[]", "the body is a list; expected an object"),
        (b"null", "the body is a null"),
        (b"{}", "got no items; expected one of texts, images, inputs"),
    ],
)
def test_a_body_that_is_none(body: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"texts": ["a"], "inputs": [{"content": [TEXT]}]}, "got texts and inputs; expected one of"),
        ({"texts": []}, r"texts: got \[\]; expected a list"),
        ({"texts": "a"}, "texts: got 'a'; expected a list"),
        ({"texts": ["a"], "kind": 1}, "unknown field 'kind'; known are model, input_type"),
        ({"texts": ["a"], "model": 5}, "model: got 5; expected a string"),
        ({"texts": ["a"], "input_type": ["query"]}, "input_type: got .* expected a string"),
        ({"texts": ["a"], "output_dimension": 0}, "output_dimension: got 0; expected a whole number from 1"),
        ({"texts": ["a"], "output_dimension": True}, "output_dimension: got True"),
        ({"texts": ["a"], "output_dimension": 64.0}, "output_dimension: got 64.0"),
        ({"texts": ["a"], "max_tokens": "5"}, "max_tokens: got '5'"),
        ({"texts": ["a"], "priority": 2**63}, "priority: got 9223372036854775808"),
        (
            {"texts": ["a"], "embedding_types": "float"},
            "embedding_types: got 'float'; expected a list",
        ),
        ({"texts": ["a"], "embedding_types": []}, r"embedding_types: got \[\]"),
        ({"texts": ["a"], "embedding_types": ["int4"]}, "embedding_types: got 'int4'; expected some of"),
        ({"texts": ["a"], "embedding_types": [["float"]]}, "embedding_types: got "),
        ({"texts": ["a"], "truncate": "end"}, "truncate: got 'end'; expected one of END, START, NONE"),
        ({"texts": ["a"], "truncate": ["END"]}, "truncate: got "),
    ],
)
def test_fields_that_mean_nothing(body: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        request(**body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"texts": ["a", 5]}, r"texts\[1\]: got 5; expected a string"),
        ({"images": ["data:x", None]}, r"images\[1\]: got None; expected a string"),
        ({"inputs": [{"content": [TEXT]}, None]}, r"inputs\[1\]: got None; expected an object with content"),
        ({"inputs": [{"content": []}]}, r"inputs\[0\]: got .* expected an object with content"),
        ({"inputs": [{"content": "a"}]}, r"inputs\[0\]: got .* expected an object with content"),
        ({"inputs": [{"content": [TEXT, None]}]}, r"inputs\[0\]\.content\[1\]: got None; expected"),
        ({"inputs": [{"content": [{"type": "text", "text": 5}]}]}, r"inputs\[0\]\.content\[0\]: got "),
        ({"inputs": [{"content": [{"type": "image_url", "image_url": "x"}]}]}, r"inputs\[0\]\.content\[0\]: got "),
        ({"inputs": [{"content": [{"type": ["text"], "text": "a"}]}]}, r"inputs\[0\]\.content\[0\]: got "),
    ],
)
def test_items_that_are_none(body: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        request(**body)


def test_a_deep_body_is_not_read() -> None:
    with pytest.raises((RecursionError, ConfigError)):
        read(b"[" * 200_000)
