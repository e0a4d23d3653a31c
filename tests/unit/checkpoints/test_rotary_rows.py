"""gte, arctic-embed-m-v2.0, nomic-embed-text and jina-embeddings-v3: which folders are one, and what vLLM is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import builder_of
from tests.support.unigram import make_unigram
from tests.support.wordpiece import make_wordpiece
from vllm_jina_embed.checkpoints.adapted_ids import VOCABULARY_BITS, adapted, vocabulary_size
from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.checkpoints.registry import PUBLISHED
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.bge import XLM_ROBERTA
from vllm_jina_embed.checkpoints.table.encoders import MULTILINGUAL_E5
from vllm_jina_embed.checkpoints.table.rotary import ARCTIC_EMBED_M_V2, GTE_MULTILINGUAL, JINA_V3, NOMIC_EMBED
from vllm_jina_embed.engine.local.arguments import LENGTHS, check_remote_code, engine_arguments
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.inputs import items
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.serve.arguments import serve_arguments
from vllm_jina_embed.settings import check, check_task

PROMPTS, POOLING = "config_sentence_transformers.json", "1_Pooling/config.json"
MEAN, CLS = {"pooling_mode_mean_tokens": True}, {"pooling_mode_cls_token": True}
GTE = {"architectures": ["NewModel"], "model_type": "new", "hidden_size": 768, "max_position_embeddings": 8192}
SNOWFLAKE = {"architectures": ["GteModel"], "model_type": "gte", "hidden_size": 768, "max_position_embeddings": 8192}
NOMIC = {
    "architectures": ["NomicBertModel"], "model_type": "nomic_bert", "activation_function": "swiglu", "n_embd": 512,
    "n_head": 8, "n_layer": 6, "n_inner": 2048, "n_positions": 8192, "rotary_scaling_factor": None,
}  # fmt: skip
V3_ADAPTERS = ["retrieval.query", "retrieval.passage", "separation", "classification", "text-matching"]
V3 = {
    "architectures": ["XLMRobertaModel"], "model_type": "xlm-roberta", "hidden_size": 1024, "vocab_size": 250002,
    "max_position_embeddings": 8194, "pad_token_id": 1, "position_embedding_type": "rotary",
    "lora_adaptations": V3_ADAPTERS, "matryoshka_dimensions": [32, 64, 128, 256, 512, 768, 1024],
}  # fmt: skip
V3_PROMPTS = {
    "retrieval.query": "Represent the query for retrieving evidence documents: ",
    "retrieval.passage": "Represent the document for retrieval: ",
    "separation": "", "classification": "", "text-matching": "",
}  # fmt: skip
DEFAULTS = {"query": "", "document": ""}
"""What sentence-transformers writes beside the prompts that a model has."""
V3_SIZES, NOMIC_SIZES = (32, 64, 128, 256, 512, 768, 1024), (64, 128, 256, 512)
NOMIC_PROMPTS = {
    "query": "search_query: ", "document": "search_document: ", "Clustering": "clustering: ",
    "Classification": "classification: ",
}  # fmt: skip


def folder(path: Path, config: dict[str, Any], files: dict[str, Any]) -> str:
    for name, content in {"config.json": config, **files}.items():
        (path / name).parent.mkdir(exist_ok=True, parents=True)
        (path / name).write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize(
    ("name", "config", "files", "row", "sizes"),
    [
        ("gte-multilingual-base", GTE, {POOLING: CLS}, GTE_MULTILINGUAL, (128, 256, 512, 768)),
        ("mine", SNOWFLAKE, {POOLING: CLS, PROMPTS: {"prompts": {"query": "query: "}}}, ARCTIC_EMBED_M_V2, (256, 768)),
        ("snowflake-arctic-embed-m-v2.0", SNOWFLAKE, {}, ARCTIC_EMBED_M_V2, (256, 768)),
        ("nomic-embed-text-v1.5", NOMIC, {POOLING: MEAN}, NOMIC_EMBED, NOMIC_SIZES),
        ("mine", V3, {POOLING: MEAN, PROMPTS: {"prompts": V3_PROMPTS}}, JINA_V3, V3_SIZES),
        ("mine", V3, {}, JINA_V3, V3_SIZES),
        ("mine", V3, {POOLING: MEAN, PROMPTS: {"prompts": V3_PROMPTS | DEFAULTS}}, JINA_V3, V3_SIZES),
        ("nomic-embed-text-v1.5", NOMIC, {POOLING: MEAN, PROMPTS: {"prompts": DEFAULTS}}, NOMIC_EMBED, NOMIC_SIZES),
    ],
)
def test_the_files_or_the_name_say_which_model_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, config: Any, files: Any, row: Model, sizes: Any
) -> None:
    """Sizes stand in config.json under the names of each model."""
    checkpoint = check(model=folder(tmp_path / name, config, files)).checkpoint
    assert (checkpoint.row, checkpoint.tasks, checkpoint.matryoshka_sizes) == (row, row.tasks, sizes)
    assert checkpoint.max_length == (2048 if row == NOMIC_EMBED else 8192)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("name", "config", "files", "message"),
    [
        ("mine", GTE, {POOLING: CLS}, "NewModel is the architecture of other models too"),
        ("gte-multilingual-base", GTE, {POOLING: MEAN}, "as gte-multilingual-base, but .* pooling mean; expected cls"),
        ("nomic-embed-text-v1.5", NOMIC | {"rotary_scaling_factor": 2}, {}, "rotary_scaling_factor=2; expected None"),
        ("nomic-embed-text-v2-moe", NOMIC | {"num_experts": 8}, {}, "config.json has num_experts=8"),
        ("jina-embeddings-v3", V3 | {"lora_adaptations": ["a"]}, {}, r"has lora_adaptations=\['a'\]; expected"),
        ("mine", V3 | {"lora_adaptations": None}, {POOLING: MEAN}, "config.json has no lora_adaptations; expected one"),
        ("mine", V3, {PROMPTS: {"prompts": DEFAULTS}}, "has the prompts {'document': '', 'query': ''}; expected"),
        ("jina-embeddings-v3", V3, {PROMPTS: {"prompts": DEFAULTS}}, "has the prompts {'document': '', 'query': ''}"),
        ("nomic-embed-text-v1.5", {**NOMIC, "n_embd": None}, {}, "config.json has n_embd=None"),
        (
            "nomic-embed-text-v1.5",
            {key: value for key, value in NOMIC.items() if not key.startswith("n_")} | {"hidden_size": 512},
            {},
            "has hidden_size, and the published one of nomic-embed-text-v1.5 has n_embd: it was written by another",
        ),
        ("jina-embeddings-v3", V3, {POOLING: CLS}, "as jina-embeddings-v3, but .* pooling cls; expected mean"),
    ],
)  # fmt: skip
def test_another_model_is_refused(tmp_path: Path, name: str, config: Any, files: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(model=folder(tmp_path / name, config, files))


def test_a_model_with_rotary_positions_is_none_of_those_with_a_table(tmp_path: Path) -> None:
    """And the other way round: each refusal shows both sides."""
    place = folder(tmp_path / "bge-m3", V3 | {"lora_adaptations": ["a"]}, {POOLING: CLS})
    with pytest.raises(ConfigError) as caught:
        resolve(place)
    for row in (XLM_ROBERTA, MULTILINGUAL_E5, JINA_V3):
        assert f"as {row.label}, but config.json has " in str(caught.value)
    assert "position_embedding_type='rotary'; expected 'absolute'" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "row", "length"),
    [
        ("Alibaba-NLP/gte-multilingual-base", GTE_MULTILINGUAL, 8192),
        ("Snowflake/snowflake-arctic-embed-m-v2.0", ARCTIC_EMBED_M_V2, 8192),
        ("nomic-ai/nomic-embed-text-v1.5", NOMIC_EMBED, 2048),
        ("jinaai/jina-embeddings-v3", JINA_V3, 8192),
    ],
)
def test_published_repositories_are_read_from_the_table(name: str, row: Model, length: int) -> None:
    checkpoint = resolve(name)
    assert checkpoint is PUBLISHED[name]
    assert (checkpoint.row, checkpoint.max_length, checkpoint.hidden_size) == (
        row,
        length,
        1024 if row == JINA_V3 else 768,
    )
    assert checkpoint.matryoshka_sizes == (*row.matryoshka_sizes, checkpoint.hidden_size)


def test_vllm_is_told_the_sizes_under_its_own_names(tmp_path: Path) -> None:
    """transformers' class, which it takes without remote code, has defaults for what it does not find."""
    engine: Any = check(model=folder(tmp_path, NOMIC, {}), row=NOMIC_EMBED).engine
    assert engine_arguments(engine, cpu=False)["hf_overrides"] == {
        **LENGTHS, "architectures": ["PooledNomicBertModel"], "jina_pooling": "mean",
        "jina_layer_norm": True, "activation_function": "swiglu", "rotary_scaling_factor": None, "hidden_size": 512,
        "num_attention_heads": 8, "num_hidden_layers": 6, "intermediate_size": 2048,
    }  # fmt: skip


