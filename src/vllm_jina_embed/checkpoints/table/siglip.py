"""Dual encoders of texts and images: SigLIP and SigLIP 2. Each field's source stands in its row."""

from __future__ import annotations

from dataclasses import replace

from ..checkpoint import Checkpoint
from ..description import Model
from ..layout import Layout
from ..prompt_pieces import Slot, Special

SIGLIP = Model(
    name="siglip",
    layouts=(
        Layout(
            architecture="SiglipModel",
            # A published text_config may leave out what SiglipTextConfig has by itself.
            defaults={"hidden_size": 768, "max_position_embeddings": 64},
            modules=("Transformer", "Normalize"),
            any_prompts=True,
            adapters="ignored",
        ),
    ),
    known_as=("siglip",),
    pooling="last_token",
    kind="unigram",
    normalization="canonical",
    templates={("any", "text"): (Slot.TEXT, Special("</s>")), ("any", "image"): (Slot.IMAGES,)},
    padding=Special("</s>"),
    fixed_size=True,
    reversed_states=True,
    size_key="text_config.projection_size",
    attention="both",
    token_vectors=False,
    max_length=None,
    source={
        "layouts": "config.json of google/siglip-base-patch16-224; transformers, configuration_siglip.py",
        # vLLM's class projects every state; an image has one, that of the attention pooling head.
        "pooling": "transformers, modeling_siglip.py, SiglipTextModel: last_hidden_state[:, -1, :], then the head",
        "normalization": "transformers, tokenization_siglip.py, canonicalize_text; big_vision, prompt_engineering.py",
        "templates": "transformers, tokenization_siglip.py, build_inputs_with_special_tokens",
        "padding": "big_vision, SigLIP_demo.ipynb: eos='sticky', pad_value=1; transformers, tokenization_siglip.py, "
        "pad_token; cards and mteb 2.26, siglip_models.py: padding='max_length'",
        "fixed_size": "preprocessor_config.json of google/siglip-base-patch16-224, size",
        "reversed_states": "vLLM 0.32, siglip.py, _flip_sequences_by_position_ids",
        "size_key": "transformers, modeling_siglip.py, SiglipTextModel: head",
        "attention": "transformers, modeling_siglip.py, SiglipTextModel: create_bidirectional_mask",
        "token_vectors": "arXiv:2303.15343, section 3: one vector of a text or an image is compared",
        "max_length": "config.json of google/siglip-*, text_config, max_position_embeddings",
    },
)

SIGLIP2 = replace(
    SIGLIP,
    name="siglip2",
    known_as=("siglip2",),
    kind="bpe",
    # Its training lowered ASCII letters alone (big_vision, ops_text.py); transformers lowers all.
    normalization="lower",
    templates={("any", "text"): (Slot.TEXT, Special("<eos>")), ("any", "image"): (Slot.IMAGES,)},
    padding=Special("<pad>"),
    source={
        **SIGLIP.source,
        "layouts": "config.json of google/siglip2-base-patch16-224, a SiglipModel too",
        "normalization": "transformers, tokenization_siglip2.py and siglip2.md: trained with lowercased text",
        "templates": "transformers, convert_siglip2_to_hf.py: add_bos_token=False, add_eos_token=True",
        "padding": "transformers, convert_siglip2_to_hf.py, padding_side='right', and siglip2.md, max_length=64; "
        "tokenizer.json of google/siglip2-base-patch16-224, padding",
        "fixed_size": "preprocessor_config.json of google/siglip2-base-patch16-224, size",
        "token_vectors": "arXiv:2502.14786, section 2: one vector of a text or an image is compared",
        "max_length": "config.json of google/siglip2-*, text_config, max_position_embeddings",
    },
)

ROWS = (SIGLIP, SIGLIP2)
UNSERVED = {
    "Siglip2Model": "vLLM 0.32 has no class for the NaFlex models of SigLIP 2, which take images of any shape. Use one "
    "of a fixed resolution, such as google/siglip2-base-patch16-224."
}
REPOSITORIES = {
    "google/siglip-base-patch16-224": (SIGLIP, 64, 768),
    "google/siglip-base-patch16-256": (SIGLIP, 64, 768),
    "google/siglip-base-patch16-256-multilingual": (SIGLIP, 64, 768),
    "google/siglip-base-patch16-384": (SIGLIP, 64, 768),
    "google/siglip-base-patch16-512": (SIGLIP, 64, 768),
    "google/siglip-large-patch16-256": (SIGLIP, 64, 1024),
    "google/siglip-large-patch16-384": (SIGLIP, 64, 1024),
    "google/siglip-so400m-patch14-224": (SIGLIP, 16, 1152),
    "google/siglip-so400m-patch14-384": (SIGLIP, 64, 1152),
    "google/siglip2-base-patch16-224": (SIGLIP2, 64, 768),
    "google/siglip2-base-patch16-256": (SIGLIP2, 64, 768),
    "google/siglip2-base-patch16-384": (SIGLIP2, 64, 768),
    "google/siglip2-base-patch16-512": (SIGLIP2, 64, 768),
    "google/siglip2-base-patch32-256": (SIGLIP2, 64, 768),
    "google/siglip2-giant-opt-patch16-256": (SIGLIP2, 64, 1536),
    "google/siglip2-giant-opt-patch16-384": (SIGLIP2, 64, 1536),
    "google/siglip2-large-patch16-256": (SIGLIP2, 64, 1024),
    "google/siglip2-large-patch16-384": (SIGLIP2, 64, 1024),
    "google/siglip2-large-patch16-512": (SIGLIP2, 64, 1024),
    "google/siglip2-so400m-patch14-224": (SIGLIP2, 64, 1152),
    "google/siglip2-so400m-patch14-384": (SIGLIP2, 64, 1152),
    "google/siglip2-so400m-patch16-256": (SIGLIP2, 64, 1152),
    "google/siglip2-so400m-patch16-384": (SIGLIP2, 64, 1152),
    "google/siglip2-so400m-patch16-512": (SIGLIP2, 64, 1152),
}
"""By the repository, its row, the tokens of a text's prompt and the length of its embeddings. Source: mteb 2.26,
siglip_models.py, max_tokens and embed_dim; transformers, convert_siglip_to_hf.py, max_position_embeddings.
siglip-so400m-patch16-256-i18n is left out: its vocabulary was in doubt (huggingface/transformers#32938)."""
CHECKPOINTS = tuple(
    Checkpoint.published(name, row, sizes=(size,), max_length=length)
    for name, (row, length, size) in REPOSITORIES.items()
)
