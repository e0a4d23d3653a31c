"""Checkpoints in the layout of nvidia/llama-nemotron-embed-vl-1b-v2, and what its published code gives for them.

Written apart from the package and from vLLM: the vision tower and the decoder are transformers', one item at a time.
Sources: nemo_automodel/components/models/llama_nemotron_vl/model.py (LlamaNemotronVLModel, extract_feature, pool) and
processor.py (process_queries, process_documents, dynamic_preprocess) of NVIDIA-NeMo/Automodel, the published classes.
Those round pixels to bfloat16, as their weights are; in float32 nothing is rounded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import processors
from torch import nn
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast, SiglipVisionConfig, SiglipVisionModel

from tests.support.checkpoints import write_json
from tests.support.tokenizer import KNOWN, make_tokenizer
from tests.support.vision import spread
from tests.support.xlm_roberta import unit

HIDDEN, VISION, TILE, PATCH, TILES = 128, 64, 64, 8, 6
PER_TILE = (TILE // PATCH // 2) ** 2
BEGIN, OPEN, CONTEXT, CLOSE = "<|begin_of_text|>", "<img>", "<IMG_CONTEXT>", "</img>"
SPECIAL = [BEGIN, "<|end_of_text|>", "<|eot_id|>", OPEN, CLOSE, CONTEXT]
CODE = 'raise RuntimeError("the code of the checkpoint ran")\n'
"""Stands for the published code."""


def make_nemotron_vl(folder: Path, *, tiles: int = TILES, seed: int = 0) -> Path:
    """Write a random checkpoint to a new folder.

    Args:
        folder: Where.
        tiles: Most tiles of an image, in processor_config.json; config.json has another number, as published.
        seed: Of the weights.
    """
    folder.mkdir(parents=True)
    tokenizer = make_tokenizer(f"{KNOWN} query: passage: fox.", SPECIAL)
    begin = (BEGIN, tokenizer.token_to_id(BEGIN))
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[begin])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = _config(tokenizer.get_vocab_size(), tokenizer.token_to_id(CONTEXT))
    write_json(folder / "config.json", config)
    torch.manual_seed(seed)
    parts = _parts(config, head=True)
    spread(parts["language_model"])
    norm: Any = parts["mlp1"][0]
    with torch.no_grad():
        norm.weight.copy_(torch.exp(0.5 * torch.randn(norm.weight.shape)))
    # The published weights were saved by transformers 4, in which the vision tower is one module further in.
    within = {"vision_model": "vision_model.vision_model"}
    named = {
        f"{within.get(part, part)}.{name}": value
        for part, model in parts.items()
        for name, value in model.state_dict().items()
    }
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("configuration", "modeling", "processing"):
        (folder / f"{name}_llama_nemotron_vl.py").write_text(CODE)
    _write_processor(folder, tiles)
    return folder


def _config(vocabulary: int, context: int) -> dict[str, Any]:
    code = "{}_llama_nemotron_vl.LlamaNemotronVL{}"
    return {
        "architectures": ["LlamaNemotronVLModel"], "model_type": "llama_nemotron_vl",
        "auto_map": {
            "AutoConfig": code.format("configuration", "Config"), "AutoModel": code.format("modeling", "Model"),
        },
        "bidirectional_attention": True, "downsample_ratio": 0.5, "dynamic_image_size": True,
        "force_image_size": TILE, "img_context_token_id": context, "max_input_tiles": 2, "pooling": "avg",
        "ps_version": "v2", "select_layer": -1, "template": "bidirectional-llama-retriever", "use_thumbnail": True,
        "q_max_length": 512, "p_max_length": 4096, "query_prefix": "query:", "passage_prefix": "passage:",
        "torch_dtype": "float32", "vocab_size": vocabulary,
        "llm_config": {
            "architectures": ["LlamaBidirectionalModel"], "model_type": "llama_bidirec", "pooling": "avg",
            "temperature": 1.0, "vocab_size": vocabulary, "hidden_size": HIDDEN, "intermediate_size": 256,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
            "max_position_embeddings": 4096, "initializer_range": 0.1, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
            "rope_scaling": {
                "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                "original_max_position_embeddings": 256, "rope_type": "llama3",
            },
            "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True, "hidden_act": "silu",
        },
        "vision_config": {
            "model_type": "siglip_vision_model", "hidden_size": VISION, "intermediate_size": 128,
            "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": TILE, "patch_size": PATCH,
            "layer_norm_eps": 1e-6, "hidden_act": "gelu_pytorch_tanh", "num_channels": 3,
        },
    }  # fmt: skip


def _parts(config: Mapping[str, Any], *, head: bool) -> dict[str, Any]:
    """Return the vision tower, with its unused pooling ``head`` or without, the projector and the decoder."""
    vision = {**config["vision_config"], "vision_use_head": head}
    wide, hidden = 4 * vision["hidden_size"], config["llm_config"]["hidden_size"]
    return {
        "vision_model": SiglipVisionModel(SiglipVisionConfig(**vision)),
        "mlp1": nn.Sequential(nn.LayerNorm(wide), nn.Linear(wide, hidden), nn.GELU(), nn.Linear(hidden, hidden)),
        "language_model": LlamaModel(LlamaConfig(**config["llm_config"], attn_implementation="eager")),
    }


def _write_processor(folder: Path, tiles: int) -> None:
    write_json(
        folder / "processor_config.json",
        {
            "auto_map": {"AutoProcessor": "processing_llama_nemotron_vl.LlamaNemotronVLProcessor"},
            "processor_class": "LlamaNemotronVLProcessor", "dynamic_image_size": True, "image_size": TILE,
            "max_input_tiles": tiles, "norm_type": "siglip", "num_channels": 3, "num_image_token": PER_TILE,
            "p_max_length": 10240, "q_max_length": None, "padding": True, "passage_prefix": "passage:",
            "query_prefix": "query:", "system_message": "", "template": "bidirectional-llama-retriever",
            "use_thumbnail": True,
        },
    )  # fmt: skip
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BEGIN, "eos_token": "<|end_of_text|>",
            "pad_token": "<|end_of_text|>", "additional_special_tokens": [OPEN, CLOSE, CONTEXT],
            "padding_side": "left", "model_max_length": 131072, "processor_class": "LlamaNemotronVLProcessor",
        },
    )  # fmt: skip


def grid(width: int, height: int, tiles: int, side: int = TILE) -> tuple[int, int]:
    """Return how many columns and rows of tiles an image of this size is cut into, at most ``tiles`` of them.

    The grid with the largest product of two numbers: the area it keeps, capped at 0.6, and how near its shape is. Of
    equal ones the first counts, by the number of tiles and then in the order of Python's set.
    """
    every = sorted(
        {(i, j) for n in range(1, tiles + 1) for i in range(1, n + 1) for j in range(1, n + 1) if i * j <= tiles},
        key=lambda one: one[0] * one[1],
    )
    shape, area = width / height, width * height

    def score(one: tuple[int, int]) -> float:
        own = one[0] / one[1]
        return min((one[0] * one[1] * side * side) / area, 0.6) * min(own / shape, shape / own)

    return max(every, key=score)


def pixels(image: Image.Image, tiles: int, *, thumbnail: bool = True) -> torch.Tensor:
    """Return the tiles ``(n, 3, side, side)`` of an image in -1 to 1, row by row, of several the whole image last.

    Args:
        image: RGB.
        tiles: Most of them, the last one not counted.
        thumbnail: Whether there is that last one.
    """
    columns, rows = grid(*image.size, tiles)
    whole = image.resize((columns * TILE, rows * TILE))
    cut = [
        whole.crop((column * TILE, row * TILE, (column + 1) * TILE, (row + 1) * TILE))
        for row in range(rows)
        for column in range(columns)
    ]
    if thumbnail and len(cut) > 1:
        cut.append(image.resize((TILE, TILE)))
    stacked = torch.from_numpy(np.stack([np.asarray(one) for one in cut])).permute(0, 3, 1, 2).float()
    return (stacked / 255 - 0.5) / 0.5


class NemotronVLReference:
    """A checkpoint on transformers' SigLIP and Llama, with the published prompts, tiles, projector and mean."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        self.tiles = json.loads((folder / "processor_config.json").read_text())["max_input_tiles"]
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        stored = load_file(folder / "model.safetensors")
        parts = _parts(config, head=False)
        for part, model in parts.items():
            inside = f"{part}.vision_model." if part == "vision_model" else f"{part}."
            found = {name.removeprefix(inside): one.float() for name, one in stored.items() if name.startswith(inside)}
            model.load_state_dict({name: found[name] for name in model.state_dict()})
            model.eval()
        self.vision, self.projector, self.decoder = parts.values()
        self.context = self.tokenizer.convert_tokens_to_ids(CONTEXT)

    def prompt(self, role: str, text: str | None, images: int = 0) -> str:
        """Return the whole prompt of an item but for the first token, with one token for each image."""
        if not images:
            return f"{role}: {text}"
        return f"passage: {OPEN}{CONTEXT}{CLOSE} {text or ''}"

    def ids(self, prompt: str) -> list[int]:
        """Return the tokens of a prompt, the first one included."""
        ids: list[int] = self.tokenizer(prompt).input_ids
        return ids

    def plain(self, text: str) -> list[int]:
        """Return the tokens of a text in which special tokens are spelled by the user."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        return ids

    @torch.inference_mode()
    def features(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return the tokens ``(n_tokens, hidden)`` of tiles: 2 by 2 patches side by side, then the projector."""
        states = self.vision(pixel_values=tiles).last_hidden_state
        half, width = TILE // PATCH // 2, states.shape[-1]
        squares = states.reshape(len(tiles), half, 2, half, 2, width).permute(0, 1, 3, 2, 4, 5)
        projected: torch.Tensor = self.projector(squares.reshape(len(tiles), half * half, 4 * width))
        return projected.flatten(0, 1)

    @torch.inference_mode()
    def states(
        self,
        prompt: str | Sequence[int],
        images: Sequence[Image.Image | torch.Tensor] = (),
        *,
        tiles: int | None = None,
        causal: bool = False,
    ) -> np.ndarray:
        """Return the states ``(n_tokens, hidden)`` after the final norm.

        Args:
            prompt: A prompt, or its tokens, with one for each image.
            images: Its images, or their tiles.
            tiles: Most tiles of an image; None for the checkpoint's.
            causal: Whether a token sees those before it alone, as in a chat model.
        """
        ids = self.ids(prompt) if isinstance(prompt, str) else list(prompt)
        cut = [
            one if isinstance(one, torch.Tensor) else pixels(one, self.tiles if tiles is None else tiles)
            for one in images
        ]
        counts = iter([len(one) * PER_TILE for one in cut])
        every = torch.tensor([one for token in ids for one in [token] * (next(counts) if token == self.context else 1)])
        embedded = self.decoder.embed_tokens(every)
        if cut:
            embedded[every == self.context] = torch.cat([self.features(one) for one in cut])
        hidden = torch.zeros(len(every), len(every))
        if causal:
            hidden = torch.full_like(hidden, torch.finfo(torch.float32).min).triu(1)
        output = self.decoder(inputs_embeds=embedded[None], attention_mask=hidden[None, None], use_cache=False)
        states: np.ndarray = output.last_hidden_state[0].numpy()
        return states

    def embed(
        self, prompt: str | Sequence[int], images: Sequence[Image.Image | torch.Tensor] = (), **options: Any
    ) -> np.ndarray:
        """Return the mean of all states, normalised."""
        return unit(self.states(prompt, images, **options).mean(0))
