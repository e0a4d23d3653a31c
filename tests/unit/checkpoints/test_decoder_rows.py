"""gte-Qwen2, e5-mistral and Qwen2-7B-Instruct-embed-base: which folders are one, what is refused, prompts and start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.support.llama_tokenizer import make_llama
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.checkpoints.registry import PUBLISHED
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.decoders import E5_MISTRAL, GTE_QWEN2, QWEN2_EMBED_BASE
from vllm_jina_embed.engine.local.arguments import LENGTHS, engine_arguments
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.inputs import items
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.build import load_builder
from vllm_jina_embed.settings import check, check_dimensions

CONFIG, POOLING, PROMPTS = "config.json", "1_Pooling/config.json", "config_sentence_transformers.json"
LAST, MEAN = {"pooling_mode_lasttoken": True}, {"pooling_mode_mean_tokens": True}
QUERY = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "
GTE_PROMPTS = {"prompts": {"query": QUERY}, "default_prompt_name": None}
E5_PROMPTS = {
    "prompts": {
        "web_search_query": QUERY,
        "sts_query": "Instruct: Retrieve semantically similar text.\nQuery: ",
        "summarization_query": "Instruct: Given a news summary, retrieve other semantically similar summaries\nQuery: ",
        "bitext_query": "Instruct: Retrieve parallel sentences.\nQuery: ",
    }
}
QWEN2 = {"model_type": "qwen2", "hidden_size": 96, "max_position_embeddings": 131072}
GTE = {**QWEN2, "architectures": ["Qwen2ForCausalLM"], "is_causal": False}
BASE = {**QWEN2, "architectures": ["Qwen2Model"], "max_position_embeddings": 32768}
E5 = {
    "model_type": "mistral", "architectures": ["MistralModel"], "hidden_size": 96, "max_position_embeddings": 32768,
    "_name_or_path": "mistralai/Mistral-7B-v0.1", "sliding_window": 4096,
}  # fmt: skip
NAMES = {
    "gte-Qwen2-1.5B-instruct": GTE_QWEN2,
    "e5-mistral-7b-instruct": E5_MISTRAL,
    "Qwen2-7B-Instruct-embed-base": QWEN2_EMBED_BASE,
}


def folder(path: Path, config: dict[str, Any], files: dict[str, Any] | None = None) -> str:
    for name, content in {CONFIG: config, **(files or {})}.items():
        (path / name).parent.mkdir(exist_ok=True, parents=True)
        (path / name).write_text(json.dumps(content))
    return str(path)


PUBLISHED_FILES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "gte-Qwen2-1.5B-instruct": (GTE, {POOLING: LAST, PROMPTS: GTE_PROMPTS}),
    "e5-mistral-7b-instruct": (E5, {POOLING: LAST, PROMPTS: E5_PROMPTS}),
    "Qwen2-7B-Instruct-embed-base": (BASE, {"1_Pooling/1_Pooling_config.json": {**LAST}}),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_of_the_published_files_is_recognised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Without a warning."""
    checkpoint = check(model=folder(tmp_path / name, *PUBLISHED_FILES[name])).checkpoint
    assert checkpoint.row == NAMES[name]
    assert (checkpoint.hidden_size, checkpoint.matryoshka_sizes) == (96, (96,))
    assert checkpoint.max_length == {E5_MISTRAL: 4096}.get(checkpoint.row, 32768)
    assert caplog.records == []


@pytest.mark.parametrize("architecture", ["Qwen2ForCausalLM", "Qwen2Model"])
@pytest.mark.parametrize("config", [{}, {"is_causal": None}, {"is_causal": False}])
def test_files_tell_gte_whatever_the_folders_name(tmp_path: Path, architecture: str, config: dict[str, Any]) -> None:
    """Also of a copy whose config.json says nothing of attention: the engine is told in any case."""
    told = {
        key: value for key, value in {**GTE, **config, "architectures": [architecture]}.items() if value is not None
    }
    checkpoint = resolve(folder(tmp_path / "mine", told, {POOLING: LAST, PROMPTS: GTE_PROMPTS}))
    assert (checkpoint.row, checkpoint.architecture) == (GTE_QWEN2, architecture)


@pytest.mark.parametrize(
    "prompts", [E5_PROMPTS, {"prompts": {"query": QUERY}}, {"prompts": {"web_search_query": QUERY}}]
)
def test_files_tell_e5_mistral_whatever_the_folders_name(tmp_path: Path, prompts: Any) -> None:
    """The prompts of its other tasks may stand there or not."""
    assert resolve(folder(tmp_path / "mine", E5, {POOLING: LAST, PROMPTS: prompts})).row == E5_MISTRAL


