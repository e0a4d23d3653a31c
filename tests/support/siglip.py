"""Checkpoints in the layout of google/siglip-* and siglip2-*, and what transformers gives for them.

Written apart from the package: the tokenizers, the image processor and the features are transformers' own. SigLIP's
tokenizer there is sentencepiece over ``spiece.model``; the package reads tokenizer.json.
"""

from __future__ import annotations

import io
import json
import string
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from PIL import Image
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import Siglip2Tokenizer, SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipTokenizer

from tests.support.checkpoints import write_json
from tests.support.unigram import CORPUS
from tests.support.vision import spread
from tests.support.xlm_roberta import unit

LENGTH = 64
SIZE = 48
HIDDEN = 64
PROJECTION = 80
"""Longer than a text's state, as in siglip2-giant-opt."""
GEMMA = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]


@cache
def _spiece() -> bytes:
    """Return a sentencepiece model as T5's: ``<pad>``, ``</s>``, ``<unk>``, then pieces of lower case."""
    content = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line.lower() for line in CORPUS] * 20), model_writer=content, vocab_size=180,
        model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, normalization_rule_name="nmt_nfkc",
        character_coverage=1.0, hard_vocab_limit=False, num_threads=1, minloglevel=2,
    )  # fmt: skip
    return content.getvalue()