def test_no_code_of_a_checkpoint_runs_unless_the_user_allows_it(tmp_path: Path) -> None:
    """A row that cannot do without says so, whoever starts vLLM; the others need none."""
    place = folder(tmp_path / "gte-multilingual-base", GTE, {})
    engine: Any = check(model=place, engine_kwargs={"dtype": "float32"}).engine
    assert "trust_remote_code" not in engine_arguments(engine, cpu=False)
    options: Any = {"name": "m", "task": "retrieval", "cpu": False, "multi_vector": False}
    for start in (lambda: check_remote_code(engine), lambda: serve_arguments(engine, **options)):
        with pytest.raises(ConfigError) as caught:
            start()
        assert f"model={place!r} cannot be loaded without code of its repository: its class NewConfig, in" in str(
            caught.value
        )
        assert "engine_kwargs={'trust_remote_code': True} (serve: -- --trust-remote-code)" in str(caught.value)
    for allowed in (False, "", None, 0):
        with pytest.raises(ConfigError):
            check_remote_code(check(model=place, engine_kwargs={"trust_remote_code": allowed}).engine)  # type: ignore[arg-type]
    trusted: Any = check(model=place, engine_kwargs={"trust_remote_code": True}).engine
    check_remote_code(trusted)
    arguments = engine_arguments(trusted, cpu=False)
    assert arguments["trust_remote_code"] is True
    assert arguments["hf_overrides"]["architectures"] == ["PooledGteNewModel"]
    flags = serve_arguments(engine, **options, passed=["--trust-remote-code"])
    assert flags.count("--trust-remote-code") == 1
    for row in (ARCTIC_EMBED_M_V2, NOMIC_EMBED, JINA_V3):
        assert row.remote_code == ""


