"""Text and images in one vector space, from one shared vLLM engine.

text / image -> inputs -> prompts -> engine -> pooling -> JinaEmbedder -> langchain, llama_index
``JinaEmbedder`` is the core; ``vllm_jina_embed.langchain.VllmJinaEmbeddings`` and
``vllm_jina_embed.llama_index.VllmJinaEmbedding`` are the adapters; objects with the same model share one engine.
Importing this package loads neither vllm nor torch nor a framework.
"""

from .cache.embedder import CachedEmbedder
from .checkpoints.description import Model
from .checkpoints.heads import Layers, YesNo
from .checkpoints.layout import Layout
from .checkpoints.prompt_pieces import Placeholder, Slot, Special, TokenId
from .checkpoints.rankers import register
from .checkpoints.ranking import RankingModel
from .checkpoints.token_layer import TokenLayer
from .embedder import JinaEmbedder
from .errors import (
    ClosedError,
    ConfigError,
    EngineDeadError,
    EngineError,
    ForkedError,
    InputError,
    MissingExtraError,
    VllmJinaError,
)
from .inputs.images import MediaPolicy
from .late_interaction.reranker import MaxSimReranker
from .reranker import JinaReranker
from .scoring.ranking import Ranked

__version__ = "0.1.0"

__all__ = [
    "CachedEmbedder",
    "ClosedError",
    "ConfigError",
    "EngineDeadError",
    "EngineError",
    "ForkedError",
    "InputError",
    "JinaEmbedder",
    "JinaReranker",
    "Layers",
    "Layout",
    "MaxSimReranker",
    "MediaPolicy",
    "MissingExtraError",
    "Model",
    "Placeholder",
    "Ranked",
    "RankingModel",
    "Slot",
    "Special",
    "TokenId",
    "TokenLayer",
    "VllmJinaError",
    "YesNo",
    "__version__",
    "register",
]
