"""jina-embeddings-v4: native, with an adapter for each task, and merged for one task.

Sources: modeling_jina_embeddings_v4.py (PREFIX_DICT, encode_text, process_images), config.json,
preprocessor_config.json and the model cards of jinaai/jina-embeddings-v4 and jinaai/jina-embeddings-v4-vllm-*; paper
arXiv:2506.18902, section 4.
"""

from __future__ import annotations

from ..description import TASKS, Checkpoint, ImageTemplate, Model

NATIVE = "jinaai/jina-embeddings-v4"
NATIVE_ARCHITECTURE = "JinaEmbeddingsV4Model"
"""The architecture in the native checkpoint's config.json."""
ARCHITECTURE = "JinaV4VisionSpanModel"
"""The architecture that the plugin registers for merged weights."""

# Source: config.json, `matryoshka_dims` and `multi_vector_projector_dim`.
MATRYOSHKA_SIZES = (128, 256, 512, 1024, 2048)
TOKEN_DIMENSIONS = 128
# Source: preprocessor_config.json of the native checkpoint: 602112 = 768 * 28 * 28, at most 768 image tokens.
# The merged vLLM checkpoints ship 12845056, which gives other vectors for larger images.
MIN_PIXELS, MAX_PIXELS = 3136, 602112
# Source: encode_text(max_length=32768).
MAX_LENGTH = 32768

JINA_V4 = Model(
    name="jina-v4",
    model_type="qwen2_5_vl",
    pooling="vision_span_mean",
    prefixes={"query": "Query: ", "passage": "Passage: "},
    # Source: the official table in the GGUF card.
    symmetric_tasks=("text-matching",),
    images=ImageTemplate(
        vision_start="<|vision_start|>",
        vision_end="<|vision_end|>",
        image="<|image_pad|>",
        turn_start="<|im_start|>",
        turn_end="<|im_end|>",
        instruction={"query": "Describe the image.", "passage": "Describe the image."},
    ),
    architecture=ARCHITECTURE,
    adapter_architecture=NATIVE_ARCHITECTURE,
    splits_prompts=True,
    min_pixels=MIN_PIXELS,
    max_pixels=MAX_PIXELS,
    max_length=MAX_LENGTH,
)

CHECKPOINTS = (
    Checkpoint(
        name=NATIVE,
        location=NATIVE,
        row=JINA_V4,
        tasks=TASKS,
        hidden_size=MATRYOSHKA_SIZES[-1],
        matryoshka_sizes=MATRYOSHKA_SIZES,
        token_dimensions=TOKEN_DIMENSIONS,
        has_adapters=True,
        min_pixels=MIN_PIXELS,
        max_pixels=MAX_PIXELS,
        max_length=MAX_LENGTH,
    ),
    *(
        Checkpoint(
            name=f"{NATIVE}-vllm-{task}",
            location=f"{NATIVE}-vllm-{task}",
            row=JINA_V4,
            tasks=(task,),
            hidden_size=MATRYOSHKA_SIZES[-1],
            matryoshka_sizes=MATRYOSHKA_SIZES,
            token_dimensions=MATRYOSHKA_SIZES[-1],
            min_pixels=MIN_PIXELS,
            max_pixels=MAX_PIXELS,
            max_length=MAX_LENGTH,
        )
        for task in TASKS
    ),
)
