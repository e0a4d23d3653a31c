"""LangChain, LlamaIndex and MCP offer one tool: same names and defaults, same words for the model."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

pytest.importorskip("mcp.server.mcpserver")

from vllm_jina_embed.frameworks.found_images import ABOUT_IMAGE, ABOUT_QUERY, DESCRIPTION, NAME, Bounds
from vllm_jina_embed.langchain import image_retriever_tool as langchain_tool
from vllm_jina_embed.langchain.tools import Query
from vllm_jina_embed.llama_index import image_retriever_tool as llama_index_tool
from vllm_jina_embed.llama_index.tools import ImageRetrieverTool
from vllm_jina_embed.mcp.arguments import BOUNDS
from vllm_jina_embed.mcp.server import Service, server_of

SHARED = {"media": None, **{field.name: field.default for field in fields(Bounds)}}
FOR_THE_MODEL = {"name": NAME, "description": DESCRIPTION}
QUESTION = {"query": None, "image": None}


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


def differences(function: Callable[..., Any], expected: dict[str, Any]) -> list[str]:
    """Name what a function lacks of ``expected``, or has with another default, and bounds that others do not have."""
    found = defaults(function)
    wrong = [f"{name}={value!r}" for name, value in expected.items() if found.get(name, "none") != value]
    return wrong + [name for name in found if name.startswith("max_") and name not in expected]


@pytest.mark.parametrize("function", [langchain_tool, llama_index_tool])
def test_the_tools_have_the_same_names_and_defaults(function: Callable[..., Any]) -> None:
    assert differences(function, {**SHARED, **FOR_THE_MODEL}) == []


def test_the_server_and_its_command_have_them_too() -> None:
    """The tool's name and words are fixed there."""
    assert differences(server_of, SHARED) == []
    assert list(BOUNDS) == [field.name for field in fields(Bounds)]
    assert all(f"({field.default})" in BOUNDS[field.name] for field in fields(Bounds))


@pytest.mark.parametrize("function", [ImageRetrieverTool.call, ImageRetrieverTool.acall, Service.search])
def test_the_model_passes_the_same_arguments(function: Callable[..., Any]) -> None:
    assert differences(function, QUESTION) == []


def test_the_model_reads_the_same_words() -> None:
    """LangChain's and LlamaIndex's schemas, and the annotations that the server lists."""
    from vllm_jina_embed.llama_index.tools import _ByTextOrImage

    for schema in (Query, _ByTextOrImage):
        assert {name: field.description for name, field in schema.model_fields.items()} == {
            "query": ABOUT_QUERY,
            "image": ABOUT_IMAGE,
        }
    hints = inspect.get_annotations(Service.search)
    assert "ABOUT_QUERY" in hints["query"]
    assert "ABOUT_IMAGE" in hints["image"]


def test_a_difference_is_seen() -> None:
    """Another default, another name, a bound of its own."""

    def other(*, media: None = None, max_images: int = 5, max_pictures: int = 4, max_side: int = 768) -> None: ...

    assert differences(other, SHARED) == ["max_images=4", "max_bytes=200000", "max_characters=2000", "max_pictures"]
