"""Vision-language models over Qwen3-VL and Qwen2-VL. Each field's source stands in its row.

A chat model has the same architecture and the same files, so a folder's name has to say what it is.
"""

from __future__ import annotations

from dataclasses import replace

from ..checkpoint import Checkpoint
from ..description import Model
from ..layout import Layout
from ..prompt_pieces import Placeholder, Slot, Special, Template

START, END, END_OF_TEXT = Special("<|im_start|>"), Special("<|im_end|>"), Special("<|endoftext|>")
PATCHES = Special("<|image_pad|>")
IMAGE: Template = (Special("<|vision_start|>"), PATCHES, Special("<|vision_end|>"))

QWEN2_VL = "Qwen2VLForConditionalGeneration"
LAYOUT = Layout(
    architecture=QWEN2_VL,
    modules=("Transformer", "MultiModalTransformer", "Pooling", "Normalize"),  # the second is gme's, custom_st.py
    any_prompts=True,
    adapters="ignored",
    pooling_decides=True,
)

# A chat of an instruction and one item: the pieces before and behind the item.
ASSISTANT: Template = (END, "\n", START, "assistant\n")
QUERY: Template = (START, "system\nRetrieve images or text relevant to the user's query.", END, "\n", START, "user\n")
PASSAGE: Template = (START, "system\nRepresent the user's input.", END, "\n", START, "user\n")

QWEN3_VL_SIZES = (64, 128, 256, 512, 768, 1024, 1536, 2048, 2560, 3072, 4096)
QWEN3_VL_REPOSITORIES = {
    "Qwen/Qwen3-VL-Embedding-2B": QWEN3_VL_SIZES[:8],
    "Qwen/Qwen3-VL-Embedding-8B": QWEN3_VL_SIZES,
}
"""By the repository, the lengths of its embeddings. Source of the last: README.md of QwenLM/Qwen3-VL-Embedding."""

QWEN3_VL_EMBEDDING = Model(
    name="qwen3-vl-embedding",
    layouts=(replace(LAYOUT, architecture="Qwen3VLForConditionalGeneration"),),
    known_as=("Qwen3-VL-Embedding",),
    pooling="last_token",
    kind="bpe",
    templates={
        ("query", "text"): (*QUERY, Slot.TEXT, *ASSISTANT),
        ("passage", "text"): (*PASSAGE, Slot.TEXT, *ASSISTANT),
        ("query", "image"): (*QUERY, Slot.IMAGES, *ASSISTANT),
        ("passage", "image"): (*PASSAGE, Slot.IMAGES, *ASSISTANT),
        ("query", "both"): (*QUERY, Slot.IMAGES, Slot.TEXT, *ASSISTANT),
        ("passage", "both"): (*PASSAGE, Slot.IMAGES, Slot.TEXT, *ASSISTANT),
    },
    image=IMAGE,
    token_side=32,
    attention="causal",
    splits_prompts=True,
    matryoshka_sizes=QWEN3_VL_SIZES,
    min_dimensions=QWEN3_VL_SIZES[0],
    min_pixels=4 * 32 * 32,
    max_pixels=1800 * 32 * 32,
    max_length=8192,
    source={
        "layouts": "config.json of Qwen/Qwen3-VL-Embedding-*; that of Qwen/Qwen3-VL-* has the same architecture",
        "pooling": "src/models/qwen3_vl_embedding.py of QwenLM/Qwen3-VL-Embedding, _pooling_last",
        # The last token is the line end behind `assistant`, also in the code of the card and of mteb. The technical
        # report ends with <|im_end|><|endoftext|>, which no code does: QwenLM/Qwen3-VL-Embedding#4.
        "templates": "src/models/qwen3_vl_embedding.py, format_model_input: images before texts, instructions end in "
        "punctuation, that of a passage is the default; README.md, Quick Start: that of a query",
        "image": "chat_template.json of Qwen/Qwen3-VL-*",
        "token_side": "preprocessor_config.json of Qwen/Qwen3-VL-*: patches of 16 pixels, merged 2 by 2",
        "attention": "transformers, modeling_qwen3_vl.py, a decoder",
        "splits_prompts": "causal attention: a state depends on what stands before it alone",
        # The usual ones; any in between was trained too.
        "matryoshka_sizes": "cards of Qwen/Qwen3-VL-Embedding-*: any size from 64 to the full one",
        "min_dimensions": "cards of Qwen/Qwen3-VL-Embedding-*: any size from 64 to the full one",
        "min_pixels": "src/models/qwen3_vl_embedding.py, MIN_PIXELS; README.md, Model Initialization Parameters",
        "max_pixels": "src/models/qwen3_vl_embedding.py, MAX_PIXELS; README.md, Model Initialization Parameters",
        # The published code drops the last `assistant` from a longer prompt, and pools another token; here the user's
        # text alone is cut.
        "max_length": "src/models/qwen3_vl_embedding.py, MAX_LENGTH; README.md, Model Initialization Parameters",
    },
)

