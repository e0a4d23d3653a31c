"""ModernVBERT: ColModernVBERT for texts. Each field's source stands in its row."""

from __future__ import annotations

from typing import Any

from ..checkpoint import Checkpoint
from ..description import Model
from ..layout import Layout
from ..prompt_pieces import Slot, Special
from ..token_layer import TokenLayer

ETTIN_THETA = 160000.0
"""The base of rotary positions in both kinds of layers: those that see all tokens, and those that see neighbours."""
ETTIN_ROPE: dict[str, Any] = {
    kind: {"rope_type": "default", "rope_theta": ETTIN_THETA} for kind in ("full_attention", "sliding_attention")
}
ETTIN: dict[str, Any] = {
    "rope_parameters": ETTIN_ROPE,
    "global_rope_theta": ETTIN_THETA,
    "local_rope_theta": ETTIN_THETA,
    "global_attn_every_n_layers": 3,
    "local_attention": 128,
    "hidden_activation": "gelu",
    "norm_eps": 1e-5,
    "layer_norm_eps": 1e-5,
    "norm_bias": False,
    "attention_bias": False,
}
"""What a config.json may say of the encoder; vLLM reads none of it and takes transformers' defaults."""
AUGMENTATION = (Special("<end_of_utterance>"),) * 10
"""Tokens behind a text, whose rows take part in MaxSim as those of the text do."""

COL_MODERN_VBERT = Model(
    name="colmodernvbert",
    layouts=(
        Layout(
            architecture="ColModernVBertForRetrieval",
            # Other models over ModernVBERT have the same files, so the name has to say which one it is.
            unnamed="modernvbert",
            text=ETTIN,
            modules=(),
            pooling_decides=True,
            adds_ends=True,
            texts_only="vLLM never splits the images of this model as it was trained, and puts their tokens before the "
            "prompt instead of into it. Use TomoroAI/tomoro-colqwen3-embed-4b or jinaai/jina-embeddings-v4 for images.",
        ),
    ),
    known_as=("colmodernvbert",),
    pooling=None,
    kind="bpe",
    templates={("any", "text"): (Special("[CLS]"), Slot.TEXT, *AUGMENTATION, Special("[SEP]"))},
    attention="both",
    # vLLM's default is 10000 for layers that see neighbours.
    overrides={"text_config": {"rope_parameters": ETTIN_ROPE}},
    # No image ever comes, so no memory is measured for one.
    arguments={"limit_mm_per_prompt": {"image": 0}},
    projector=TokenLayer(names=("custom_text_proj",), size_key="embedding_dim", size=128),
    score="maxsim",
    max_length=7999,
    source={
        # That config.json names no architecture: tests of a server of ModernVBERT/colmodernvbert-merged over vLLM.
        "layouts": "configuration_modernvbert.py of illuin-tech/colpali; vLLM 0.32, configs/colmodernvbert.py",
        "pooling": "modeling_colmodernvbert.py of illuin-tech/colpali, ColModernVBert.forward",
        # Queries and passages alike; what the tokenizer adds around them is compared with its tokenizer.json.
        "templates": "processing_colmodernvbert.py of illuin-tech/colpali, process_texts and query_augmentation_token; "
        "mteb 2.26, colpali_models.py, get_text_embeddings; fastembed, colmodernvbert.py, tokenize",
        "attention": "transformers, modeling_modernbert.py, an encoder",
        "overrides": "modeling_modernvbert.py of illuin-tech/colpali, init_language_model: the configuration of "
        "jhu-clsp/ettin-encoder-150m; that of its twin jhu-clsp/ettin-encoder-32m, global_rope_theta and "
        "local_rope_theta",
        "arguments": "the row takes no images",
        "projector": "modeling_colmodernvbert.py of illuin-tech/colpali: custom_text_proj, an nn.Linear over the "
        "states after the final norm, then L2",
        "score": "processing_colmodernvbert.py of illuin-tech/colpali, score_multi_vector",
        "max_length": "config.json of jhu-clsp/ettin-encoder-32m, max_position_embeddings",
    },
)

ROWS = (COL_MODERN_VBERT,)
CHECKPOINTS = (
    Checkpoint.published("ModernVBERT/colmodernvbert-merged", COL_MODERN_VBERT, sizes=(128,), max_length=7999),
)
"""Source of 128: mteb 2.26, colmodernvbert_models.py, embed_dim."""