# --- the adapters of jina-embeddings-v3 -------------------------------------------------------------------------------


def test_ids_name_the_adapter_of_their_role_and_task() -> None:
    """In the bits above the vocabulary; without them they are those of plain prompts."""
    content = make_unigram().to_str()
    builder, tokenizer = builder_of(JINA_V3, content), make_unigram()
    places = {
        ("retrieval", "query"): (0, V3_PROMPTS["retrieval.query"]),
        ("retrieval", "passage"): (1, V3_PROMPTS["retrieval.passage"]),
        **{("separation", role): (2, "") for role in ("query", "passage")},
        **{("classification", role): (3, "") for role in ("query", "passage")},
        **{("text-matching", role): (4, "") for role in ("query", "passage")},
    }
    for (task, role), (place, prefix) in places.items():
        (prompt,) = builder.build(items.texts(["the fox"]), role=role, task=task, max_length=99, truncate="end")  # type: ignore[arg-type]
        assert isinstance(prompt, Prompt)
        assert {one >> VOCABULARY_BITS for one in prompt.token_ids} == {place + 1}
        assert [one & (2**VOCABULARY_BITS - 1) for one in prompt.token_ids] == tokenizer.encode(prefix + "the fox").ids
        assert max(prompt.token_ids) < JINA_V3.overrides["vocab_size"]


