"""multilingual-e5 and snowflake-arctic-embed: which folders are one, what is refused, and what their prompts are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.unigram import make_unigram
from tests.support.wordpiece import make_wordpiece
from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.checkpoints.prompt_pieces import Slot, Special
from vllm_jina_embed.checkpoints.registry import PUBLISHED, ROWS
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.bge import XLM_ROBERTA
from vllm_jina_embed.checkpoints.table.encoders import (
    ARCTIC_EMBED,
    ARCTIC_EMBED_L_V2,
    MULTILINGUAL_E5,
    MULTILINGUAL_E5_INSTRUCT,
    MULTILINGUAL_E5_SMALL,
)
from vllm_jina_embed.engine.local.arguments import LENGTHS, engine_arguments
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.inputs import items
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.build import load_builder
from vllm_jina_embed.settings import check, check_dimensions

XLM = {
    "architectures": ["XLMRobertaModel"], "hidden_size": 96, "max_position_embeddings": 514, "pad_token_id": 1,
    "position_embedding_type": "absolute",
}  # fmt: skip
BERT = {"architectures": ["BertModel"], "hidden_size": 96, "max_position_embeddings": 512}
PROMPTS, POOLING = "config_sentence_transformers.json", "1_Pooling/config.json"
MEAN, CLS = {"pooling_mode_mean_tokens": True}, {"pooling_mode_cls_token": True}
E5 = {"prompts": {"query": "query: ", "passage": "passage: "}}
VERSIONS = {"__version__": {"sentence_transformers": "2.4.0.dev0"}}
INSTRUCTION = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "
ARCTIC = "Represent this sentence for searching relevant passages: "


def folder(path: Path, config: dict[str, Any], files: dict[str, Any]) -> str:
    for name, content in {"config.json": config, **files}.items():
        (path / name).parent.mkdir(exist_ok=True, parents=True)
        (path / name).write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize(
    ("name", "config", "files", "row"),
    [
        ("mine", XLM, {POOLING: MEAN, PROMPTS: E5}, MULTILINGUAL_E5),
        ("mine", XLM, {POOLING: MEAN, PROMPTS: {"prompts": {"query": INSTRUCTION}}}, MULTILINGUAL_E5_INSTRUCT),
        ("mine", BERT, {POOLING: MEAN, PROMPTS: E5}, MULTILINGUAL_E5_SMALL),
        ("mine", BERT, {POOLING: CLS, PROMPTS: {"prompts": {"query": ARCTIC}}}, ARCTIC_EMBED),
        ("mine", XLM, {POOLING: CLS, PROMPTS: {"prompts": {"query": "query: "}}}, ARCTIC_EMBED_L_V2),
        ("mine", XLM, {POOLING: CLS, PROMPTS: {"prompts": {}}}, XLM_ROBERTA),
        # What is published of e5 says no more than its name.
        ("multilingual-e5-base", XLM, {POOLING: MEAN}, MULTILINGUAL_E5),
        ("multilingual-e5-large", XLM, {}, MULTILINGUAL_E5),
        ("multilingual-e5-large-instruct", XLM, {POOLING: MEAN, PROMPTS: VERSIONS}, MULTILINGUAL_E5_INSTRUCT),
        ("multilingual-e5-small", BERT, {POOLING: MEAN}, MULTILINGUAL_E5_SMALL),
        ("snowflake-arctic-embed-m-v1.5", BERT, {}, ARCTIC_EMBED),
        ("snowflake-arctic-embed-l-v2.0", XLM, {POOLING: CLS}, ARCTIC_EMBED_L_V2),
    ],
)  # fmt: skip
def test_the_pooling_the_prompts_or_the_name_say_which_model_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, config: dict[str, Any], files: Any, row: Model
) -> None:
    """Without a warning; one architecture has four rows, and the longest name decides."""
    checkpoint = check(model=folder(tmp_path / name, config, files)).checkpoint
    assert (checkpoint.row, checkpoint.hidden_size, checkpoint.tasks) == (row, 96, ("retrieval",))
    assert checkpoint.max_length == 512
    assert caplog.records == []


@pytest.mark.parametrize(
    ("config", "files", "neither", "other"),
    [
        (XLM, {POOLING: MEAN}, ("multilingual-e5", "multilingual-e5-large-instruct"), "bge-m3"),
        (BERT, {POOLING: MEAN}, ("multilingual-e5-small",), "snowflake-arctic-embed"),
        (BERT, {POOLING: CLS}, ("snowflake-arctic-embed",), "multilingual-e5-small"),
        (BERT, {POOLING: CLS, PROMPTS: {"prompts": {}}}, ("snowflake-arctic-embed",), "multilingual-e5-small"),
    ],
)
def test_a_model_of_another_training_is_refused_with_both_sides(
    tmp_path: Path, config: dict[str, Any], files: Any, neither: tuple[str, ...], other: str
) -> None:
    """Such as paraphrase-multilingual, all-MiniLM or bge-small: what it could be, and why it is not the others."""
    with pytest.raises(ConfigError) as caught:
        resolve(folder(tmp_path, config, files))
    message = str(caught.value)
    assert "is the architecture of other models too, such as embedding models with other prompts, and its" in message
    (named,) = re.findall(r"do not say that it is one of (.*?)\. It would be read as ", message)
    assert {*neither} <= {*named.split(" or ")}
    assert other not in named.split(" or ")
    assert (
        f"as {other}, but 1_Pooling/config.json has the pooling {'mean' if files[POOLING] == MEAN else 'cls'}; ex"
        in message
    )
    rows = [row.name for label in named.split(" or ") for row in ROWS.values() if row.label == label]
    assert message.endswith(f"pass {' or '.join(f'row={name!r}' for name in rows)}.")


@pytest.mark.parametrize(
    ("name", "config", "files", "message"),
    [
        ("multilingual-e5-large", XLM, {POOLING: CLS}, "as multilingual-e5, but .* has the pooling cls; expected mean"),
        ("multilingual-e5-large", XLM, {PROMPTS: {"prompts": {"query": "q: "}}}, "the prompts {'query': 'q"),
        ("snowflake-arctic-embed-m", BERT, {POOLING: MEAN}, "as snowflake-arctic-embed, but .* has the pooling mean"),
        ("snowflake-arctic-embed-m", BERT, {PROMPTS: {"prompts": {"document": ARCTIC}}}, "the prompts {'document': "),
        ("bge-m3", XLM, {POOLING: MEAN}, "as bge-m3, but 1_Pooling/config.json has the pooling mean; expected cls"),
    ],
)  # fmt: skip
def test_what_its_files_contradict_is_refused_even_by_name(
    tmp_path: Path, name: str, config: dict[str, Any], files: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check(model=folder(tmp_path / name, config, files))


@pytest.mark.parametrize("prompts", [{}, {"query": "", "document": ""}, {"query": None, "document": None}])
def test_a_copy_that_sentence_transformers_saved_is_known_by_its_name(tmp_path: Path, prompts: Any) -> None:
    """Its file says of no model that it has prompts which its authors did not publish; nor that it is one."""
    files = {POOLING: MEAN, PROMPTS: {"prompts": prompts}}
    for name, config, row in (
        ("multilingual-e5-base", XLM, MULTILINGUAL_E5),
        ("multilingual-e5-small", BERT, MULTILINGUAL_E5_SMALL),
        ("multilingual-e5-large-instruct", XLM, MULTILINGUAL_E5_INSTRUCT),
    ):
        assert resolve(folder(tmp_path / name, config, files)).row == row
        place = folder(tmp_path / "mine" / name, {**config, "_name_or_path": "mine"}, files)
        assert resolve(place, row=row).row == row
    with pytest.raises(ConfigError):
        resolve(folder(tmp_path / "mine-multilingual-e5", XLM, files))


@pytest.mark.parametrize(
    ("name", "row", "length", "sizes"),
    [
        ("intfloat/multilingual-e5-small", MULTILINGUAL_E5_SMALL, 512, (384,)),
        ("intfloat/multilingual-e5-base", MULTILINGUAL_E5, 512, (768,)),
        ("intfloat/multilingual-e5-large", MULTILINGUAL_E5, 512, (1024,)),
        ("intfloat/multilingual-e5-large-instruct", MULTILINGUAL_E5_INSTRUCT, 512, (1024,)),
        ("Snowflake/snowflake-arctic-embed-xs", ARCTIC_EMBED, 512, (384,)),
        ("Snowflake/snowflake-arctic-embed-m-v1.5", ARCTIC_EMBED, 512, (256, 768)),
        ("Snowflake/snowflake-arctic-embed-l", ARCTIC_EMBED, 512, (1024,)),
        ("Snowflake/snowflake-arctic-embed-l-v2.0", ARCTIC_EMBED_L_V2, 8192, (256, 1024)),
    ],
)
def test_published_repositories_are_read_from_the_table(
    name: str, row: Model, length: int, sizes: tuple[int, ...]
) -> None:
    checkpoint = resolve(name)
    assert checkpoint is PUBLISHED[name]
    assert (checkpoint.row, checkpoint.max_length, checkpoint.matryoshka_sizes) == (row, length, sizes)
    assert (checkpoint.hidden_size, checkpoint.token_dimensions) == (sizes[-1], sizes[-1])
    with pytest.raises(ConfigError, match=r"dimensions=33 is not a Matryoshka size"):
        check_dimensions(checkpoint, 33)


def test_sizes_stand_in_the_files_under_vllms_name_too(tmp_path: Path) -> None:
    """And where they do not, those of the row below the full one are taken."""
    files = {POOLING: CLS, PROMPTS: {"prompts": {"query": "query: "}}}
    for dimensions, sizes in (([64, 32], (32, 64, 96)), ([], (96,)), (None, (96,))):
        place = folder(tmp_path, {**XLM, "matryoshka_dimensions": dimensions}, files)
        assert resolve(place).matryoshka_sizes == sizes
    assert resolve(folder(tmp_path, {**XLM, "hidden_size": 512}, files)).matryoshka_sizes == (256, 512)
    with pytest.raises(ConfigError, match="has matryoshka_dimensions='x'; expected a list"):
        resolve(folder(tmp_path, {**XLM, "matryoshka_dimensions": "x"}, files))


CASES = [
    (MULTILINGUAL_E5, XLM, {"query": "query: ", "passage": "passage: "}),
    (MULTILINGUAL_E5_SMALL, BERT, {"query": "query: ", "passage": "passage: "}),
    (MULTILINGUAL_E5_INSTRUCT, XLM, {"query": INSTRUCTION, "passage": ""}),
    (ARCTIC_EMBED, BERT, {"query": ARCTIC, "passage": ""}),
    (ARCTIC_EMBED_L_V2, XLM, {"query": "query: ", "passage": ""}),
]


@pytest.mark.parametrize(("row", "config", "prefixes"), CASES, ids=lambda one: getattr(one, "name", None))
def test_prompts_are_those_of_the_tokenizer_with_the_published_prefix(
    tmp_path: Path, row: Model, config: dict[str, Any], prefixes: dict[str, str]
) -> None:
    """Both ends by name, and nothing of a text between them is special."""
    tokenizer = make_wordpiece() if row.kind == "wordpiece" else make_unigram()
    tokenizer.no_truncation()
    tokenizer.no_padding()
    place = folder(tmp_path, config, {})
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str())
    builder = load_builder(resolve(place, row=row), revision=None, policy=MediaPolicy())
    for role, prefix in prefixes.items():
        for text in ("the quick fox", "  two  spaces,\nand a line", "日本", "a " * 600):
            (prompt,) = builder.build(items.texts([text]), role=role, task="retrieval", max_length=900, truncate="end")  # type: ignore[arg-type]
            assert isinstance(prompt, Prompt)
            assert list(prompt.token_ids) == tokenizer.encode(prefix + text).ids
        names = [piece.token for piece in row.template("text", role, "retrieval") if isinstance(piece, Special)]
        hostile = "".join(names) * 2
        (prompt,) = builder.build(items.texts([hostile]), role=role, task="retrieval", max_length=900, truncate="end")  # type: ignore[arg-type]
        assert isinstance(prompt, Prompt)
        special = {tokenizer.token_to_id(name) for name in names}
        assert [one for one in prompt.token_ids if one in special] == [tokenizer.token_to_id(name) for name in names]


@pytest.mark.parametrize("row", [row for row, _, _ in CASES], ids=lambda row: row.name)
def test_it_is_vllms_own_class_with_our_pooling(row: Model) -> None:
    """Nothing cuts its prompts, no code of a checkpoint runs, and what transformers leaves out is told."""
    name = next(name for name, checkpoint in PUBLISHED.items() if checkpoint.row == row)
    engine: Any = check(model=name).engine
    arguments = engine_arguments(engine, cpu=False)
    pooling = {"first_token": "first_token", "mean": "mean"}[row.pooling]
    assert arguments["hf_overrides"] == {
        **LENGTHS, "architectures": [f"Pooled{row.layouts[0].architecture}"], "jina_pooling": pooling,
        "position_embedding_type": "absolute",
    }  # fmt: skip
    assert arguments["pooler_config"] == {"task": "embed", "use_activation": True}
    assert not [name for name in arguments if name.startswith(("mm_", "limit_mm", "trust", "scheduler_cls"))]


@pytest.mark.parametrize("row", [row for row, _, _ in CASES], ids=lambda row: row.name)
def test_each_field_that_was_read_somewhere_says_where(row: Model) -> None:
    """A default needs no source; what a row sets does."""
    assert {"layouts", "pooling", "templates", "attention", "max_length"} <= {*row.source}
    assert ("matryoshka_sizes" in row.source) >= bool(row.matryoshka_sizes)
    assert ("positions" in row.source) >= (row.positions != "all")
    assert all(Slot.TEXT in template for template in row.templates.values())
