"""Types of config.json that transformers knows only from a checkpoint's own code, read here without it.

Jina's is a class of transformers that the code derives from and does not change; Nvidia's has a file of its own.
Source: configuration_jina_embeddings_v5.py of jinaai/jina-embeddings-v5-text-small (a Qwen3Config, nothing else) and of
-text-nano (an EuroBertConfig); which of the two it is: vLLM 0.32, models/config.py, JinaEmbeddingsV5ModelConfig.
"""

from __future__ import annotations

from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

from .nemotron_config import NemotronVLConfig


class JinaEmbeddingsV5Config(PreTrainedConfig):
    """Reads config.json as that of the model itself: an encoder where it says that it is not a decoder."""

    model_type = "jina_embeddings_v5"

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Return the configuration of the model itself."""
        base: Any = CONFIG_MAPPING["eurobert" if config_dict.get("is_decoder") is False else "qwen3"]
        return base.from_dict({**config_dict, "model_type": base.model_type}, **kwargs)


def register_types() -> None:
    """Let transformers read these types, unless it has classes of its own."""
    for known in (JinaEmbeddingsV5Config, NemotronVLConfig):
        if known.model_type not in CONFIG_MAPPING:
            AutoConfig.register(known.model_type, known)
