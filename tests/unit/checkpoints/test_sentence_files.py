"""Files of sentence-transformers that say another vector than a row's: each is refused with what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.encoders import MULTILINGUAL_E5
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.settings import check

TRANSFORMER, POOLING, SETTINGS = (
    "sentence_bert_config.json",
    "1_Pooling/config.json",
    "config_sentence_transformers.json",
)
XLM = {
    "architectures": ["XLMRobertaModel"], "model_type": "xlm-roberta", "hidden_size": 96,
    "max_position_embeddings": 514, "position_embedding_type": "absolute",
}  # fmt: skip
VISION = {"hidden_size": 64, "text_config": {"hidden_size": 64, "max_position_embeddings": 4096}}
KINDS = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize", "3_Dense": "Dense"}


def modules(*kinds: str, path: str = "") -> list[dict[str, str]]:
    """Return the content of a modules.json with these kinds of modules; ``path`` is that of the weights."""
    places = {kind: place for place, kind in KINDS.items()} | {"Transformer": path}
    return [{"type": f"sentence_transformers.models.{kind}", "path": places[kind]} for kind in kinds]


PLAIN = ("Transformer", "Pooling", "Normalize")
E5: Mapping[str, Any] = {
    "config.json": XLM,
    "modules.json": modules(*PLAIN),
    POOLING: {"pooling_mode_mean_tokens": True, "include_prompt": True},
    SETTINGS: {"prompts": {"query": "query: ", "document": "passage: "}, "similarity_fn_name": None},
    TRANSFORMER: {"max_seq_length": 512, "do_lower_case": False},
}


def written(path: Path, files: Mapping[str, Any]) -> str:
    """Write JSON files into a folder; return its path."""
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({POOLING: {**E5[POOLING], "include_prompt": False}}, r"1_Pooling/config\.json has include_prompt=false"),
        (
            {SETTINGS: {**E5[SETTINGS], "similarity_fn_name": "dot"}, "modules.json": modules(*PLAIN[:2])},
            r"has similarity_fn_name='dot' and modules\.json no Normalize; expected cosine, or vectors of norm 1",
        ),
        ({TRANSFORMER: {"do_lower_case": True}}, r"sentence_bert_config\.json has do_lower_case=true, which tokenizer"),
        ({"adapter_config.json": {"peft_type": "LORA"}}, "says that its weights are an adapter; expected it merged"),
        ({"modules.json": modules(*PLAIN, path="0_Transformer")}, "has the weights in another folder"),
    ],
    ids=["include_prompt", "similarity", "do_lower_case", "adapter", "path"],
)
def test_another_vector_is_refused(tmp_path: Path, files: Mapping[str, Any], message: str) -> None:
    """Known by its files, or named by the caller."""
    assert resolve(written(tmp_path / "right", E5)).row == MULTILINGUAL_E5
    place = written(tmp_path / "other", {**E5, **files})
    for row in (None, MULTILINGUAL_E5):
        with pytest.raises(ConfigError, match=message):
            check(model=place, row=row)


def test_what_changes_no_vector_is_no_difference(tmp_path: Path) -> None:
    """Unit vectors have one order by all three; a last or first token is the same without the prompt's others."""
    dot = {**E5, SETTINGS: {**E5[SETTINGS], "similarity_fn_name": "dot"}}
    assert resolve(written(tmp_path / "dot", dot)).row == MULTILINGUAL_E5
    lowered = {**E5, TRANSFORMER: {"do_lower_case": True}}
    for number, normalizer in enumerate(
        ({"type": "Lowercase"}, {"type": "Sequence", "normalizers": [{"type": "BertNormalizer", "lowercase": True}]})
    ):
        files = {**lowered, "tokenizer.json": {"normalizer": normalizer}}
        assert resolve(written(tmp_path / str(number), files)).row == MULTILINGUAL_E5
    first = replace(MULTILINGUAL_E5, name="first", pooling="first_token")
    cls = {**E5, POOLING: {"pooling_mode_cls_token": True, "include_prompt": False}}
    assert check(model=written(tmp_path / "cls", cls), row=first).checkpoint.row == first


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("Qwen3-VL-Embedding-2B", "Qwen3VLForConditionalGeneration"),
        ("gme-Qwen2-VL-2B-Instruct", "Qwen2VLForConditionalGeneration"),
        ("dse-qwen2-2b-mrl-v1", "Qwen2VLForConditionalGeneration"),
        ("VLM2Vec-Qwen2VL-2B-merged", "Qwen2VLForConditionalGeneration"),
        ("e5-v", "LlavaNextForConditionalGeneration"),
    ],
)
def test_a_training_of_a_vision_model_may_have_changed_it(tmp_path: Path, name: str, architecture: str) -> None:
    """Its name alone would be a silent guess; its prompts may stand there, which are not known."""
    config = {"architectures": [architecture], **VISION}
    last = {"pooling_mode_lasttoken": True}
    right = {"config.json": config, "modules.json": modules(*PLAIN), POOLING: last, SETTINGS: {"prompts": {"a": "b"}}}
    resolve(written(tmp_path / "a" / name, right))
    with pytest.raises(ConfigError, match=r"modules\.json has Dense, which is not computed here"):
        resolve(written(tmp_path / "b" / name, {**right, "modules.json": modules(*PLAIN, "Dense")}))
    with pytest.raises(ConfigError, match="has the pooling mean; expected lasttoken"):
        resolve(written(tmp_path / "c" / name, {**right, POOLING: {"pooling_mode_mean_tokens": True}}))
    with pytest.raises(ConfigError, match=r"do not say that it is one of .* If it is one, pass row="):
        resolve(written(tmp_path / "d" / "my-model", right))


