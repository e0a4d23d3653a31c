"""Vision-language models over LLaVA-NeXT: e5-v. Each field's source stands in its row."""

from __future__ import annotations

from ..checkpoint import Checkpoint
from ..description import Model
from ..layout import Layout
from ..prompt_pieces import Slot, Special, Template

E5_V_NAME = "royokong/e5-v"

HEAD, HEAD_END, TURN_END = Special("<|start_header_id|>"), Special("<|end_header_id|>"), Special("<|eot_id|>")
USER: Template = (Special("<|begin_of_text|>"), HEAD, "user", HEAD_END, "\n\n")
ASSISTANT: Template = (TURN_END, HEAD, "assistant", HEAD_END, "\n\n \n")
"""A chat of Llama 3, up to the item and behind it."""

E5_V = Model(
    name="e5-v",
    layouts=(
        Layout(
            architecture="LlavaNextForConditionalGeneration",
            # A published text_config leaves out what LlamaConfig has by itself.
            defaults={"hidden_size": 4096},
            any_prompts=True,
            adapters="ignored",
            pooling_decides=True,
        ),
    ),
    known_as=("e5-v",),
    pooling="last_token",
    kind="bpe",
    templates={
        ("any", "text"): (*USER, Slot.TEXT, "\nSummary above sentence in one word: ", *ASSISTANT),
        ("any", "image"): (*USER, Slot.IMAGES, "\nSummary above image in one word: ", *ASSISTANT),
        ("any", "both"): (
            *USER,
            "[INST] ",
            Slot.IMAGES,
            ' Modify this image with "',
            Slot.TEXT,
            '" Describe modified image in one word: [/INST]',
            *ASSISTANT,
        ),
    },
    image=(Special("<image>"),),
    fixed_size=True,
    attention="causal",
    splits_prompts=True,
    max_length=None,
    source={
        "layouts": "config.json of royokong/e5-v; that of llava-hf/llama3-llava-next-8b-hf has the same architecture",
        "pooling": "card of royokong/e5-v, hidden_states[-1][:, -1]; mteb 2.26, e5_v.py",
        "templates": "card of royokong/e5-v; mteb 2.26, e5_v.py, composed_prompt of a text with an image; vLLM, "
        "vision_embedding_offline.py, run_e5_v; the first token: tokenizer.json of royokong/e5-v",
        "image": "card of royokong/e5-v",
        "fixed_size": "preprocessor_config.json of royokong/e5-v, image_grid_pinpoints",
        "attention": "transformers, modeling_llama.py, a decoder",
        "splits_prompts": "causal attention: a state depends on what stands before it alone",
        "max_length": "config.json of royokong/e5-v, max_position_embeddings; mteb 2.26, e5_v.py, max_tokens",
    },
)

ROWS = (E5_V,)
CHECKPOINTS = (Checkpoint.published(E5_V_NAME, E5_V, sizes=(4096,), max_length=8192),)
