"""Qwen3-Embedding: which folders are one, what is refused, and what its prompts and its start are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed.checkpoints.checkpoint import Checkpoint
from vllm_jina_embed.checkpoints.registry import PUBLISHED
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.text import QWEN3_EMBEDDING, QWEN3_QUERY
from vllm_jina_embed.engine.local.arguments import LENGTHS, engine_arguments
from vllm_jina_embed.engine.remote.server_facts import LONGEST_LIST
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.inputs import items
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.build import load_builder
from vllm_jina_embed.settings import check, check_dimensions

CONFIG = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 96, "max_position_embeddings": 40960,
}  # fmt: skip
POOLING, PROMPTS = "1_Pooling/config.json", "config_sentence_transformers.json"
LAST = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True}
SAID = {"prompts": {"query": QWEN3_QUERY, "document": ""}, "default_prompt_name": None}


def folder(path: Path, files: dict[str, Any], **config: Any) -> str:
    for name, content in {"config.json": {**CONFIG, **config}, **files}.items():
        (path / name).parent.mkdir(exist_ok=True, parents=True)
        (path / name).write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize("architecture", ["Qwen3ForCausalLM", "Qwen3Model"])
@pytest.mark.parametrize("pooling", [LAST, {"pooling_mode": "lasttoken"}], ids=["old", "new"])
def test_the_published_files_say_which_model_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pooling: Any, architecture: str
) -> None:
    """In the words of older and newer versions of sentence-transformers; without a warning."""
    place = folder(tmp_path, {POOLING: pooling, PROMPTS: SAID}, architectures=[architecture])
    checkpoint = check(model=place).checkpoint
    assert (checkpoint.row, checkpoint.architecture) == (QWEN3_EMBEDDING, architecture)
    assert (checkpoint.hidden_size, checkpoint.matryoshka_sizes) == (96, (32, 64, 96))
    assert (checkpoint.max_length, checkpoint.tasks) == (32768, ("retrieval",))
    assert caplog.records == []


@pytest.mark.parametrize(
    "files",
    [{}, {POOLING: LAST}, {PROMPTS: SAID}, {POOLING: LAST, PROMPTS: {"prompts": {}}}, {POOLING: {}, PROMPTS: SAID}],
    ids=["no file", "no prompts", "no pooling", "empty prompts", "empty pooling"],
)
def test_a_chat_model_is_refused_and_taken_only_by_name(tmp_path: Path, files: dict[str, Any]) -> None:
    """Every chat model of this kind has the same config.json: its vectors would be wrong without a sign."""
    place = folder(tmp_path / "Qwen3-0.6B", files)
    with pytest.raises(ConfigError) as caught:
        resolve(place)
    message = str(caught.value)
    assert message.startswith(f"model={place!r}: Qwen3ForCausalLM is the architecture of other models too, such as ch")
    assert "say that it is one of Qwen3-Embedding." in message
    assert message.endswith("pass row='qwen3-embedding'.")
    assert check(model=place, row="qwen3-embedding").checkpoint.row == QWEN3_EMBEDDING


@pytest.mark.parametrize("name", ["Qwen3-Embedding-0.6B", "qwen3_embedding_tuned"])
def test_a_name_says_it_too(tmp_path: Path, name: str) -> None:
    assert resolve(folder(tmp_path / name, {})).row == QWEN3_EMBEDDING
    assert resolve(folder(tmp_path / "mine", {}, _name_or_path=f"Qwen/{name}")).row == QWEN3_EMBEDDING


@pytest.mark.parametrize("prompts", [{}, {"document": ""}])
def test_a_name_does_not_say_it_where_the_files_say_that_queries_have_no_prompt(
    tmp_path: Path, prompts: dict[str, str]
) -> None:
    """It was trained further without one; who knows better names the row."""
    place = folder(tmp_path / "Qwen3-Embedding-0.6B", {PROMPTS: {"prompts": prompts}})
    with pytest.raises(ConfigError, match="do not say that it is one of Qwen3-Embedding"):
        resolve(place)
    assert resolve(place, row=QWEN3_EMBEDDING).row == QWEN3_EMBEDDING


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({POOLING: {"pooling_mode_mean_tokens": True}}, "has the pooling mean; expected lasttoken"),
        ({PROMPTS: {"prompts": {"query": "Instruct: other\nQuery: "}}}, "has the prompts {'query': 'Instruct: other"),
        ({PROMPTS: {"prompts": {"query": "", "document": ""}}}, "has the prompts {'query': ''}; expected"),
        ({PROMPTS: {"prompts": {"document": QWEN3_QUERY}}}, "has the prompts {'document': "),
    ],
)
def test_what_its_files_contradict_is_refused_even_by_name(tmp_path: Path, files: Any, message: str) -> None:
    place = folder(tmp_path / "Qwen3-Embedding-0.6B", files)
    for row in (None, "qwen3-embedding"):
        with pytest.raises(ConfigError, match=message):
            check(model=place, row=row)


@pytest.mark.parametrize(("name", "size"), [("0.6B", 1024), ("4B", 2560), ("8B", 4096)])
def test_published_repositories_are_read_from_the_table(name: str, size: int) -> None:
    """As a folder with the same files would be; a server's list of sizes may not be longer than clients believe."""
    checkpoint = resolve(f"Qwen/Qwen3-Embedding-{name}")
    assert checkpoint is PUBLISHED[checkpoint.name]
    assert (checkpoint.hidden_size, checkpoint.token_dimensions, checkpoint.max_length) == (size, size, 32768)
    assert checkpoint.matryoshka_sizes == tuple(one for one in QWEN3_EMBEDDING.matryoshka_sizes if one <= size)
    assert len(checkpoint.matryoshka_sizes) <= LONGEST_LIST
    for dimensions in (32, 33, 500, size - 1, size):
        assert check_dimensions(checkpoint, dimensions) == dimensions
    for wrong in (31, size + 1, 0, -32, 64.0, True, "64"):
        with pytest.raises(ConfigError) as caught:
            check_dimensions(checkpoint, wrong)  # type: ignore[arg-type]
        assert str(caught.value) == (
            f"dimensions={wrong!r} is not a Matryoshka size of {checkpoint.name}; choose a whole number from 32 to "
            f"{size}."
        )


