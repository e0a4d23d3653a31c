"""Models of late interaction: a vector of each token, and none of a whole item. Sources stand in the rows."""

from __future__ import annotations

from ..checkpoint import Checkpoint
from ..description import Model
from ..layout import Layout
from ..prompt_pieces import Slot, Special
from ..token_layer import TokenLayer

START, END, END_OF_TEXT = Special("<|im_start|>"), Special("<|im_end|>"), Special("<|endoftext|>")
AUGMENTATION = (END_OF_TEXT,) * 10
"""Tokens behind a text, whose rows take part in MaxSim as those of the text do."""

COL_QWEN3 = Model(
    name="colqwen3",
    layouts=(Layout(architecture="ColQwen3", modules=(), adapters="ignored"),),
    known_as=("tomoro-colqwen3-embed",),
    pooling=None,
    kind="bpe",
    templates={
        ("any", "text"): (Slot.TEXT, *AUGMENTATION),
        ("any", "image"): (START, "user\n", Slot.IMAGES, "Describe the image.", END, END_OF_TEXT),
    },
    image=(Special("<|vision_start|>"), Special("<|image_pad|>"), Special("<|vision_end|>")),
    token_side=32,
    vllm_architecture="ColQwen3StatesModel",
    attention="causal",
    splits_prompts=True,
    projector=TokenLayer(names=("embedding_proj_layer", "custom_text_proj"), size_key="embed_dim", size=320),
    score="maxsim",
    min_pixels=64 * 32 * 32,
    max_pixels=1280 * 32 * 32,
    max_length=None,
    source={
        "layouts": "config.json of TomoroAI/tomoro-colqwen3-embed-*: ColQwen3",
        "pooling": "modeling_colqwen3.py of TomoroAI/tomoro-colqwen3-embed-4b, ColQwen3.forward",
        # White space at the ends of a text is cut off there; here a text stays as it is.
        "templates": "processing_colqwen3.py of TomoroAI/tomoro-colqwen3-embed-4b, ColQwen3Processor.__call__; "
        "illuin-tech/colpali, processing_colqwen3.py and processing_utils.py, process_queries",
        "image": "processing_colqwen3.py of TomoroAI/tomoro-colqwen3-embed-4b, visual_prompt_prefix",
        "token_side": "preprocessor_config.json of Qwen/Qwen3-VL-*: patches of 16 pixels, merged 2 by 2",
        "attention": "transformers, modeling_qwen3_vl.py, a decoder",
        "splits_prompts": "causal attention: a state depends on what stands before it alone",
        # vLLM 0.32 and 0.33 build it without the bias that it has.
        "projector": "modeling_colqwen3.py of TomoroAI/tomoro-colqwen3-embed-4b: embedding_proj_layer, an nn.Linear, "
        "over the states after the final norm, then L2; weights made by colpali name it custom_text_proj",
        "score": "processing_colqwen3.py of TomoroAI/tomoro-colqwen3-embed-4b, score_multi_vector",
        "min_pixels": "preprocessor_config.json of Qwen/Qwen3-VL-*, size.shortest_edge",
        "max_pixels": "processing_colqwen3.py of TomoroAI/tomoro-colqwen3-embed-4b, max_num_visual_tokens=1280",
        "max_length": "config.json of TomoroAI/tomoro-colqwen3-embed-*, max_position_embeddings",
    },
)

ROWS = (COL_QWEN3,)
CHECKPOINTS = tuple(
    Checkpoint.published(name, COL_QWEN3, sizes=(320,), max_length=262144)
    for name in ("TomoroAI/tomoro-colqwen3-embed-4b", "TomoroAI/tomoro-colqwen3-embed-8b")
)
"""Source of 320 and of 262144: mteb 2.26, colqwen_models.py, embed_dim and max_tokens."""
INSTEAD = "Use TomoroAI/tomoro-colqwen3-embed-4b or jinaai/jina-embeddings-v4 instead."
UNSERVED = {
    "OpsColQwen3Model": "the prompts of OpenSearch-AI/Ops-Colqwen3-* stand in code of their own "
    "(processing_ops_colqwen3.py), which could not be read when this version was made, and other prompts give wrong "
    f"vectors. {INSTEAD} If you know them, describe the model: row=vllm_jina_embed.Model(...), like the row "
    "'colqwen3'.",
    # Measured with vLLM 0.32: 1 - cosine to transformers' own forward of 0.85 for a query, and 0.53 for an image.
    "ColPaliForRetrieval": "vLLM computes the decoder of vidore/colpali-*-hf causally, where it was trained with "
    "attention to both sides, and leaves out the bias of its projector: every vector would be wrong. " + INSTEAD,
}