def test_files_tell_a_mean_over_qwen2(tmp_path: Path) -> None:
    """As sentence-transformers writes them where it saves a model without prompts."""
    files = {POOLING: MEAN, PROMPTS: {"prompts": {"query": "", "document": ""}}}
    assert resolve(folder(tmp_path / "mine", BASE, files)).row == QWEN2_EMBED_BASE


@pytest.mark.parametrize("name", NAMES)
def test_a_name_says_it_too(tmp_path: Path, name: str) -> None:
    config = PUBLISHED_FILES[name][0]
    assert resolve(folder(tmp_path / name, config)).row == NAMES[name]
    assert resolve(folder(tmp_path / "mine", {**config, "_name_or_path": f"owner/{name}"})).row == NAMES[name]
    snapshot = tmp_path / f"models--owner--{name}" / "snapshots" / "0123456789abcdef"
    assert resolve(folder(snapshot, config)).row == NAMES[name]


CHAT = {
    "Qwen2ForCausalLM": ({**QWEN2, "architectures": ["Qwen2ForCausalLM"]}, ["gte-qwen2"]),
    "Qwen2Model": (BASE, ["gte-qwen2", "qwen2-embed-base"]),
    "MistralModel": (E5, ["e5-mistral"]),
}


@pytest.mark.parametrize("files", [{}, {POOLING: LAST}, {PROMPTS: {"prompts": {}}}], ids=["none", "pooling", "prompts"])
@pytest.mark.parametrize("architecture", CHAT)
def test_a_chat_model_is_refused_and_taken_only_by_name(
    tmp_path: Path, architecture: str, files: dict[str, Any]
) -> None:
    """Every one of this size has the same config.json: its vectors would be wrong without a sign."""
    config, rows = CHAT[architecture]
    place = folder(tmp_path / "Qwen2-7B-Instruct", config, files)
    with pytest.raises(ConfigError) as caught:
        resolve(place)
    assert f"{architecture} is the architecture of other models too, such as chat models, and its" in str(caught.value)
    for row in rows:
        if row == "qwen2-embed-base" and POOLING in files:
            continue  # the last token contradicts it
        assert f"row={row!r}" in str(caught.value)
        assert check(model=place, row=row).checkpoint.row.name == row


@pytest.mark.parametrize(
    ("name", "config", "files", "message"),
    [
        ("gte-Qwen2-7B-instruct", {**GTE, "is_causal": True}, {}, r"config\.json has is_causal=True; expected False"),
        ("gte-Qwen2-7B-instruct", GTE, {POOLING: MEAN}, r"1_Pooling/config\.json has the pooling mean; expected lastt"),
        (
            "gte-Qwen2-7B-instruct",
            GTE,
            {PROMPTS: {"prompts": {"query": QUERY.rstrip()}}},
            "has the prompts {'query': 'I",
        ),
        (
            "gte-Qwen2-7B-instruct",
            GTE,
            {PROMPTS: {"prompts": {"query": "", "document": ""}}},
            "has the prompts {'query': ''}; expected",
        ),
        ("e5-mistral-7b-instruct", {**E5, "is_causal": False}, {}, r"config\.json has is_causal=False; expected True"),
        ("e5-mistral-7b-instruct", E5, {POOLING: MEAN}, "has the pooling mean; expected lasttoken"),
        (
            "e5-mistral-7b-instruct",
            E5,
            {PROMPTS: {"prompts": {"sts_query": "STS: "}}},
            "{'sts_query': 'STS: '}; expect",
        ),
        ("e5-mistral-7b-instruct", E5, {PROMPTS: {"prompts": {"document": QUERY}}}, "has the prompts {'document': 'In"),
        ("Qwen2-7B-Instruct-embed-base", BASE, {POOLING: LAST}, "has the pooling lasttoken; expected mean"),
        (
            "Qwen2-7B-Instruct-embed-base",
            BASE,
            {PROMPTS: GTE_PROMPTS},
            "has the prompts {'query': 'Inst.*; expected none",
        ),
        ("Qwen2-7B-Instruct-embed-base", {**BASE, "is_causal": False}, {}, "has is_causal=False; expected True"),
    ],
)
def test_what_its_files_contradict_is_refused_by_name_with_both_sides(
    tmp_path: Path, name: str, config: dict[str, Any], files: dict[str, Any], message: str
) -> None:
    place = folder(tmp_path / name, config, files)
    row = next(row for known, row in NAMES.items() if known[:5] == name[:5])
    with pytest.raises(ConfigError, match=message):
        check(model=place, row=row.name)
    with pytest.raises(ConfigError):
        resolve(place)


