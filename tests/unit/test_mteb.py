"""Rows of mteb with a text and an image: one item where the model takes both, else two whose vectors are added."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from tests.support.images import noise
from vllm_jina_embed.checkpoints.mteb_tasks import TASKS_OF_TYPES
from vllm_jina_embed.checkpoints.registry import PUBLISHED
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.inputs import items as inputs
from vllm_jina_embed.inputs.items import BothItem, ImageItem, TextItem
from vllm_jina_embed.inputs.references import both_string

IMAGE = noise(8, 8)
BATCH: dict[str, list[Any]] = {"text": ["a", "", " b", None], "image": [IMAGE, IMAGE, None, None]}


def wrapper() -> Any:
    """The module, where mteb is installed."""
    pytest.importorskip("mteb")
    return importlib.import_module("vllm_jina_embed.mteb")


@pytest.mark.parametrize("together", [False, True])
def test_a_row_is_one_item_where_the_model_takes_both(together: bool) -> None:
    mteb = wrapper()
    counts: list[int] = []
    kinds = [type(item) for item in inputs.mixed(list(mteb._items([BATCH], counts, together=together)))]
    if together:
        assert (kinds, counts) == ([BothItem, ImageItem, TextItem], [1, 1, 1, 0])
    else:
        assert (kinds, counts) == ([TextItem, ImageItem, ImageItem, TextItem], [2, 1, 1, 0])


def test_a_text_of_a_row_is_always_a_text() -> None:
    mteb = wrapper()
    text = both_string("a", "data:image/png;base64,AAAA")
    (item,) = inputs.mixed(list(mteb._items([{"text": [text], "image": [IMAGE]}], [], together=True)))
    assert isinstance(item, BothItem)
    assert item.text == text


def of_mteb(name: str, kind: str, role: str) -> str | None:
    """Return what mteb's own list of a model has for a type of task and a role."""
    found = importlib.import_module(
        f"mteb.models.model_implementations.{'nomic' if 'nomic' in name else 'jina'}_models"
    )
    meta = next((one for one in vars(found).values() if getattr(one, "name", None) == name), None)
    prompts = found.model_prompts if "nomic" in name else meta.loader_kwargs["model_prompts"]  # type: ignore[union-attr]
    for key in (f"{kind}-{role}", kind, role):
        if key in prompts:
            return str(prompts[key])
    return None


@pytest.mark.parametrize("role", ["query", "document"])
@pytest.mark.parametrize(
    "name",
    [
        "jinaai/jina-embeddings-v3",
        "jinaai/jina-embeddings-v5-text-small",
        "jinaai/jina-embeddings-v5-text-nano",
        "nomic-ai/nomic-embed-text-v1.5",
    ],
)
def test_each_type_of_task_has_the_task_that_mteb_evaluates_the_model_with(name: str, role: str) -> None:
    """By its name in jina's lists, by its prompt in nomic's; types that these do not name are searches."""
    ours = wrapper()
    types = get_args(importlib.import_module("mteb.abstasks.task_metadata").TaskType)
    checkpoint, named = PUBLISHED[name], 0
    for kind in types:
        metadata = SimpleNamespace(type=kind, domains=None, languages=["eng-Latn"])
        task = ours.task_of(metadata, checkpoint.tasks, checkpoint.row.name)
        theirs = of_mteb(name, kind, role)
        template = checkpoint.row.template("text", "passage" if role == "document" else role, task)
        if theirs is None:
            assert task == "retrieval", kind
        elif "nomic" in name:
            assert theirs in template, (kind, task)
        else:
            named += 1
            assert theirs in (task, f"retrieval.{'passage' if role == 'document' else role}"), (kind, task)
            assert theirs.startswith("retrieval") == (task == "retrieval")
    assert {*TASKS_OF_TYPES[checkpoint.row.name]} <= {*types}
    assert named in (0, 9, 10)


def test_programming_is_a_task_of_those_that_have_it() -> None:
    """jina-v3 and nomic have none, so the type decides there."""
    task_of = wrapper().task_of
    metadata = SimpleNamespace(type="STS", domains=["Programming"], languages=["eng-Latn"])
    assert task_of(metadata, ("retrieval", "text-matching", "code"), "jina-v4") == "code"
    for name, task in (("jinaai/jina-embeddings-v3", "text-matching"), ("nomic-ai/nomic-embed-text-v1.5", "classific")):
        assert task_of(metadata, PUBLISHED[name].tasks, PUBLISHED[name].row.name).startswith(task)


def test_vectors_that_were_not_normalised_are_not_added() -> None:
    """A sum would be that of the longer one; a model of texts, or of both together, has none."""
    encoder = wrapper().VllmJinaEncoder
    with pytest.raises(ConfigError, match="normalize=False: of a text with an image, jina-embeddings-v4 has the sum"):
        encoder("demo", normalize=False)
    for name in ("BAAI/bge-m3", "Qwen/Qwen3-VL-Embedding-2B"):
        encoder(name, normalize=False).close()