@pytest.mark.parametrize("architecture", ["CLIPModel", "SiglipModel"])
def test_a_layer_on_top_of_a_dual_encoder_is_refused(tmp_path: Path, architecture: str) -> None:
    config = {"architectures": [architecture], **VISION}
    files = {"config.json": config, "modules.json": modules("Transformer", "Dense")}
    with pytest.raises(ConfigError, match=r"modules\.json has Dense, which is not computed here"):
        resolve(written(tmp_path / "siglip-base", files))


@pytest.mark.parametrize(
    ("files", "longest"),
    [
        ({}, 512),
        ({TRANSFORMER: {"max_seq_length": 128}}, 128),
        ({TRANSFORMER: {"max_seq_length": None}, "tokenizer_config.json": {"model_max_length": 200}}, 200),
        ({TRANSFORMER: {"max_seq_length": 300}, "tokenizer_config.json": {"model_max_length": 200}}, 300),
        ({TRANSFORMER: {}, "tokenizer_config.json": {"model_max_length": 10**30}}, 512),
        ({TRANSFORMER: {}, "tokenizer_config.json": {"model_max_length": 1e30}}, 512),
        ({TRANSFORMER: {"max_seq_length": 9000}}, 512),
    ],
)
def test_a_text_is_no_longer_than_the_files_say(tmp_path: Path, files: Mapping[str, Any], longest: int) -> None:
    """vLLM starts with no longer ones (``_get_and_verify_max_len``), and sentence-transformers cuts there."""
    assert resolve(written(tmp_path, {**E5, **files})).max_length == longest


def test_a_tokenizers_length_counts_where_vllm_reads_it(tmp_path: Path) -> None:
    """Models with computed positions start with longer texts, and their vectors may be cached."""
    config = {"architectures": ["Qwen2ForCausalLM"], "hidden_size": 64, "max_position_embeddings": 4096}
    files = {"config.json": config, "tokenizer_config.json": {"model_max_length": 200}}
    assert resolve(written(tmp_path / "gte-Qwen2-1.5B-instruct", files)).max_length == 4096
    files[TRANSFORMER] = {"max_seq_length": 300}
    assert resolve(written(tmp_path / "gte-Qwen2-1.5B-instruct", files)).max_length == 300


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (TRANSFORMER, {"max_seq_length": "512"}, "max_seq_length='512'; expected a whole number from 1"),
        (TRANSFORMER, {"max_seq_length": 0}, "max_seq_length=0; expected a whole number from 1"),
        (TRANSFORMER, {"do_lower_case": "yes"}, "do_lower_case='yes'; expected true or false"),
        (TRANSFORMER, [], r"sentence_bert_config\.json is \[\]; expected a JSON object"),
        ("tokenizer_config.json", [], r"tokenizer_config\.json is \[\]; expected a JSON object"),
        (POOLING, {"include_prompt": "no"}, "include_prompt='no'; expected true or false"),
        (SETTINGS, {"similarity_fn_name": 5}, "similarity_fn_name=5; expected a string"),
    ],
)
def test_a_value_of_another_type_is_named(tmp_path: Path, name: str, content: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(written(tmp_path, {**E5, TRANSFORMER: {}, name: content}))