HELPFUL: Template = (START, "system\nYou are a helpful assistant.", END, "\n", START, "user\n")
"""The chat of Qwen2-VL up to the item."""

DSE = Model(
    name="dse-qwen2",
    layouts=(LAYOUT,),
    known_as=("dse-qwen2",),
    pooling="last_token",
    kind="bpe",
    templates={
        ("query", "text"): (*HELPFUL, Placeholder(56, 56, 4), "Query: ", Slot.TEXT, *ASSISTANT, END_OF_TEXT),
        ("passage", "text"): (*HELPFUL, Placeholder(56, 56, 4), "Document: ", Slot.TEXT, *ASSISTANT, END_OF_TEXT),
        ("any", "image"): (*HELPFUL, Slot.IMAGES, "What is shown in this image?", *ASSISTANT, END_OF_TEXT),
    },
    image=IMAGE,
    side_multiple=28,
    attention="causal",
    splits_prompts=True,
    matryoshka_sizes=(64, 128, 256, 512, 768, 1024, 1536),
    min_dimensions=1,
    min_pixels=28 * 28,
    max_pixels=2560 * 28 * 28,
    max_length=None,
    source={
        "layouts": "config.json of MrLight/dse-qwen2-2b-mrl-v1; that of Qwen/Qwen2-VL-* has the same architecture",
        "pooling": "card of MrLight/dse-qwen2-2b-mrl-v1, get_embedding",
        # The card writes a placeholder of 28x28 with resized_height=1 and resized_width=1, which qwen_vl_utils makes
        # 56x56, its least area; vLLM's example and test send that too.
        "templates": "card of MrLight/dse-qwen2-2b-mrl-v1; vLLM, template_dse_qwen2_vl.jinja and test_dse_qwen2_vl.py",
        "image": "chat_template.json of Qwen/Qwen2-VL-2B-Instruct",
        "side_multiple": "card of MrLight/dse-qwen2-2b-mrl-v1, process_vision_info of qwen_vl_utils",
        "attention": "transformers, modeling_qwen2_vl.py, a decoder",
        "splits_prompts": "causal attention: a state depends on what stands before it alone",
        # Usual ones; the card names no smallest.
        "matryoshka_sizes": "card of MrLight/dse-qwen2-2b-mrl-v1: cut, then normalised",
        "min_dimensions": "card of MrLight/dse-qwen2-2b-mrl-v1: any size",
        "min_pixels": "card of MrLight/dse-qwen2-2b-mrl-v1: 1 * 28 * 28",
        "max_pixels": "card of MrLight/dse-qwen2-2b-mrl-v1: 2560 * 28 * 28",
        "max_length": "config.json of MrLight/dse-qwen2-2b-mrl-v1, max_position_embeddings",
    },
)

GME = Model(
    name="gme-qwen2-vl",
    layouts=(LAYOUT,),
    known_as=("gme-Qwen2-VL",),
    pooling="last_token",
    kind="bpe",
    templates={
        ("any", "text"): (*HELPFUL, Slot.TEXT, *ASSISTANT, END_OF_TEXT),
        ("any", "image"): (*HELPFUL, Slot.IMAGES, *ASSISTANT, END_OF_TEXT),
        ("any", "both"): (*HELPFUL, Slot.IMAGES, Slot.TEXT, *ASSISTANT, END_OF_TEXT),
    },
    image=IMAGE,
    image_positions="line",
    side_multiple=28,
    attention="causal",
    splits_prompts=True,
    min_pixels=256 * 28 * 28,
    max_pixels=1280 * 28 * 28,
    max_length=1800,
    source={
        "layouts": "config.json of Alibaba-NLP/gme-Qwen2-VL-*; that of Qwen/Qwen2-VL-* has the same architecture",
        "pooling": "gme_inference.py of Alibaba-NLP/gme-Qwen2-VL-2B-Instruct, forward",
        # The instruction of both roles where none is given; a search may have one of its own, in a row of its own.
        "templates": "gme_inference.py of Alibaba-NLP/gme-Qwen2-VL-2B-Instruct, embed; mteb 2.26, gme_v_models.py",
        "image": "gme_inference.py of Alibaba-NLP/gme-Qwen2-VL-2B-Instruct, embed",
        # It calls the decoder with inputs_embeds and without position_ids, which then count all tokens.
        "image_positions": "gme_inference.py and custom_st.py of Alibaba-NLP/gme-Qwen2-VL-2B-Instruct, forward; "
        "transformers 4.51, modeling_qwen2_vl.py, Qwen2VLModel.forward",
        "side_multiple": "gme_inference.py of Alibaba-NLP/gme-Qwen2-VL-2B-Instruct, fetch_image",
        "attention": "transformers, modeling_qwen2_vl.py, a decoder",
        "splits_prompts": "causal attention: a state depends on what stands before it alone",
        # mteb's own copy takes 4.
        "min_pixels": "gme_inference.py and custom_st.py of Alibaba-NLP/gme-Qwen2-VL-2B-Instruct: 256 tokens",
        "max_pixels": "gme_inference.py and custom_st.py of Alibaba-NLP/gme-Qwen2-VL-2B-Instruct: 1280 tokens",
        "max_length": "gme_inference.py of Alibaba-NLP/gme-Qwen2-VL-2B-Instruct, max_length",
    },
)

