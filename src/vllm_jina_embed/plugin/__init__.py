"""The plugin that vLLM loads in each of its own processes (entry point group ``vllm.general_plugins``).

``register`` adds the architectures that pool inside the engine; nothing else in vLLM changes.
``hf_overrides={"architectures": [ARCHITECTURE]}``, set by ``engine/local/``, selects the one for merged weights;
jinaai/jina-embeddings-v4 itself names the other. All other rows select a class of ``pooled``, rerankers of ``ranking``.
This folder imports vllm and torch only when vLLM asks for the model.
"""

from __future__ import annotations

import importlib
import os

from ..checkpoints.rankers import row_at
from ..checkpoints.table.jina_v4 import ARCHITECTURE, NATIVE_ARCHITECTURE
from ..engine.plugin_contract import (
    CONNECTOR_VARIABLE,
    MEDIA_CONNECTOR,
    POOLED_PREFIX,
    RANKING_PREFIX,
    ROWS_VARIABLE,
    TOKENIZER_MODE,
)
from .end_with_parent import end_with_parent

EMBEDDING_SUFFIXES = (
    "ForCausalLM", "ForConditionalGeneration", "LMHeadModel", "ChatModel", "Model", "ForMaskedLM", "ForRetrieval",
)  # fmt: skip
"""How vLLM's architectures that return a state for each token end; others are heads that judge, or drafts."""


RANKING_SUFFIXES = ("ForCausalLM", "ForConditionalGeneration", "ForSequenceClassification", "ForRanking")
"""How those end that are rerankers, or become one by a head of two words."""


OWN = {ARCHITECTURE: "jina_v4_merged", NATIVE_ARCHITECTURE: "jina_v4_native"}
"""Our architectures, and the modules of their classes."""
UNPOOLED = {
    "StackedAdaptersXLMRobertaModel": "stacked_adapters",
    "ColQwen3StatesModel": "col_qwen3",
    "MarkedLlamaNemotronVLModel": "nemotron_vl",
}
"""The same of those whose pooler is a row's, as with vLLM's own."""


def register() -> None:
    """Register the architectures; vLLM calls this in every process, possibly more than once."""
    end_with_parent()
    from vllm import ModelRegistry

    from .config_types import register_types

    register_types()
    for name, module in UNPOOLED.items():
        if name not in ModelRegistry.get_supported_archs():
            ModelRegistry.register_model(name, f"{__name__}.{module}:{name}")
    _register_pooled()
    _register_rankers()
    for name, module in OWN.items():
        if name not in ModelRegistry.get_supported_archs():
            ModelRegistry.register_model(name, f"{__name__}.{module}:{name}")
    if os.environ.get(CONNECTOR_VARIABLE) == MEDIA_CONNECTOR:
        _register_for_server()


def _register_pooled() -> None:
    """Register each of vLLM's architectures that can be an embedding model once more, with our pooling."""
    from vllm import ModelRegistry
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    registered = frozenset(ModelRegistry.get_supported_archs())
    for name in registered - OWN.keys():
        pooled = POOLED_PREFIX + name
        is_ours = name.startswith((POOLED_PREFIX, RANKING_PREFIX)) or pooled in registered
        if is_ours or not name.endswith(EMBEDDING_SUFFIXES):
            continue
        ModelRegistry.register_model(pooled, f"{__name__}.pooled:{pooled}")
        if name in MODELS_CONFIG_MAP:  # what vLLM changes in the configuration of an architecture, by its name
            MODELS_CONFIG_MAP[pooled] = MODELS_CONFIG_MAP[name]


def _register_rankers() -> None:
    """Register those of vLLM's architectures that rows of rerankers name once more, with token states beside scores."""
    from vllm import ModelRegistry
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    registered = frozenset(ModelRegistry.get_supported_archs())
    for name in registered:
        ranking = RANKING_PREFIX + name
        if name.startswith((POOLED_PREFIX, RANKING_PREFIX)) or ranking in registered:
            continue
        if name.endswith(RANKING_SUFFIXES):
            ModelRegistry.register_model(ranking, f"{__name__}.ranking:{ranking}")
            if name in MODELS_CONFIG_MAP:
                MODELS_CONFIG_MAP[ranking] = MODELS_CONFIG_MAP[name]


def _register_for_server() -> None:
    """Register our media connector, our renderer of texts and the user's own row; ``serve`` selects them by name."""
    from vllm.renderers.registry import RENDERER_REGISTRY
    from vllm.tokenizers import TokenizerRegistry

    if place := os.environ.get(ROWS_VARIABLE):
        row_at(place)
    importlib.import_module("vllm_jina_embed.serve.media_connector")  # registers itself
    if TOKENIZER_MODE not in RENDERER_REGISTRY.renderers:
        RENDERER_REGISTRY.register(TOKENIZER_MODE, "vllm_jina_embed.serve.renderer", "TextRenderer")
    if TOKENIZER_MODE not in TokenizerRegistry.tokenizers:
        TokenizerRegistry.register(TOKENIZER_MODE, "vllm.tokenizers.hf", "CachedHfTokenizer")