def test_the_choice_of_any_length_changed_no_vector() -> None:
    """Caches of the row that had a list of lengths still answer."""
    assert replace(QWEN3_EMBEDDING, code=1).digest == "23fa44ccf7ff8e7d"


def test_cached_vectors_of_queries_cut_at_the_start_do_not_answer() -> None:
    """They had the query's first letters in front, which the tokenizer joins with the prompt's last."""
    assert QWEN3_EMBEDDING.digest != "23fa44ccf7ff8e7d"


def checkpoint_with_tokenizer(path: Path) -> Checkpoint:
    place = folder(path, {POOLING: LAST, PROMPTS: SAID})
    (path / "tokenizer.json").write_text(make_tokenizer().to_str())
    return resolve(place)


def test_prompts_are_the_published_ones(tmp_path: Path) -> None:
    """The instruction and the text are one run; the last token is the row's, whatever the tokenizer adds."""
    checkpoint = checkpoint_with_tokenizer(tmp_path)
    builder = load_builder(checkpoint, revision=None, policy=MediaPolicy())
    tokenizer = make_tokenizer()
    text = "the fox <|endoftext|> <|im_start|>"
    for role, prefix in (("query", QWEN3_QUERY), ("passage", "")):
        (prompt,) = builder.build(items.texts([text]), role=role, task="retrieval", max_length=1000, truncate="error")  # type: ignore[arg-type]
        assert isinstance(prompt, Prompt)
        assert prompt.token_ids[-1] == tokenizer.token_to_id("<|endoftext|>")
        assert tokenizer.decode(prompt.token_ids[:-1], skip_special_tokens=False) == prefix + text
        assert not {tokenizer.token_to_id("<|endoftext|>"), tokenizer.token_to_id("<|im_start|>")} & {
            *prompt.token_ids[:-1]
        }


@pytest.mark.parametrize("architecture", ["Qwen3ForCausalLM", "Qwen3Model"])
def test_it_is_vllms_own_class_with_our_pooling(tmp_path: Path, architecture: str) -> None:
    place = folder(tmp_path, {POOLING: LAST, PROMPTS: SAID}, architectures=[architecture])
    engine: Any = check(model=place).engine
    arguments = engine_arguments(engine, cpu=False)
    assert arguments["hf_overrides"] == {
        **LENGTHS, "architectures": [f"Pooled{architecture}"], "jina_pooling": "last_token"
    }  # fmt: skip
    assert arguments["scheduler_cls"] == "vllm_jina_embed.plugin.scheduler.QuestionsFirst"
    assert arguments["pooler_config"] == {"task": "embed", "use_activation": True, "seq_pooling_type": "LAST"}
    assert not [name for name in arguments if name.startswith(("mm_", "limit_mm", "trust"))]
