"""ColModernVBERT for texts: which folders are one, what its prompts and its start are, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, processors

from tests.support.images import noise
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed.checkpoints.registry import PUBLISHED
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.modernvbert import COL_MODERN_VBERT, ETTIN_ROPE
from vllm_jina_embed.engine.local.arguments import engine_arguments
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.inputs import items
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.build import load_builder
from vllm_jina_embed.settings import check

NAME = "colmodernvbert-merged"
TEXT: dict[str, Any] = {
    "model_type": "modernvbert_text", "text_model_name": "jhu-clsp/ettin-encoder-150m", "hidden_size": 768,
    "intermediate_size": 1152, "mlp_bias": False, "num_hidden_layers": 22, "vocab_size": 50368,
}  # fmt: skip
CONFIG: dict[str, Any] = {"model_type": "modernvbert", "text_config": TEXT, "vision_config": {"embed_dim": 768}}
SPECIAL = ["[CLS]", "[SEP]", "<end_of_utterance>", "<image>"]


def tokenizer(ends: str = "[CLS] $A [SEP]") -> Tokenizer:
    made = make_tokenizer(special=SPECIAL)
    known = [(token, made.token_to_id(token)) for token in SPECIAL[:2]]
    made.post_processor = processors.TemplateProcessing(single=ends, special_tokens=known)
    return made


def folder(path: Path, ends: str = "[CLS] $A [SEP]", **config: Any) -> str:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({**CONFIG, **config}))
    (path / "tokenizer.json").write_text(tokenizer(ends).to_str())
    return str(path)


@pytest.mark.parametrize("config", [{}, {"architectures": ["ColModernVBertForRetrieval"]}])
def test_a_name_says_what_a_folder_is(tmp_path: Path, config: dict[str, Any]) -> None:
    """With or without an architecture, which the published config.json does not name; others have its type too."""
    checkpoint = resolve(folder(tmp_path / NAME, **config))
    assert (checkpoint.row, checkpoint.token_dimensions, checkpoint.max_length) == (COL_MODERN_VBERT, 128, 7999)
    assert resolve(f"ModernVBERT/{NAME}") is PUBLISHED[f"ModernVBERT/{NAME}"]
    other = folder(tmp_path / "bimodernvbert", **config)
    with pytest.raises(ConfigError, match="do not say that it is one of colmodernvbert"):
        resolve(other)
    assert resolve(other, row=COL_MODERN_VBERT).architecture == "ColModernVBertForRetrieval"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("local_rope_theta", 10000.0),
        ("local_attention", 64),
        ("norm_eps", 1e-12),
        ("rope_parameters", {"full_attention": {"rope_theta": 160000.0, "rope_type": "default"}}),
    ],
)
def test_another_encoder_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    """vLLM reads none of it, so another one would be computed as this."""
    with pytest.raises(ConfigError, match=rf"config\.json: text_config has {key}="):
        resolve(folder(tmp_path / NAME, text_config={**TEXT, key: value}))


def test_prompts_are_the_published_ones(tmp_path: Path) -> None:
    """Ten tokens behind a text, whatever its role, and what the tokenizer adds around both; images have none."""
    builder = load_builder(resolve(folder(tmp_path / NAME)), revision=None, policy=MediaPolicy())
    for role in ("query", "passage"):
        text, image = builder.build(
            items.mixed(["a fox", noise(9, 9)]), role=role, task="retrieval", max_length=99, truncate="error"
        )
        assert isinstance(text, Prompt)
        assert list(text.token_ids) == tokenizer().encode("a fox" + "<end_of_utterance>" * 10).ids
        assert "takes texts only: vLLM never splits the images" in str(image)


def test_a_tokenizer_that_adds_something_else_is_refused(tmp_path: Path) -> None:
    checkpoint = resolve(folder(tmp_path / NAME, ends="$A"))
    with pytest.raises(ConfigError, match=r"adds nothing around a text; expected \[CLS\] and \[SEP\]"):
        load_builder(checkpoint, revision=None, policy=MediaPolicy())


def test_vllm_is_told_the_encoders_positions(tmp_path: Path) -> None:
    engine: Any = check(model=folder(tmp_path / NAME)).engine
    arguments = engine_arguments(engine, cpu=False)
    assert arguments["hf_overrides"]["text_config"] == {"rope_parameters": ETTIN_ROPE}
    assert arguments["hf_overrides"]["architectures"] == ["PooledColModernVBertForRetrieval"]
    assert arguments["limit_mm_per_prompt"] == {"image": 0}
    assert arguments["pooler_config"]["task"] == "token_embed"
