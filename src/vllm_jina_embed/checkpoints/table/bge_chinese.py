"""bge-*-zh-v1.5, for Chinese texts: a BERT encoder, with an instruction before a query. Sources stand in the row."""

from __future__ import annotations

from ..checkpoint import Checkpoint
from ..description import Model
from ..layout import Layout
from ..prompt_pieces import Slot, Special

QUERY = "为这个句子生成表示以用于检索相关文章："
CLASS, SEPARATOR = Special("[CLS]"), Special("[SEP]")

BGE_CHINESE = Model(
    name="bge-zh-v1.5",
    layouts=(
        Layout(
            architecture="BertModel",
            config={"position_embedding_type": "absolute"},
            prompts={"query": QUERY},
            prompts_unpublished=True,
            adapters="ignored",
            pooling_decides=True,
        ),
    ),
    known_as=("bge-small-zh-v1.5", "bge-base-zh-v1.5", "bge-large-zh-v1.5"),
    pooling="first_token",
    kind="wordpiece",
    templates={
        ("query", "text"): (CLASS, QUERY, Slot.TEXT, SEPARATOR),
        ("passage", "text"): (CLASS, Slot.TEXT, SEPARATOR),
    },
    attention="both",
    max_length=512,
    source={
        "layouts": "config.json, modules.json and 1_Pooling/config.json of BAAI/bge-*-zh-v1.5; its "
        "config_sentence_transformers.json names versions alone",
        "pooling": "FlagEmbedding, inference/embedder/model_mapping.py: PoolingMethod.CLS; normalised, "
        "encoder_only/base.py, normalize_embeddings",
        "templates": "card of BAAI/bge-*-zh-v1.5, model list, query instruction; mteb 2.26, bge_models.py, "
        "model_prompts_zh; both ends: tokenizer.json, BERT's",
        "attention": "transformers, modeling_bert.py, an encoder",
        "max_length": "mteb 2.26, bge_models.py, max_tokens",
    },
)

ROWS = (BGE_CHINESE,)
CHECKPOINTS = tuple(
    Checkpoint.published(f"BAAI/bge-{size}-zh-v1.5", BGE_CHINESE, sizes=(dimensions,), max_length=512)
    for size, dimensions in (("small", 512), ("base", 768), ("large", 1024))
)
"""Source of the lengths: mteb 2.26, bge_models.py, embed_dim."""