def make_siglip_tokenizer(*, normalizes: bool = True) -> Tokenizer:
    """Return what a tokenizer.json has for ``spiece.model``; ``normalizes``: whether it drops punctuation itself."""
    model = sentencepiece.SentencePieceProcessor(model_proto=_spiece())
    vocabulary = [(model.id_to_piece(number), model.get_score(number)) for number in range(model.get_piece_size())]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2, byte_fallback=False))
    own = [
        normalizers.Lowercase(),
        normalizers.Replace(Regex("[" + "".join(f"\\{one}" for one in string.punctuation) + "]"), ""),
        normalizers.Replace(Regex(r"\s+"), " "),
        normalizers.Strip(),
    ]
    nmt = [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    tokenizer.normalizer = normalizers.Sequence([*own, *nmt] if normalizes else nmt)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(["</s>", "<unk>", "<pad>"])
    return tokenizer


@cache
def _gemma() -> str:
    """Return a small tokenizer.json as Gemma's: BPE with ``▁`` for spaces, case kept, unknown letters as bytes."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")  # so that no piece joins two words
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=[*GEMMA, *bytes_], show_progress=False)
    tokenizer.train_from_iterator([*CORPUS, *map(str.lower, CORPUS)] * 4, trainer)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    tokenizer.enable_padding(direction="right", pad_id=0, pad_token="<pad>", length=LENGTH)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = content["added_tokens"][: len(GEMMA)]  # the bytes are ordinary tokens
    return json.dumps(content, ensure_ascii=False)


def make_siglip2_tokenizer() -> Tokenizer:
    """Return a small tokenizer as that of google/siglip2-*."""
    return Tokenizer.from_str(_gemma())


def make_siglip(folder: Path, *, seed: int = 0, normalizes: bool = True, length: int = LENGTH) -> Path:
    """Write a random SigLIP to a new folder.

    Args:
        folder: Where.
        seed: Of the weights.
        normalizes: Whether tokenizer.json drops capitals and punctuation itself.
        length: How many tokens a text's prompt has.
    """
    tokenizer = make_siglip_tokenizer(normalizes=normalizes)
    _make(folder, tokenizer, seed=seed, length=length, end=1)
    (folder / "spiece.model").write_bytes(_spiece())
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "SiglipTokenizer", "model_max_length": length, "do_lower_case": True,
            "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>", "model_input_names": ["input_ids"],
        },
    )  # fmt: skip
    return folder


def make_siglip2(folder: Path, *, seed: int = 0) -> Path:
    """Write a random SigLIP 2 of a fixed resolution to a new folder."""
    _make(folder, make_siglip2_tokenizer(), seed=seed, length=LENGTH, end=1)
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "GemmaTokenizer", "model_max_length": LENGTH, "padding_side": "right",
            "add_bos_token": False, "add_eos_token": True, "bos_token": "<bos>", "eos_token": "<eos>",
            "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>", "model_input_names": ["input_ids"],
        },
    )  # fmt: skip
    return folder


def _make(folder: Path, tokenizer: Tokenizer, *, seed: int, length: int, end: int) -> None:
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    model = SiglipModel(
        SiglipConfig(
            text_config={
                "vocab_size": tokenizer.get_vocab_size(), "hidden_size": HIDDEN, "intermediate_size": 128,
                "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": length,
                "projection_size": PROJECTION, "pad_token_id": 1, "bos_token_id": None, "eos_token_id": end,
            },
            vision_config={
                "hidden_size": PROJECTION, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
                "image_size": SIZE, "patch_size": 16,
            },
        )
    )  # fmt: skip
    for norm in ("norm1.weight", "norm2.weight", "layernorm.weight", "layer_norm.weight"):
        spread(model, norm=norm)
    with torch.no_grad():  # attention stays soft: each token of a text, its end too, is seen by the last one
        for name, value in model.named_parameters():
            if "embedding" in name:
                value.normal_(std=1.0)
            elif "norm" not in name and "probe" not in name and "q_proj" not in name and "k_proj" not in name:
                value.mul_(3.0) if value.ndim > 1 else value.normal_(std=0.3)
        model.text_model.embeddings.token_embedding.weight[end] *= 4  # one among many that fill a text up
    model.save_pretrained(folder)
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "SiglipImageProcessor", "size": {"height": SIZE, "width": SIZE}, "do_resize": True,
            "do_normalize": True, "do_rescale": True, "rescale_factor": 1 / 255, "resample": 3,
            "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
        },
    )  # fmt: skip


class SiglipReference:
    """A checkpoint on transformers, float32.

    Args:
        folder: The checkpoint.
        kind: The class of its tokenizer.
    """

    def __init__(self, folder: Path, kind: Callable[..., Any] = SiglipTokenizer) -> None:
        self.model = SiglipModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = kind.from_pretrained(folder)  # type: ignore[attr-defined]
        self.images = SiglipImageProcessor.from_pretrained(folder)
        self.length = self.model.config.text_config.max_position_embeddings

    @classmethod
    def of_siglip2(cls, folder: Path) -> SiglipReference:
        """Return that of a SigLIP 2."""
        return cls(folder, Siglip2Tokenizer)

    def ids(self, text: str, **options: Any) -> list[int]:
        """Return a text's tokens, cut and filled up as the model was trained; no special token is read in it."""
        given = {
            "padding": "max_length", "max_length": self.length, "truncation": True, "split_special_tokens": True,
            **options,
        }  # fmt: skip
        ids: list[int] = self.tokenizer(text, padding_side="right", **given).input_ids
        return ids

    @torch.inference_mode()
    def of_ids(self, ids: list[int]) -> np.ndarray:
        """Return the text's features, normalised."""
        return unit(_features(self.model.get_text_features(input_ids=torch.tensor([ids]))))

    @torch.inference_mode()
    def text_states(self, ids: list[int], *, causal: bool = False) -> np.ndarray:
        """Return the projected states of a text's tokens, ``(n_tokens, PROJECTION)``."""
        given, mask = torch.tensor([ids]), None
        if causal:
            mask = torch.full((len(ids), len(ids)), float("-inf")).triu(1)[None, None]
        text = self.model.text_model
        embedded = text.embeddings(input_ids=given)
        states = text.encoder(inputs_embeds=embedded, attention_mask=mask).last_hidden_state
        projected: np.ndarray = text.head(text.final_layer_norm(states))[0].numpy()
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
        """Return the mean of an image's states, which is not its embedding."""
        return unit(self.model.vision_model(**self.pixels(image)).last_hidden_state[0].mean(0).numpy())

    def pixels(self, image: Image.Image, **options: Any) -> dict[str, torch.Tensor]:
        """Return what the processor makes of an image."""
        return dict(self.images(images=image, return_tensors="pt", **options))


def _features(output: Any) -> np.ndarray:
    """Return the features of an output, which transformers before 5 gave alone."""
    values: torch.Tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
    return values[0].numpy()
