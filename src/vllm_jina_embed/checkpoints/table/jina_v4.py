"""jina-embeddings-v4: native, with an adapter for each task, and merged for one task.

Each field's source stands in the row; those of sizes are config.json and the model cards of jinaai/jina-embeddings-v4
and jinaai/jina-embeddings-v4-vllm-*.
"""

from __future__ import annotations

from dataclasses import replace

from ..checkpoint import Checkpoint
from ..description import Model
from ..layout import Layout
from ..prompt_pieces import Slot, Special

NATIVE = "jinaai/jina-embeddings-v4"
NATIVE_ARCHITECTURE = "JinaEmbeddingsV4Model"
"""The architecture in the native checkpoint's config.json."""
ARCHITECTURE = "JinaV4VisionSpanModel"
"""The architecture that the plugin registers for merged weights."""
MERGED_ARCHITECTURE = "Qwen2_5_VLForConditionalGeneration"
"""The architecture in config.json of merged checkpoints, and of every plain Qwen2.5-VL."""

# Source: config.json, `matryoshka_dims` and `multi_vector_projector_dim`.
TASKS = ("retrieval", "text-matching", "code")
MATRYOSHKA_SIZES = (128, 256, 512, 1024, 2048)
TOKEN_DIMENSIONS = 128
MIN_PIXELS, MAX_PIXELS = 3136, 602112
MAX_LENGTH = 32768
CLASSIFIER = ("id2label", "problem_type", "classifier_from_token", "classifier_activation")
LATE_INTERACTION = ("dim", "dims", "embedding_dim", "embed_dim", "projection_dim", "mask_non_image_embeddings")
"""Keys of config.json that models with another head on a Qwen2.5-VL have."""

MERGED = Layout(
    architecture=MERGED_ARCHITECTURE,
    absent=(*CLASSIFIER, *LATE_INTERACTION),
    prompts={"query": "Query: ", "passage": "Passage: ", "document": "Passage: "},
    assumed="jina-embeddings-v4 merged for vLLM; the vectors of any other Qwen2.5-VL model are wrong",
)

JINA_V4 = Model(
    name="jina-v4",
    layouts=(
        Layout(architecture=NATIVE_ARCHITECTURE, modules=(), adapters="named"),
        Layout(architecture=MERGED_ARCHITECTURE, modules=(), adapters="folder"),
        MERGED,
        # Saved by sentence-transformers, which writes empty prompts where nobody gave it any.
        replace(MERGED, prompts={}),
    ),
    known_as=("jina-embeddings-v4",),
    pooling="vision_span_mean",
    kind="bpe",
    templates={
        ("query", "text"): ("Query: ", Slot.TEXT),
        ("passage", "text"): ("Passage: ", Slot.TEXT),
        ("any", "image"): (
            Special("<|im_start|>"),
            "user\n",
            Slot.IMAGES,
            "Describe the image.",
            Special("<|im_end|>"),
            "\n",
        ),
    },
    image=(Special("<|vision_start|>"), Special("<|image_pad|>"), Special("<|vision_end|>")),
    symmetric_tasks=("text-matching",),
    architecture=ARCHITECTURE,
    adapter_architecture=NATIVE_ARCHITECTURE,
    attention="causal",
    splits_prompts=True,
    tasks=TASKS,
    matryoshka_sizes=MATRYOSHKA_SIZES,
    token_dimensions=TOKEN_DIMENSIONS,
    min_pixels=MIN_PIXELS,
    max_pixels=MAX_PIXELS,
    max_length=MAX_LENGTH,
    source={
        "layouts": "config.json of jinaai/jina-embeddings-v4 and jinaai/jina-embeddings-v4-vllm-*",
        "matryoshka_sizes": "config.json of jinaai/jina-embeddings-v4, matryoshka_dims",
        "token_dimensions": "config.json of jinaai/jina-embeddings-v4, multi_vector_projector_dim",
        "pooling": "paper arXiv:2506.18902, section 4; modeling_jina_embeddings_v4.py of jinaai/jina-embeddings-v4",
        "attention": "modeling_jina_embeddings_v4.py: Qwen2.5-VL's language model, unchanged",
        "templates": "modeling_jina_embeddings_v4.py, PREFIX_DICT and process_images",
        "symmetric_tasks": "the table of prefixes in the card of the GGUF checkpoints",
        "image": "modeling_jina_embeddings_v4.py, process_images",
        "min_pixels": "preprocessor_config.json of jinaai/jina-embeddings-v4",
        # At most 768 image tokens. The merged checkpoints ship 12845056, which gives other vectors for larger images.
        "max_pixels": "preprocessor_config.json of jinaai/jina-embeddings-v4: 602112 = 768 * 28 * 28",
        "max_length": "modeling_jina_embeddings_v4.py, encode_text(max_length=32768)",
    },
    vectors_before={"dbe8ac259c63cff6": "vllm-jina-embed/1"},
)

ROWS = (JINA_V4,)
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
