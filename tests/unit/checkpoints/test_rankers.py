"""The table of rerankers, their recognition, and what is taken for neither kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from vllm_jina_embed import JinaEmbedder, JinaReranker, Layers, Layout, RankingModel, Slot, Special, YesNo, register
from vllm_jina_embed.checkpoints import rankers, table
from vllm_jina_embed.checkpoints.digest import NO_VECTORS
from vllm_jina_embed.checkpoints.prompt_pieces import TokenId
from vllm_jina_embed.checkpoints.rankers import PUBLISHED_RANKERS, RANKERS, ranker_given
from vllm_jina_embed.checkpoints.registry import PUBLISHED, ROWS, modules_of
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.resolve_ranker import resolve_ranker
from vllm_jina_embed.checkpoints.table.rerank import BGE_RERANKER, JINA_RERANKER_M0, QWEN3_RERANKER, QWEN3_VL_RERANKER
from vllm_jina_embed.errors import ConfigError

OWN = replace(QWEN3_RERANKER, name="own", known_as=("own-reranker",))


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, RankingModel]]:
    """The rows, which are as before after the test."""
    before = dict(RANKERS)
    yield RANKERS
    RANKERS.clear()
    RANKERS.update(before)


def folder_of(tmp_path: Path, name: str, architecture: str, **config: Any) -> Path:
    """Return a folder with a config.json."""
    folder = tmp_path / name
    folder.mkdir()
    told = {"architectures": [architecture], "hidden_size": 64, "max_position_embeddings": 4096, **config}
    (folder / "config.json").write_text(json.dumps(told))
    return folder


def test_every_reranker_of_the_table_is_known() -> None:
    rows = [row for module in modules_of(table) for row in getattr(module, "RANKING_ROWS", ())]
    assert list(RANKERS.values()) == rows
    assert {checkpoint.row for checkpoint in PUBLISHED_RANKERS.values()} == {*rows}
    assert not {*RANKERS} & {*ROWS}
    assert not {*PUBLISHED_RANKERS} & {*PUBLISHED}


@pytest.mark.parametrize("row", RANKERS.values(), ids=str)
def test_a_row_names_the_sources_of_its_fields(row: RankingModel) -> None:
    """Every field with a value of its own has one, but for names and what follows of another field."""
    names = {field.name for field in fields(RankingModel)}
    assert {"pooling", "template", "head", "max_length", "layouts"} <= {*row.source} <= names
    assert all(row.source.values())


@pytest.mark.parametrize(
    ("name", "architecture", "row"),
    [
        ("Qwen3-Reranker-0.6B", "Qwen3ForCausalLM", QWEN3_RERANKER),
        ("Qwen3-VL-Reranker-2B-tuned", "Qwen3VLForConditionalGeneration", QWEN3_VL_RERANKER),
        ("bge-reranker-v2-m3", "XLMRobertaForSequenceClassification", BGE_RERANKER),
        ("anything", "JinaVLForRanking", JINA_RERANKER_M0),
    ],
)
def test_a_folder_is_recognised_and_is_not_an_embedders(
    tmp_path: Path, name: str, architecture: str, row: RankingModel
) -> None:
    """By its name where other models have the architecture, else by that."""
    folder = folder_of(tmp_path, name, architecture, text_config=None)
    checkpoint = resolve_ranker(str(folder))
    assert (checkpoint.row, checkpoint.location) == (row, str(folder))
    assert checkpoint.max_length == (4094 if row is BGE_RERANKER else 4096)
    for start in (resolve, JinaEmbedder):
        with pytest.raises(
            ConfigError, match=rf"looks like {row.label} \({architecture}\), which is a reranker: .*JinaReranker"
        ):
            start(str(folder))


@pytest.mark.parametrize(
    ("name", "architecture"),
    [("Qwen3-Embedding-0.6B", "Qwen3ForCausalLM"), ("bge-m3", "XLMRobertaModel"), ("any", "XLMRobertaModel")],
)
def test_an_embedders_folder_is_not_a_rerankers(tmp_path: Path, name: str, architecture: str) -> None:
    folder = folder_of(tmp_path, name, architecture)
    with pytest.raises(ConfigError, match=r"looks like .*, which embeds items one by one. Use .*JinaEmbedder"):
        JinaReranker(folder)


def test_published_names_of_the_other_kind_are_told_at_once() -> None:
    """Nothing is downloaded."""
    for name in ("demo", *PUBLISHED):
        with pytest.raises(ConfigError, match=r"embeds items one by one. Use .*JinaEmbedder"):
            JinaReranker(name)
    for name in PUBLISHED_RANKERS:
        with pytest.raises(ConfigError, match=r"is a reranker: .*JinaReranker"):
            JinaEmbedder(name)
        assert JinaReranker(name).checkpoint == PUBLISHED_RANKERS[name]


def test_a_model_that_no_file_names_has_to_be_named(tmp_path: Path) -> None:
    """It looks as every chat model does; another name of its kind does not help."""
    folder = folder_of(tmp_path, "chat", "Qwen3ForCausalLM")
    with pytest.raises(ConfigError, match=r"do not say that it is one of Qwen3-Reranker\. +If it is one, pass row="):
        JinaReranker(folder)
    assert JinaReranker(folder, row="qwen3-reranker").checkpoint.row == QWEN3_RERANKER
    register(OWN)
    own = folder_of(tmp_path, "own-reranker", "Qwen3ForCausalLM")
    assert JinaReranker(own).checkpoint.row == OWN


@pytest.mark.parametrize(
    ("file", "told", "longest"),
    [
        ("sentence_bert_config.json", {"max_seq_length": 128}, 128),
        ("tokenizer_config.json", {"model_max_length": 200}, 200),
        ("tokenizer_config.json", {"model_max_length": 10**30}, 4094),
    ],
)
def test_pairs_are_no_longer_than_vllm_takes(tmp_path: Path, file: str, told: dict[str, int], longest: int) -> None:
    """It starts with no longer prompts than these files say."""
    folder = folder_of(tmp_path, "bge-reranker-v2-m3", "XLMRobertaForSequenceClassification")
    (folder / file).write_text(json.dumps(told))
    assert resolve_ranker(str(folder)).max_length == longest


def test_an_unknown_architecture_says_how_to_describe_it(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "other", "OtherForRanking")
    with pytest.raises(ConfigError, match=r"row=vllm_jina_embed.RankingModel"):
        JinaReranker(folder)
    with pytest.raises(ConfigError, match="no such folder"):
        JinaReranker("./nowhere")


def test_a_row_is_registered_once() -> None:
    register(OWN)
    register(replace(OWN))
    assert ranker_given("own") == OWN
    with pytest.raises(ConfigError, match="another row of this name"):
        register(replace(OWN, code=2))
    with pytest.raises(ConfigError, match="another row of this name"):
        ranker_given(replace(OWN, instruction="Other"))
    with pytest.raises(ConfigError, match=r"expected a vllm_jina_embed.RankingModel. It describes a model that embeds"):
        ranker_given(next(iter(ROWS.values())))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"is a RankingModel; expected .*Model. It describes a reranker: use Jina"):
        JinaEmbedder("demo", row=OWN)  # type: ignore[arg-type]


CHANGES: dict[str, Any] = {
    "name": "other",
    "layouts": (Layout(architecture="Other"),),
    "known_as": ("other",),
    "only_named": True,
    "pooling": "first_token",
    "kind": "unigram",
    "normalization": "lower",
    "image": (Special("<i>"),),
    "fixed_size": True,
    "token_side": 32,
    "side_multiple": 28,
    "vllm_architecture": "Other",
    "remote_code": "its class",
    "config_names": {"a": "b"},
    "attention": "both",
    "overrides": {"a": 1},
    "arguments": {"a": 1},
    "splits_prompts": False,
    "positions": "after_padding",
    "min_pixels": 2,
    "max_pixels": 3,
    "max_length": 4,
    "source": {"template": "another card"},
    "code": 2,
    "template": (Slot.QUERY, Slot.DOCUMENT),
    "instruction": "Other",
    "modalities": ("text", "image"),
    "head": YesNo(yes="no", no="yes"),
    "images_reversed": True,
}


@pytest.mark.parametrize("name", [field.name for field in fields(RankingModel)])
def test_each_field_that_decides_scores_is_in_the_digest(name: str) -> None:
    """A new field has to be in ``CHANGES``."""
    changed = replace(QWEN3_RERANKER, **{name: CHANGES[name]})
    assert (changed.digest != QWEN3_RERANKER.digest) == (changed != QWEN3_RERANKER) == (name not in NO_VECTORS)


def test_each_part_of_a_head_is_in_the_digest() -> None:
    head = Layers(names=("a", "b"), activation="tanh")
    others = [replace(head, **change) for change in ({"names": ("b", "a")}, {"activation": "relu"}, {"minus": 1.0})]  # type: ignore[arg-type]
    digests = {replace(QWEN3_RERANKER, head=one).digest for one in (head, *others, QWEN3_RERANKER.head)}
    assert len(digests) == 5


@pytest.mark.parametrize("value", [object(), (object(),)], ids=["object", "tuple"])
@pytest.mark.parametrize("name", [field.name for field in fields(RankingModel)])
def test_each_field_of_a_row_is_checked(name: str, value: object) -> None:
    """A new one too: what means nothing is named, and never an error of Python's."""
    with pytest.raises(ConfigError, match=rf"has {name}=.*; expected "):
        register(replace(OWN, **{name: value}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("template", (Slot.QUERY,)),
        ("template", (Slot.QUERY, Slot.DOCUMENT, Slot.DOCUMENT)),
        ("template", (*OWN.template, Slot.TEXT)),
        ("instruction", ""),
        ("modalities", ("image",)),
        ("modalities", ()),
        ("pooling", "mean"),
        ("pooling", None),
        ("instruction", "\ud800"),
        ("template", (*OWN.template, "\ud800")),
        ("template", (*OWN.template, Special(""))),
        ("template", (*OWN.template, Special("\ud800"))),
        ("template", (*OWN.template, TokenId(-1))),
        ("template", (*OWN.template, TokenId(True))),
        ("overrides", {"architectures": ["Qwen3Model"]}),
        *(("arguments", {argument: "x"}) for argument in ("trust_remote_code", "model", "tokenizer", "hf_overrides")),
        ("head", YesNo(yes="yes", no="yes")),
        ("head", YesNo(yes="", no="no")),
        ("head", Layers(names=("a",), activation="tanh")),  # type: ignore[arg-type]
        ("head", Layers(names=("a", "b"), activation="gelu")),  # type: ignore[arg-type]
    ],
)
def test_what_means_nothing_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"has {name}="):
        register(replace(OWN, **{name: value}))
    assert "own" not in rankers.RANKERS


def test_a_folder_that_differs_is_refused_in_the_words_of_a_reranker(tmp_path: Path) -> None:
    """What describes it is a ``RankingModel``, and what would be wrong are scores."""
    name, architecture = "bge-reranker-v2-m3", "XLMRobertaForSequenceClassification"
    folder = folder_of(tmp_path, name, architecture, position_embedding_type="relative_key")
    other = folder_of(tmp_path, "other", "OtherForRanking")
    for place, said in ((folder, r"position_embedding_type='relative_key'; expected 'absolute'"), (other, "OtherFor")):
        with pytest.raises(ConfigError, match=said) as caught:
            JinaReranker(place)
        assert "another head: their scores would be wrong here" in str(caught.value)
        assert "vllm_jina_embed.RankingModel" in str(caught.value)
        assert "vectors" not in str(caught.value)
        assert "vllm_jina_embed.Model" not in str(caught.value)