def test_an_error_stays_an_error_among_them() -> None:
    builder = builder_of(JINA_V3, make_unigram().to_str())
    texts: Any = items.texts(["the fox " * 90, "a"])
    long, short = builder.build(texts, role="query", task="separation", max_length=20, truncate="error")
    assert "max_length is 20" in str(long)
    assert isinstance(short, Prompt)


def test_ids_of_no_adapter_are_below_those_of_all() -> None:
    assert adapted((0, 5), 0) == (1 << 20, (1 << 20) + 5)
    assert vocabulary_size([0, 4]) == 6 << 20
    assert max(adapted((250_001,), 4)) < vocabulary_size([0, 4])


def test_each_task_has_its_own_check_at_the_start(tmp_path: Path) -> None:
    """Since its weights are others; a row with one set of weights has one."""
    assert JINA_V3.checked_tasks == JINA_V3.tasks == ("retrieval", "text-matching", "separation", "classification")
    assert NOMIC_EMBED.checked_tasks == XLM_ROBERTA.checked_tasks == ("",)
    checkpoint = resolve(folder(tmp_path, V3, {}))
    assert check_task(checkpoint, "separation") == "separation"
    with pytest.raises(
        ConfigError, match=r"task='code' is not served by .*, only retrieval, text-matching, separation"
    ):
        check_task(checkpoint, "code")


def test_vllm_is_told_of_the_plugins_class_and_the_vocabulary(tmp_path: Path) -> None:
    engine: Any = check(model=folder(tmp_path, V3, {})).engine
    told = engine_arguments(engine, cpu=False)["hf_overrides"]
    assert told["architectures"] == ["PooledStackedAdaptersXLMRobertaModel"]
    assert (told["vocab_size"], told["jina_vocabulary"], told["jina_pooling"]) == (6 << 20, 250002, "mean")


# --- prompts by task --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "role", "prefix"),
    [
        ("retrieval", "query", "search_query: "),
        ("retrieval", "passage", "search_document: "),
        ("clustering", "query", "clustering: "),
        ("clustering", "passage", "clustering: "),
        ("classification", "passage", "classification: "),
    ],
)
def test_a_task_may_have_its_own_prompt_for_both_roles(task: str, role: str, prefix: str) -> None:
    tokenizer = make_wordpiece()
    tokenizer.no_padding()
    (prompt,) = builder_of(NOMIC_EMBED, tokenizer.to_str()).build(
        items.texts(["The fox [SEP]"]),
        role=role,
        task=task,
        max_length=99,
        truncate="end",  # type: ignore[arg-type]
    )
    assert isinstance(prompt, Prompt)
    start, *_, end = tokenizer.encode(prefix).ids
    tokenizer.encode_special_tokens = True
    whole = [start, *tokenizer.encode(f"{prefix}The fox [SEP]", add_special_tokens=False).ids, end]
    assert list(prompt.token_ids) == whole


def test_prompts_of_tasks_are_those_that_sentence_transformers_is_told(tmp_path: Path) -> None:
    files = {POOLING: MEAN, PROMPTS: {"prompts": {key.lower(): text for key, text in NOMIC_PROMPTS.items()}}}
    assert resolve(folder(tmp_path / "a", NOMIC, files)).row == NOMIC_EMBED
    files[PROMPTS]["prompts"]["clustering"] = "search_query: "
    with pytest.raises(ConfigError, match=r"has the prompts {'clustering': 'search_query: '}"):
        resolve(folder(tmp_path / "b", NOMIC, files))


def test_a_tokenizer_of_another_model_names_the_row_that_was_taken(tmp_path: Path) -> None:
    """gte-large-en has the architecture, pooling and prompts of gte-multilingual, and BERT's tokenizer."""
    place = folder(tmp_path / "gte-large-en-v1.5", GTE, {POOLING: CLS, PROMPTS: {"prompts": {}}})
    checkpoint = resolve(place)
    assert checkpoint.row == GTE_MULTILINGUAL
    with pytest.raises(ConfigError, match="if this is another model than gte-multilingual-base, describe it by row="):
        builder_of(checkpoint.row, make_wordpiece().to_str())
