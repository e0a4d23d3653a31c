"""Vision-language models of NVIDIA: llama-nemotron-embed-vl. Each field's source stands in its row."""

from __future__ import annotations

from ..checkpoint import Checkpoint
from ..description import Model
from ..layout import Layout
from ..prompt_pieces import Slot, Special

NEMOTRON_NAME = "nvidia/llama-nemotron-embed-vl-1b-v2"

BEGIN = Special("<|begin_of_text|>")
QUERY, PASSAGE = "query: ", "passage: "

NEMOTRON_EMBED_VL = Model(
    name="llama-nemotron-embed-vl",
    layouts=(
        Layout(
            # Its chat models and rerankers have others.
            architecture="LlamaNemotronVLModel",
            # vLLM takes the last layer of the vision tower, whatever is written here.
            config={"pooling": "avg", "downsample_ratio": 0.5, "ps_version": "v2", "select_layer": -1},
            # vLLM adds the whole image as a last tile, and normalises as SigLIP does, whatever is written here; the
            # published code begins at one tile. The most tiles are each checkpoint's own: max_input_tiles.
            processor={
                "query_prefix": QUERY.strip(),
                "passage_prefix": PASSAGE.strip(),
                "system_message": "",
                "norm_type": "siglip",
                "dynamic_image_size": True,
                "use_thumbnail": True,
                "min_input_tiles": 1,
            },
            prompts={"query": QUERY, "passage": PASSAGE},
            prompts_unpublished=True,
        ),
    ),
    known_as=("llama-nemotron-embed-vl",),
    pooling="mean",
    kind="bpe",
    templates={
        ("query", "text"): (BEGIN, QUERY, Slot.TEXT),
        ("passage", "text"): (BEGIN, PASSAGE, Slot.TEXT),
        ("any", "image"): (BEGIN, PASSAGE, Slot.IMAGES, " "),
        ("any", "both"): (BEGIN, PASSAGE, Slot.IMAGES, " ", Slot.TEXT),
    },
    image=(Special("<img>"), Special("<IMG_CONTEXT>"), Special("</img>")),
    fixed_size=True,
    vllm_architecture="MarkedLlamaNemotronVLModel",
    attention="both",
    # One image, as the published code takes; vLLM would put further ones side by side.
    arguments={"limit_mm_per_prompt": {"image": 1, "video": 0}},
    max_length=10240,
    source={
        # Read in two ports of it; the files themselves could not be.
        "layouts": "config.json and processor_config.json of nvidia/llama-nemotron-embed-vl-1b-v2, in "
        "llama_nemotron_vl_embedding.rs of lablup/mlxcel and models/nemotron_vl/config.py of ckgresla/representax; "
        "defaults of the published classes in NVIDIA-NeMo/Automodel",
        "pooling": "nemo_automodel/components/models/llama_nemotron_vl/model.py of NVIDIA-NeMo/Automodel, pool: avg; "
        "vLLM 0.32, models/config.py, LlamaNemotronVLConfig",
        # The published code has no query with an image: mteb and the card compute it as a passage. It drops a first
        # `<image>` from a text without an image; here a user's text stays as it is.
        "templates": "nemo_automodel/components/models/llama_nemotron_vl/processor.py of NVIDIA-NeMo/Automodel, "
        "process_queries and process_documents; vLLM, nemotron_embed_vl.jinja; mteb 2.26, "
        "nvidia_nemotron_vl_models.py; the first token: tokenizer.json",
        "image": "processor.py of NVIDIA-NeMo/Automodel, process_documents",
        # The published code rounds pixels to bfloat16, as its weights are; here they have the engine's dtype.
        "fixed_size": "processor_config.json of nvidia/llama-nemotron-embed-vl-1b-v2, image_size and max_input_tiles",
        "vllm_architecture": "the plugin's, which finds images by special tokens; vLLM's looks for the text `<image>`",
        "attention": "model.py of NVIDIA-NeMo/Automodel, LlamaBidirectionalModel",
        "arguments": "processor.py of NVIDIA-NeMo/Automodel, load_image: one image",
        "max_length": "card of nvidia/llama-nemotron-embed-vl-1b-v2, p_max_length of image_text; mteb 2.26, "
        "nvidia_nemotron_vl_models.py, max_tokens",
    },
)

ROWS = (NEMOTRON_EMBED_VL,)
CHECKPOINTS = (Checkpoint.published(NEMOTRON_NAME, NEMOTRON_EMBED_VL, sizes=(2048,), max_length=10240),)
