"""A tiny Qwen2.5-VL, and the pooling of jina-embeddings-v4 in torch.

The pooling here is written for training and for checking it; users get ``vllm_jina_embed.pooling``.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import torch
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2VLImageProcessor

HIDDEN_SIZE: Final = 128
MATRYOSHKA_DIMS: Final = (32, 64, 128)
MERGE_SIZE: Final = 2
_TEXT_GROUPS: Final = 6  # by length: little padding, and states that stay in the processor's cache
_INITIAL_SPREAD: Final = 0.06  # Qwen's 0.02 is for wider layers; here it makes all embeddings alike for many steps
# Source: jinaai/jina-embeddings-v4, preprocessor_config.json.
MIN_PIXELS: Final = 3136
MAX_PIXELS: Final = 602112
# Source: jinaai/jina-embeddings-v4, modeling_jina_embeddings_v4.py, process_images.
IMAGE_PROMPT: Final = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Describe the image.<|im_end|>\n"


class Embedded(NamedTuple):
    """Embeddings, (n, hidden size), and each item's multi-vector, (n_tokens, hidden size), all rows of L2 norm 1."""

    vectors: torch.Tensor
    multi_vectors: list[torch.Tensor]


def new_model(tokenizer: Any) -> Any:
    """A model of about 1.1 million random weights for that tokenizer.

    The final norm's weights are log-normal, as far from constant as a trained model's. With constant ones every token
    state has the same length, and a mean over normalised states would give the right direction by accident.
    """
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("endoftext", "im_end")}
    markers = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{token}|>")
        for name, token in (
            ("image", "image_pad"),
            ("video", "video_pad"),
            ("vision_start", "vision_start"),
            ("vision_end", "vision_end"),
            ("vision_token", "vision_pad"),
        )
    }
    markers["vision_token_id"] = markers.pop("vision_token_token_id")
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN_SIZE,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,  # 32 wide: vLLM's CPU attention refuses less
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6,
        "initializer_range": _INITIAL_SPREAD,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
        "bos_token_id": ids["endoftext"],
        "eos_token_id": ids["im_end"],
        "pad_token_id": ids["endoftext"],
    }
    vision = {
        "depth": 3,
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_heads": 2,
        "out_hidden_size": HIDDEN_SIZE,
        "fullatt_block_indexes": [1, 2],
        "window_size": 112,
        "initializer_range": _INITIAL_SPREAD,
        "patch_size": 14,
        "spatial_merge_size": MERGE_SIZE,
        "temporal_patch_size": 2,
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=True,
        matryoshka_dims=list(MATRYOSHKA_DIMS),
        **markers,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    with torch.no_grad():
        norm = model.model.language_model.norm.weight
        norm.copy_(torch.exp(0.5 * torch.randn_like(norm)))
    return model


def new_image_processor() -> Any:
    """The image processor with the pixel bounds of jina-embeddings-v4."""
    return Qwen2VLImageProcessor(min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS)


def embed_texts(model: Any, rows: Sequence[Sequence[int]]) -> Embedded:
    """Embed texts: the mean over all token states.

    Args:
        model: What ``new_model`` gave.
        rows: Token ids per text, with the prefix.

    Returns:
        What was embedded, in the order of the rows.
    """
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    size = math.ceil(len(rows) / _TEXT_GROUPS)
    groups = [[rows[index] for index in order[start : start + size]] for start in range(0, len(rows), size)]
    return _joined([_text_group(model, group) for group in groups], order)


def _text_group(model: Any, rows: Sequence[Sequence[int]]) -> Embedded:
    lengths = torch.tensor([len(row) for row in rows])
    ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True).to(model.device)
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).to(model.device)
    states = model.model(input_ids=ids, attention_mask=mask.long(), use_cache=False).last_hidden_state
    return _pooled(states, mask, lengths)


def embed_images(model: Any, prompt: Sequence[int], patches: Sequence[torch.Tensor], grids: torch.Tensor) -> Embedded:
    """Embed images: the mean over the token states from vision start to vision end, markers included.

    Args:
        model: What ``new_model`` gave.
        prompt: Token ids of ``IMAGE_PROMPT``, with one image token.
        patches: Per image, what the image processor gives as ``pixel_values``.
        grids: (n, 3), what it gives as ``image_grid_thw``.

    Returns:
        What was embedded, in the order of the images.
    """
    order = torch.argsort(grids.prod(-1))
    parts = [_image_group(model, prompt, patches, grids, group) for group in order.tensor_split(min(4, len(order)))]
    return _joined(parts, order.tolist())


def _image_group(
    model: Any, prompt: Sequence[int], patches: Sequence[torch.Tensor], grids: torch.Tensor, group: torch.Tensor
) -> Embedded:
    config = model.config
    counts = (grids[group].prod(-1) // MERGE_SIZE**2).tolist()
    at = list(prompt).index(config.image_token_id)
    rows = [torch.tensor([*prompt[:at], *[config.image_token_id] * n, *prompt[at + 1 :]]) for n in counts]
    lengths = torch.tensor([len(row) for row in rows])
    ids = pad_sequence(rows, batch_first=True, padding_value=config.text_config.pad_token_id)
    place = torch.arange(ids.shape[1])
    states = model.model(
        input_ids=ids.to(model.device),
        attention_mask=(place < lengths[:, None]).long().to(model.device),
        pixel_values=torch.cat([patches[index] for index in group.tolist()]).to(model.device),
        image_grid_thw=grids[group].to(model.device),
        mm_token_type_ids=(ids == config.image_token_id).long().to(model.device),
        use_cache=False,
    ).last_hidden_state
    span = (place >= at - 1) & (place <= at + torch.tensor(counts)[:, None])
    return _pooled(states, span.to(model.device), lengths)


def _pooled(states: torch.Tensor, mask: torch.Tensor, lengths: torch.Tensor) -> Embedded:
    weights = mask.unsqueeze(-1).to(states.dtype)
    vectors = normalize((states * weights).sum(1) / weights.sum(1), dim=-1)
    rows = normalize(states, dim=-1)
    return Embedded(vectors, [row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)])


def _joined(parts: Sequence[Embedded], order: Sequence[int]) -> Embedded:
    """One after the other, and each in the place that ``order`` took it from."""
    places = sorted(range(len(order)), key=order.__getitem__)
    multi_vectors = [rows for part in parts for rows in part.multi_vectors]
    return Embedded(torch.cat([part.vectors for part in parts])[places], [multi_vectors[place] for place in places])
