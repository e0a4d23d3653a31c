"""bge-m3: texts only, one size, no roles. Each field's source stands in the row."""

from __future__ import annotations

from dataclasses import replace

from ..checkpoint import Checkpoint
from ..description import Model
from ..layout import Layout
from ..prompt_pieces import Slot, Special
from ..token_layer import TokenLayer

BGE_M3 = "BAAI/bge-m3"

XLM_ROBERTA = Model(
    name="xlm-roberta",
    layouts=(
        Layout(
            architecture="XLMRobertaModel",
            config={"position_embedding_type": "absolute"},
            adapters="ignored",
            assumed=f"a model like {BGE_M3}: first token, no prompts; the vectors of any other model of this "
            "architecture are wrong",
            pooling_decides=True,
        ),
    ),
    known_as=("bge-m3",),
    pooling="first_token",
    kind="unigram",
    templates={("any", "text"): (Special("<s>"), Slot.TEXT, Special("</s>"))},
    attention="both",
    positions="after_padding",
    # Unused without images, but part of the fingerprints in the keys of users' caches.
    min_pixels=3136,
    max_pixels=602112,
    max_length=None,
    source={
        "pooling": "FlagEmbedding, M3Embedder: the first token's state, normalised",
        "layouts": "config.json, modules.json and config_sentence_transformers.json of BAAI/bge-m3",
        "templates": "card of BAAI/bge-m3, FAQ: queries need no instructions; tokenizer.json of BAAI/bge-m3",
        "attention": "transformers, modeling_xlm_roberta.py, an encoder",
        # The table's first rows, up to the padding token's, are never used.
        "positions": "transformers, modeling_xlm_roberta.py, create_position_ids_from_input_ids",
        "max_length": "config.json of BAAI/bge-m3: 8194 positions, counted from the padding token's id + 1, so 8192; "
        "also its tokenizer's model_max_length. Other checkpoints have other tables, all of which can be used",
    },
    vectors_before={"8734c941a26acaa3": "vllm-jina-embed/1"},
)

# The same model with what its own library computes beside the dense vector: a row of its own, which a caller names, so
# that what the other row gave stays what it is.
BGE_M3_COLBERT = replace(
    XLM_ROBERTA,
    name="bge-m3-colbert",
    layouts=(replace(XLM_ROBERTA.layouts[0], assumed=""),),
    only_named=True,
    projector=TokenLayer(file="colbert_linear.pt", skips_first=True),
    token_weights=TokenLayer(file="sparse_linear.pt", skips=("<s>", "</s>", "<pad>", "<unk>")),
    source={
        **XLM_ROBERTA.source,
        "projector": "FlagEmbedding, inference/embedder/encoder_only/m3.py and finetune/.../m3/modeling.py, "
        "_colbert_embedding: colbert_linear of all states but the first one, normalised",
        "token_weights": "FlagEmbedding, modeling.py, _sparse_embedding: relu of sparse_linear; m3.py, "
        "_process_token_weights: the largest of an id, without cls, eos, pad and unk",
    },
    vectors_before={},
)

ROWS = (XLM_ROBERTA, BGE_M3_COLBERT)
CHECKPOINTS = (Checkpoint.published(BGE_M3, XLM_ROBERTA, sizes=(1024,), max_length=8192),)
