"""Dual encoders of texts and images: CLIP. Each field's source stands in its row."""

from __future__ import annotations

from ..checkpoint import Checkpoint
from ..description import Model
from ..layout import Layout
from ..prompt_pieces import Slot, Special

CLIP = Model(
    name="clip",
    layouts=(
        Layout(
            architecture="CLIPModel",
            # A published text_config may leave out what CLIPTextConfig has by itself, and config.json what CLIPConfig.
            defaults={"hidden_size": 512, "max_position_embeddings": 77, "projection_dim": 512},
            modules=("CLIPModel", "Transformer", "Normalize"),
            any_prompts=True,
            adapters="ignored",
        ),
    ),
    known_as=("clip",),
    pooling="last_token",
    kind="bpe",
    templates={
        ("any", "text"): (Special("<|startoftext|>"), Slot.TEXT, Special("<|endoftext|>")),
        ("any", "image"): (Slot.IMAGES,),
    },
    fixed_size=True,
    size_key="projection_dim",
    attention="causal",
    token_vectors=False,
    max_length=77,
    source={
        "layouts": "config.json of openai/clip-vit-base-patch32; transformers, configuration_clip.py",
        # vLLM's class projects every state; an image has one, of the class, projected too.
        "pooling": "transformers, modeling_clip.py, CLIPModel: the state of <|endoftext|>, projected",
        "templates": "tokenizer.json of openai/clip-vit-base-patch32; transformers, tokenization_clip.py; no further "
        "words: mteb 2.26, clip_models.py",
        "fixed_size": "preprocessor_config.json of openai/clip-vit-base-patch32, crop_size",
        "size_key": "transformers, modeling_clip.py, CLIPModel: text_projection and visual_projection",
        "attention": "arXiv:2103.00020, section 2.4: masked self-attention in the text encoder",
        "token_vectors": "arXiv:2103.00020, figure 3: one vector of a text or an image is compared",
        "max_length": "config.json of openai/clip-vit-base-patch32, text_config, max_position_embeddings",
    },
)

ROWS = (CLIP,)
REPOSITORIES = {
    "openai/clip-vit-base-patch16": 512,
    "openai/clip-vit-base-patch32": 512,
    "openai/clip-vit-large-patch14": 768,
    "openai/clip-vit-large-patch14-336": 768,
}
"""By the repository, the length of its embeddings. Source: config.json of each, projection_dim; mteb 2.26,
clip_models.py, embed_dim."""
CHECKPOINTS = tuple(
    Checkpoint.published(name, CLIP, sizes=(size,), max_length=77) for name, size in REPOSITORIES.items()
)
