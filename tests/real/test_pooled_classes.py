"""vLLM's registry with our classes: it decides by each what it decides by its own. No engine is started."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from vllm import ModelRegistry
from vllm.config import ModelConfig, PoolerConfig
from vllm.model_executor.models.adapters import as_embedding_model
from vllm.model_executor.models.config import MODELS_CONFIG_MAP
from vllm.model_executor.models.registry import _ModelInfo

from tests.support.qwen3 import make_qwen3_embedding
from tests.support.xlm_roberta import make_xlm_roberta
from vllm_jina_embed.engine.plugin_contract import POOLED_PREFIX, POOLING_KEY
from vllm_jina_embed.plugin import OWN, pooled, register
from vllm_jina_embed.plugin.span_pooler import SpanPooler

ARCHITECTURES = (
    "Qwen3ForCausalLM",
    "Qwen3Model",
    "Qwen2Model",
    "Qwen2ForCausalLM",
    "MistralModel",
    "LlamaModel",
    "LlamaBidirectionalModel",
    "XLMRobertaModel",
    "BertModel",
    "ModernBertModel",
    "NomicBertModel",
    "GteNewModel",
    "Gemma3TextModel",
    "Qwen2VLForConditionalGeneration",
    "Qwen2_5_VLForConditionalGeneration",
    "Qwen3VLForConditionalGeneration",
    "LlavaNextForConditionalGeneration",
    "LlamaNemotronVLModel",
    "Phi3VForCausalLM",
    "ColQwen3StatesModel",
)
EACH = pytest.mark.parametrize("architecture", ARCHITECTURES)
INHERITED = (
    "_processor_factory",
    "hf_to_vllm_mapper",
    "packed_modules_mapping",
    "supports_lora",
    "embedding_modules",
    "supports_multimodal",
    "supports_mrope",
    "is_pooling_model",
    "forward",
)
"""What vLLM reads from a class beside ``_ModelInfo``: processors of images, names of weights, LoRA, positions."""


@pytest.fixture(scope="module", autouse=True)
def _registered() -> None:
    register()


def resolved(architecture: str) -> Any:
    """Return the class that vLLM loads for an architecture, once it knows that it is to embed."""
    config: Any = SimpleNamespace(model_impl="auto", runner_type="pooling", convert_type="embed", hf_config=None)
    cls, name = ModelRegistry.resolve_model_cls([architecture], config)
    assert name == architecture
    return as_embedding_model(cls)


@EACH
def test_a_class_is_vllms_own_but_for_its_pooler(architecture: str) -> None:
    """So cuts, prefix cache, processors, weights and LoRA are those of vLLM's class as an embedding model."""
    ours, theirs = resolved(POOLED_PREFIX + architecture), resolved(architecture)
    assert ours.__name__.startswith(POOLED_PREFIX)
    assert issubclass(ours, ModelRegistry.models[ours.__name__.removeprefix(POOLED_PREFIX)].load_model_cls())
    left, right = (_ModelInfo.from_model_cls(cls) for cls in (ours, theirs))
    assert asdict(replace(left, architecture="")) == asdict(replace(right, architecture=""))
    assert left.is_pooling_model
    for name in INHERITED:
        assert getattr(ours, name, None) is getattr(theirs, name, None), name
    assert MODELS_CONFIG_MAP.get(POOLED_PREFIX + architecture) is MODELS_CONFIG_MAP.get(architecture)


@EACH
def test_a_class_needs_a_pooling(architecture: str) -> None:
    """Before vLLM builds or loads anything."""
    config = SimpleNamespace(model_config=SimpleNamespace(hf_config=SimpleNamespace()))
    with pytest.raises(RuntimeError, match="needs a pooling and got None"):
        resolved(POOLED_PREFIX + architecture)(vllm_config=config)


def test_a_second_registration_changes_nothing() -> None:
    before = dict(ModelRegistry.models)
    register()
    assert ModelRegistry.models == before
    assert not [name for name in before if name.startswith(POOLED_PREFIX * 2)]
    assert not [name for name in OWN if POOLED_PREFIX + name in before]


@pytest.mark.parametrize("name", ["Qwen3ForCausalLM", "PooledNothing", "Pooled", "anything"])
def test_another_name_is_no_class(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(pooled, name)


def test_a_class_is_made_once() -> None:
    """vLLM compares classes, and keeps what it found out of one."""
    assert resolved("PooledQwen2Model") is pooled.PooledQwen2Model


def test_vllm_inspects_a_class_in_a_process_of_its_own() -> None:
    """Which imports it by its name and loads the plugin, as with every class that vLLM has not seen."""
    info = ModelRegistry.models["PooledQwen3ForCausalLM"].inspect_model_cls()
    expected = _ModelInfo.from_model_cls(resolved("PooledQwen3ForCausalLM"))
    assert json.dumps(asdict(info)) == json.dumps(asdict(expected))  # vLLM keeps it as JSON from then on


# --- what vLLM decides for a checkpoint -------------------------------------------------------------------------------


def config_of(folder: Path, architecture: str, **pooler: Any) -> ModelConfig:
    overrides = {"architectures": [POOLED_PREFIX + architecture], POOLING_KEY: "mean"}
    settings = PoolerConfig(task="embed", use_activation=True, **pooler)
    return ModelConfig(str(folder), runner="pooling", dtype="float32", hf_overrides=overrides, pooler_config=settings)


@pytest.mark.parametrize("architecture", ["Qwen3ForCausalLM", "Qwen3Model"])
def test_a_decoder_may_be_cut_whatever_its_pooling(architecture: str, tmp_path: Path) -> None:
    """vLLM decides by ``seq_pooling_type``, which our pooler does not read: LAST lets it cut even a mean."""
    folder = make_qwen3_embedding(tmp_path / "qwen3")
    config = config_of(folder, architecture, seq_pooling_type="LAST")
    assert config.architecture == POOLED_PREFIX + architecture
    assert config.attn_type == "decoder"
    assert config.is_chunked_prefill_supported
    assert getattr(config.hf_config, POOLING_KEY) == "mean"
    assert not config_of(folder, architecture, seq_pooling_type="MEAN").is_chunked_prefill_supported
    cls, _ = ModelRegistry.resolve_model_cls(config.architectures, config)
    assert cls is pooled.PooledQwen3ForCausalLM


def test_an_encoder_is_never_cut(tmp_path: Path) -> None:
    """And vLLM's changes to its configuration are made, which it finds by the architecture's name."""
    config = config_of(make_xlm_roberta(tmp_path / "xlm"), "XLMRobertaModel")
    assert config.attn_type == "encoder_only"
    assert not config.is_chunked_prefill_supported
    assert not config.is_prefix_caching_supported


def test_the_pooler_is_replaced_as_a_whole() -> None:
    """Whatever modules.json lists: a Dense layer would have been loaded into vLLM's."""
    config: Any = SimpleNamespace(jina_pooling="last_token")
    pooler: Any = pooled.pooler_of(SimpleNamespace(hf_config=config))
    assert set(pooler.poolers_by_task) == {"embed", "token_embed"}
    assert isinstance(pooler.poolers_by_task["embed"], SpanPooler)
