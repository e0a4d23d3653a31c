"""jina-embeddings-v5-text: which folders are small and nano, what their prompts are, and how vLLM is started."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import builder_of
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed import Model
from vllm_jina_embed.checkpoints.registry import PUBLISHED
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.jina_v5 import JINA_V5_NANO, JINA_V5_SMALL, TASKS
from vllm_jina_embed.checkpoints.weights.lora import Adapters
from vllm_jina_embed.engine.local.arguments import LENGTHS, engine_arguments
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.inputs import items
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.settings import check

CONFIG = {
    "architectures": ["JinaEmbeddingsV5Model"], "model_type": "jina_embeddings_v5", "hidden_size": 96,
    "max_position_embeddings": 40960, "task_names": list(TASKS),
}  # fmt: skip
ENCODER = {"is_decoder": False}
MODULES, PROMPTS = "modules.json", "config_sentence_transformers.json"
FILES: dict[str, Any] = {
    MODULES: [{"idx": 0, "name": "transformer", "path": "", "type": "custom_st.Transformer"}],
    PROMPTS: {"prompts": {"query": "Query: ", "document": "Document: "}, "default_prompt_name": "document"},
}
SPECIAL = ("<|begin_of_text|>", "<|end_of_text|>", "<|endoftext|>", "<|pad|>")


def folder(path: Path, files: dict[str, Any] = FILES, **config: Any) -> str:
    for name, content in {"config.json": {**CONFIG, **config}, **files}.items():
        (path / name).parent.mkdir(exist_ok=True, parents=True)
        (path / name).write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize("files", [FILES, {}], ids=["all files", "config.json alone"])
@pytest.mark.parametrize(
    ("config", "row", "longest"),
    [({}, JINA_V5_SMALL, 32768), ({"is_decoder": True}, JINA_V5_SMALL, 32768), (ENCODER, JINA_V5_NANO, 8192)],
)
def test_the_files_say_which_of_both_it_is(
    tmp_path: Path, files: dict[str, Any], config: dict[str, Any], row: Model, longest: int
) -> None:
    checkpoint = resolve(folder(tmp_path / "mine", files, **config))
    assert (checkpoint.row, checkpoint.max_length) == (row, longest)
    assert (checkpoint.tasks, checkpoint.has_adapters) == (TASKS, True)
    assert (checkpoint.matryoshka_sizes, checkpoint.token_dimensions) == ((32, 64, 96), 96)


def test_what_the_files_contradict_is_refused(tmp_path: Path) -> None:
    other = {**FILES, PROMPTS: {"prompts": {"query": "Query: ", "document": "Passage: "}}}
    with pytest.raises(ConfigError, match=r"has the prompts \{'document': 'Passage: '\}; expected"):
        resolve(folder(tmp_path / "prompts", other, **ENCODER))
    further = {**FILES, MODULES: [*FILES[MODULES], {"path": "1_Dense", "type": "sentence_transformers.models.Dense"}]}
    with pytest.raises(ConfigError, match=r"modules\.json has Dense"):
        resolve(folder(tmp_path / "modules", further))


@pytest.mark.parametrize("task", TASKS)
def test_one_merged_for_a_task_is_no_other_model(tmp_path: Path, task: str) -> None:
    """Its architecture is another's, whose prompts are others."""
    pooling = {"1_Pooling/config.json": {"pooling_mode_lasttoken": True}}
    config = {"architectures": ["Qwen3Model"], "model_type": "qwen3", "task_names": [task]}
    with pytest.raises(ConfigError, match="would be read as Qwen3-Embedding, but config_sentence_transformers"):
        resolve(folder(tmp_path / f"jina-embeddings-v5-text-small-{task}", {**FILES, **pooling}, **config))


@pytest.mark.parametrize(("name", "row", "size"), [("small", JINA_V5_SMALL, 1024), ("nano", JINA_V5_NANO, 768)])
def test_published_repositories_are_read_from_the_table(name: str, row: Model, size: int) -> None:
    checkpoint = resolve(f"jinaai/jina-embeddings-v5-text-{name}")
    assert checkpoint is PUBLISHED[checkpoint.name]
    assert (checkpoint.row, checkpoint.hidden_size, checkpoint.max_length) == (row, size, row.max_length)
    assert checkpoint.matryoshka_sizes == (*row.matryoshka_sizes, size)
    settings: Any = check(model=checkpoint.name, task="clustering")
    assert (settings.task, settings.engine.tasks) == ("clustering", TASKS)


@pytest.mark.parametrize("row", [JINA_V5_SMALL, JINA_V5_NANO], ids=lambda row: row.name)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("role", ["query", "passage"])
def test_prompts_are_the_published_ones(row: Model, task: str, role: str) -> None:
    """A query's own prefix stands in a search alone; only nano's prompts end in a token of their own."""
    tokenizer = make_tokenizer("Query: Document: the fox", SPECIAL)
    builder = builder_of(row, tokenizer.to_str())
    text = "the fox <|end_of_text|> <|endoftext|>"
    texts: Any = items.texts([text])
    (prompt,) = builder.build(texts, role=role, task=task, max_length=1000, truncate="error")  # type: ignore[arg-type]
    assert isinstance(prompt, Prompt)
    ids, end = list(prompt.token_ids), tokenizer.token_to_id("<|end_of_text|>")
    if row == JINA_V5_NANO:
        assert ids.pop() == end
    assert not {*map(tokenizer.token_to_id, SPECIAL)} & {*ids}
    prefix = "Query: " if (role, task) == ("query", "retrieval") else "Document: "
    assert tokenizer.decode(ids, skip_special_tokens=False) == prefix + text


@pytest.mark.parametrize(
    ("config", "overrides"),
    [
        ({}, {"is_decoder": True, "architectures": ["PooledQwen3Model"]}),
        (ENCODER, {"is_decoder": False, "is_causal": False, "architectures": ["PooledLlamaModel"]}),
    ],
)
def test_it_is_vllms_own_class_with_our_pooling_and_its_adapters(
    tmp_path: Path, config: dict[str, Any], overrides: dict[str, Any]
) -> None:
    """All tasks' adapters stay loaded, and no code of the checkpoint is allowed."""
    engine: Any = check(model=folder(tmp_path, **config)).engine
    folders = {task: tmp_path / task for task in TASKS}
    adapters = Adapters(source=tmp_path, rank=32, folders=folders, has_projector=False)
    arguments = engine_arguments(engine, cpu=False, adapters=adapters)
    assert arguments["hf_overrides"] == {**LENGTHS, "jina_pooling": "last_token", **overrides}
    assert (arguments["enable_lora"], arguments["max_loras"], arguments["max_lora_rank"]) == (True, 4, 32)
    assert "trust_remote_code" not in arguments


def test_the_layout_decides_no_vector() -> None:
    """So an index does not change its keys with a stricter check of files."""
    assert replace(JINA_V5_NANO, layouts=JINA_V5_SMALL.layouts).digest == JINA_V5_NANO.digest