@pytest.mark.parametrize(
    ("name", "row", "size", "length"),
    [
        ("Alibaba-NLP/gte-Qwen2-1.5B-instruct", GTE_QWEN2, 1536, 32768),
        ("Alibaba-NLP/gte-Qwen2-7B-instruct", GTE_QWEN2, 3584, 32768),
        ("intfloat/e5-mistral-7b-instruct", E5_MISTRAL, 4096, 4096),
        ("ssmits/Qwen2-7B-Instruct-embed-base", QWEN2_EMBED_BASE, 3584, 32768),
    ],
)
def test_published_repositories_are_read_from_the_table(name: str, row: Model, size: int, length: int) -> None:
    checkpoint = resolve(name)
    assert checkpoint is PUBLISHED[name]
    assert (checkpoint.row, checkpoint.tasks) == (row, ("retrieval",))
    assert (checkpoint.hidden_size, checkpoint.token_dimensions, checkpoint.max_length) == (size, size, length)
    assert check_dimensions(checkpoint, size) == size
    with pytest.raises(ConfigError, match="dimensions=256"):
        check_dimensions(checkpoint, 256)


ENDS = {
    "gte-Qwen2-1.5B-instruct": (make_tokenizer, [], ["<|endoftext|>"], QUERY),
    "e5-mistral-7b-instruct": (make_llama, ["<s>"], ["</s>"], QUERY),
    "Qwen2-7B-Instruct-embed-base": (make_tokenizer, [], [], ""),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("role", ["query", "passage"])
def test_prompts_are_the_published_ones(tmp_path: Path, name: str, role: str) -> None:
    """The instruction and the text are one run; both ends are the row's, whatever the tokenizer adds."""
    make, first, last, query = ENDS[name]
    tokenizer: Tokenizer = make()
    place = folder(tmp_path / name, *PUBLISHED_FILES[name])
    (tmp_path / name / "tokenizer.json").write_text(tokenizer.to_str())
    builder = load_builder(resolve(place), revision=None, policy=MediaPolicy())
    text = "the fox <|endoftext|> </s> <s>"
    (prompt,) = builder.build(items.texts([text]), role=role, task="retrieval", max_length=1000, truncate="error")  # type: ignore[arg-type]
    assert isinstance(prompt, Prompt)
    head, tail = ([tokenizer.token_to_id(token) for token in tokens] for tokens in (first, last))
    end = len(prompt.token_ids) - len(tail)
    assert ([*prompt.token_ids[: len(head)]], [*prompt.token_ids[end:]]) == (head, tail)
    inside = prompt.token_ids[len(head) : end]
    assert tokenizer.decode(inside, skip_special_tokens=False) == (query if role == "query" else "") + text
    assert {tokenizer.token_to_id(token) for token in ("<|endoftext|>", "<s>", "</s>")}.isdisjoint(inside)


@pytest.mark.parametrize(
    ("name", "overrides", "splits"),
    [
        ("gte-Qwen2-1.5B-instruct", {"architectures": ["PooledQwen2ForCausalLM"], "is_causal": False}, False),
        ("e5-mistral-7b-instruct", {"architectures": ["PooledMistralModel"]}, True),
        ("Qwen2-7B-Instruct-embed-base", {"architectures": ["PooledQwen2Model"], "jina_pooling": "mean"}, True),
    ],
)
def test_it_is_vllms_own_class_with_our_pooling(
    tmp_path: Path, name: str, overrides: dict[str, Any], splits: bool
) -> None:
    """Prompts are cut where attention is causal, and nowhere else; no code of the checkpoint is run."""
    engine: Any = check(model=folder(tmp_path / name, *PUBLISHED_FILES[name])).engine
    arguments = engine_arguments(engine, cpu=False)
    told = {**LENGTHS, "jina_pooling": "last_token", **overrides}
    assert told.items() <= arguments["hf_overrides"].items()
    assert ("scheduler_cls" in arguments) == splits
    assert ("seq_pooling_type" in arguments["pooler_config"]) == splits
    assert not [argument for argument in arguments if argument.startswith(("mm_", "limit_mm", "trust"))]
