"""Checkpoints in the layout of openai/clip-vit-*, and what transformers gives for them.

Written apart from the package: the tokenizer, the image processor and the features are transformers' own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import models, normalizers, pre_tokenizers, trainers
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from tests.support.checkpoints import write_json
from tests.support.tokenizer import KNOWN
from tests.support.vision import spread
from tests.support.xlm_roberta import unit

LENGTH = 77
SIZE = 56
HIDDEN = 64
PROJECTION = 80
"""Longer than a state: the length of an embedding is not that of a state."""
START, END = "<|startoftext|>", "<|endoftext|>"


def make_clip_tokenizer() -> CLIPTokenizer:
    """Return a small tokenizer of transformers' class: lower case, words end in ``</w>``, the first id is ``!``."""
    trained = CLIPTokenizer().backend_tokenizer
    trained.model = models.BPE(end_of_word_suffix="</w>", unk_token=END)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=900, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    letters = " ".join(sorted(alphabet))  # each of them at the end of a word too
    trained.train_from_iterator([KNOWN.lower(), letters, *(f"{one}</w>" for one in alphabet)] * 4, trainer)
    model = json.loads(trained.to_str())["model"]
    vocabulary: dict[str, int] = dict(model["vocab"])
    for byte in sorted(alphabet):  # the published vocabulary has each byte inside a word and at its end
        vocabulary.setdefault(f"{byte}</w>", len(vocabulary))
    for name in (START, END):  # the largest ids, as published
        vocabulary[name] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=[tuple(pair) for pair in model["merges"]], model_max_length=LENGTH)


def make_clip(folder: Path, *, seed: int = 0) -> Path:
    """Write a random checkpoint to a new folder; its config.json has the ids of OpenAI's, which are not its tokens'."""
    folder.mkdir(parents=True)
    tokenizer = make_clip_tokenizer()
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    model = CLIPModel(
        CLIPConfig(
            text_config={
                "vocab_size": len(tokenizer), "hidden_size": HIDDEN, "intermediate_size": 128,
                "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": LENGTH,
                "projection_dim": PROJECTION, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
                "initializer_factor": 6.0,
            },
            vision_config={
                "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
                "image_size": SIZE, "patch_size": 14, "projection_dim": PROJECTION, "initializer_factor": 6.0,
            },
            projection_dim=PROJECTION,
        )
    )  # fmt: skip
    for norm in ("norm1.weight", "norm2.weight", "layernorm.weight", "layer_norm.weight", "layrnorm.weight"):
        spread(model, norm=norm)
    model.save_pretrained(folder)
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor", "crop_size": SIZE, "size": SIZE, "do_center_crop": True,
            "do_normalize": True, "do_resize": True, "resample": 3,
            "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
        },
    )  # fmt: skip
    return folder


class ClipReference:
    """A checkpoint on transformers, float32."""

    def __init__(self, folder: Path) -> None:
        self.model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = CLIPTokenizer.from_pretrained(folder)
        self.images = CLIPImageProcessor.from_pretrained(folder)

    def ids(self, text: str, **options: Any) -> list[int]:
        """Return a text's tokens, cut to what the model has positions for; no special token is read in it."""
        options = {"truncation": True, "split_special_tokens": True, **options}
        ids: list[int] = self.tokenizer(text, **options).input_ids
        return ids

    def ids_as_written(self, text: str) -> list[int]:
        """Return the tokens of a text whose letters keep their case."""
        tokenizer = CLIPTokenizer.from_pretrained(self.tokenizer.name_or_path)
        tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
        ids: list[int] = tokenizer(text, truncation=True, split_special_tokens=True).input_ids
        return ids

    @torch.inference_mode()
    def of_ids(self, ids: list[int]) -> np.ndarray:
        """Return the text's features, normalised."""
        return unit(_features(self.model.get_text_features(input_ids=torch.tensor([ids]))))

    @torch.inference_mode()
    def text_states(self, ids: list[int]) -> np.ndarray:
        """Return the projected states of a text's tokens, ``(n_tokens, PROJECTION)``."""
        states = self.model.text_model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        projected: np.ndarray = self.model.text_projection(states).numpy()
        return projected

    def text(self, text: str) -> np.ndarray:
        """Return the features of a text, normalised."""
        return self.of_ids(self.ids(text))

    @torch.inference_mode()
    def image(self, image: Image.Image, **options: Any) -> np.ndarray:
        """Return the image's features, normalised; ``options`` replace those of the processor."""
        return unit(_features(self.model.get_image_features(**self.pixels(image, **options))))

    @torch.inference_mode()
    def patches(self, image: Image.Image) -> np.ndarray:
        """Return the projected mean of an image's states, which is not its embedding."""
        vision = self.model.vision_model
        mean = vision.post_layernorm(vision(**self.pixels(image)).last_hidden_state[0].mean(0))
        return unit(self.model.visual_projection(mean).numpy())

    def pixels(self, image: Image.Image, **options: Any) -> dict[str, torch.Tensor]:
        """Return what the processor makes of an image."""
        return dict(self.images(images=image, return_tensors="pt", **options))


def _features(output: Any) -> np.ndarray:
    """Return the features of an output, which transformers before 5 gave alone."""
    values: torch.Tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
    return values[0].numpy()
