"""Cohere's and sentence-transformers' names of roles and tasks, as a checkpoint has them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from vllm_jina_embed.checkpoints.registry import PUBLISHED
from vllm_jina_embed.checkpoints.table.bge import BGE_M3
from vllm_jina_embed.checkpoints.table.jina_v4 import NATIVE
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.prompts.input_types import input_types, role_and_task

JINA, CODE, BGE = PUBLISHED[NATIVE], PUBLISHED[f"{NATIVE}-vllm-code"], PUBLISHED[BGE_M3]
ROLES: dict[str, Any] = {
    "query": ("query", None),
    "passage": ("passage", None),
    "document": ("passage", None),
    "search_query": ("query", None),
    "search_document": ("passage", None),
}


def test_the_input_types_of_a_checkpoint() -> None:
    """Roles alone, roles of each task, and a task in which they have the same prompt; no others."""
    assert input_types(JINA) == {
        **ROLES,
        "retrieval.query": ("query", "retrieval"),
        "retrieval.passage": ("passage", "retrieval"),
        "retrieval.document": ("passage", "retrieval"),
        "text-matching": ("query", "text-matching"),
        "code.query": ("query", "code"),
        "code.passage": ("passage", "code"),
        "code.document": ("passage", "code"),
    }
    assert set(input_types(CODE)) == {*ROLES, "code.query", "code.passage", "code.document"}
    assert set(input_types(BGE)) == {*ROLES, "retrieval.query", "retrieval.passage", "retrieval.document"}


def test_cohere_s_tasks_are_those_of_a_row_that_has_them() -> None:
    """By their names; a row without them refuses them instead of a guess."""
    row = replace(JINA.row, name="own", symmetric_tasks=("classification", "clustering"))
    own = replace(JINA, row=row, tasks=("retrieval", "classification", "clustering"))
    for name in ("classification", "clustering"):
        assert role_and_task(own, None, name, None) == ("query", name)
        with pytest.raises(ConfigError, match=f"input_type='{name}' means nothing to {NATIVE}; choose one of query, "):
            role_and_task(JINA, None, name, None)


@pytest.mark.parametrize("name", ["nomic-ai/nomic-embed-text-v1.5", "jinaai/jina-embeddings-v3", NATIVE])
def test_a_task_in_which_a_role_changes_nothing_is_an_input_type(name: str) -> None:
    """In each row of the table; the others have their roles behind them."""
    checkpoint = PUBLISHED[name]
    alone = {task for task in checkpoint.tasks if task in input_types(checkpoint)}
    assert alone == {*checkpoint.tasks} - {"retrieval", "code"}
    for task in alone:
        assert role_and_task(checkpoint, None, task, None) == ("query", task)
        assert f"{task}.query" not in input_types(checkpoint)


def test_a_task_whose_roles_have_adapters_of_their_own_is_none() -> None:
    row = replace(JINA.row, name="own", adapters={("query", "text-matching"): 0, ("passage", "text-matching"): 1})
    own = replace(JINA, row=row, tasks=("text-matching",))
    assert set(input_types(own)) == {*ROLES, *(f"text-matching.{role}" for role in ("query", "passage", "document"))}


def test_without_an_input_type_all_is_as_it_was() -> None:
    assert role_and_task(JINA, None, None, None) == ("passage", None)
    assert role_and_task(JINA, "query", None, "code") == ("query", "code")
    assert role_and_task(JINA, "document", None, None) == ("document", None)  # the backend refuses it, as before


def test_the_task_of_a_call_stays_where_the_input_type_has_none() -> None:
    assert role_and_task(JINA, None, "search_document", "code") == ("passage", "code")
    assert role_and_task(JINA, None, "code.query", "code") == ("query", "code")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("query", "search_query", None), "input_type='search_query' and prompt_name='query' both choose a role"),
        ((None, "code.query", "retrieval"), "input_type='code.query' is of the task 'code', and task='retrieval' is"),
        ((None, "Search_Query", None), "input_type='Search_Query' means nothing to"),
        ((None, "", None), "input_type='' means nothing to"),
        ((None, ["query"], None), r"input_type=\['query'\] means nothing to"),
        (
            (None, "image", None),
            "choose one of query, passage, document, search_query, search_document, retrieval.quer",
        ),
    ],
)
def test_what_means_nothing_is_refused(given: Any, message: str) -> None:
    """With what is allowed."""
    with pytest.raises(ConfigError, match=message):
        role_and_task(JINA, *given)


def test_a_task_of_another_checkpoint_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"input_type='retrieval.query' means nothing to .*-vllm-code; choose one of"):
        role_and_task(CODE, None, "retrieval.query", None)