# Both were published as adapters of Qwen2-VL.
VLM2VEC_LAYOUT = replace(LAYOUT, adapters="merged")
CAPTION = "Find me an everyday image that matches the given caption: "
VLM2VEC_BOTH: Template = (Slot.IMAGES, " Represent the given image with the following question: ", Slot.TEXT)

VLM2VEC = Model(
    name="vlm2vec-qwen2vl",
    layouts=(VLM2VEC_LAYOUT,),
    known_as=("VLM2Vec-Qwen2VL",),
    pooling="last_token",
    kind="bpe",
    templates={
        ("query", "text"): (CAPTION, Slot.TEXT),
        ("passage", "text"): (Slot.TEXT,),
        ("query", "image"): (
            Slot.IMAGES,
            " Find a day-to-day image that looks similar to the provided image.",
        ),
        ("passage", "image"): (Slot.IMAGES, " Represent the given image."),
        ("any", "both"): VLM2VEC_BOTH,
    },
    image=(PATCHES,),
    image_positions="line",
    attention="causal",
    splits_prompts=True,
    min_pixels=4 * 28 * 28,
    max_pixels=1280 * 28 * 28,
    max_length=None,
    source={
        "layouts": "config.json of Qwen/Qwen2-VL-2B-Instruct, of which TIGER-Lab/VLM2Vec-Qwen2VL-* is an adapter",
        "pooling": "src/model/model.py of TIGER-AI-Lab/VLM2Vec, _pooling",
        "templates": "experiments/examples/qwen2vl/demo_v1_image.py and experiments/examples/phi3_v/demo.py of "
        "TIGER-AI-Lab/VLM2Vec; vLLM, vision_embedding_offline.py, run_vlm2vec_qwen2vl",
        "image": "src/model/processor.py of TIGER-AI-Lab/VLM2Vec, VLM_IMAGE_TOKENS",
        # Transformers 4, which it was trained with, gives an image without <|vision_start|> no grid.
        "image_positions": "src/model/vlm_backbone/qwen2_vl/modeling_qwen2_vl.py of TIGER-AI-Lab/VLM2Vec, "
        "get_rope_index",
        "attention": "transformers, modeling_qwen2_vl.py, a decoder",
        "splits_prompts": "causal attention: a state depends on what stands before it alone",
        # An image with a side under 28 becomes 56x56 in its Qwen2_VL_process_fn; here, as in mteb, it keeps its shape.
        "min_pixels": "src/arguments.py of TIGER-AI-Lab/VLM2Vec, resize_min_pixels",
        "max_pixels": "src/arguments.py of TIGER-AI-Lab/VLM2Vec, resize_max_pixels",
        "max_length": "config.json of Qwen/Qwen2-VL-2B-Instruct, max_position_embeddings",
    },
)
VLM2VEC_V2 = replace(
    VLM2VEC,
    name="vlm2vec-v2",
    known_as=("VLM2Vec-V2",),
    templates={
        ("query", "text"): ("Find a document image that matches the given query: ", Slot.TEXT),
        ("passage", "text"): (Slot.TEXT,),
        ("any", "image"): (Slot.IMAGES, " Understand the content of the provided document image."),
        ("any", "both"): VLM2VEC_BOTH,
    },
    source={
        **VLM2VEC.source,
        "layouts": "config.json of Qwen/Qwen2-VL-2B-Instruct, of which VLM2Vec/VLM2Vec-V2.0 is an adapter",
        "templates": "mteb 2.26, vlm2vec_models.py; experiments/examples/qwen2vl/demo_v2_image.py of "
        "TIGER-AI-Lab/VLM2Vec",
    },
)

ROWS = (QWEN3_VL_EMBEDDING, DSE, GME, VLM2VEC, VLM2VEC_V2)
CHECKPOINTS = tuple(
    Checkpoint.published(name, row, sizes=sizes, max_length=row.max_length or 32768)
    for row, name, sizes in (
        *((QWEN3_VL_EMBEDDING, name, sizes) for name, sizes in QWEN3_VL_REPOSITORIES.items()),
        (DSE, "MrLight/dse-qwen2-2b-mrl-v1", DSE.matryoshka_sizes),
        (GME, "Alibaba-NLP/gme-Qwen2-VL-2B-Instruct", (1536,)),
        (GME, "Alibaba-NLP/gme-Qwen2-VL-7B-Instruct", (3584,)),
    )
)
