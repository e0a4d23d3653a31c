"""vLLM's own classes with our pooling, on the real engine, against transformers; prompts cut or whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, PreTrainedTokenizerFast, Qwen2Config, Qwen2Model

from tests.support.checkpoints import tokenizer_config, write_json
from tests.support.decoders import HIDDEN, SIZES
from tests.support.qwen3 import END, make_qwen3_embedding, qwen3_tokenizer
from tests.support.reference import distance, relative_error
from tests.support.xlm_roberta import make_xlm_roberta, unit
from vllm_jina_embed import JinaEmbedder, Layout, Model, Slot, Special
from vllm_jina_embed.checkpoints.row import Pooling
from vllm_jina_embed.checkpoints.table.bge import XLM_ROBERTA

pytestmark = [pytest.mark.real, pytest.mark.wide]

GATE = 1e-5
STEP = 64
TEXTS = [
    "a",
    "the quick brown fox",
    "Ein wunderschöner Sonnenuntergang am Strand",
    "def add(a, b): return a + b  # 🙂",
    "the quick brown fox " * 30,
    "Describe the image. " * 40,
    "浜辺に沈む美しい夕日 " * 12,
]


def make_qwen3(folder: Path) -> Path:
    return make_qwen3_embedding(folder, sentence_transformers=False)


def make_qwen2(folder: Path) -> Path:
    """Write a random checkpoint without the head that gives words, as ssmits/Qwen2-7B-Instruct-embed-base is."""
    folder.mkdir()
    tokenizer = qwen3_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    end = tokenizer.token_to_id(END)
    torch.manual_seed(1)
    model = Qwen2Model(
        Qwen2Config(
            vocab_size=tokenizer.get_vocab_size(),
            **SIZES,
            bos_token_id=end,
            eos_token_id=end,
        )
    )
    with torch.no_grad():
        model.norm.weight.copy_(torch.exp(0.5 * torch.randn(HIDDEN)))
    model.save_pretrained(folder)
    write_json(folder / "tokenizer_config.json", tokenizer_config())
    return folder


def make_encoder(folder: Path) -> Path:
    """Write a random checkpoint as multilingual-e5 is: an encoder that is averaged."""
    return make_xlm_roberta(folder, pooling="mean_tokens")


def decoder(architecture: str, pooling: Pooling, *, layer_norm: bool = False) -> Model:
    return Model(
        name=f"{architecture} {pooling}",
        layouts=(Layout(architecture=architecture, modules=(), adapters="ignored"),),
        pooling=pooling,
        layer_norm=layer_norm,
        kind="bpe",
        templates={("any", "text"): (Slot.TEXT, Special(END))},
        attention="causal",
        splits_prompts=True,
        matryoshka_sizes=(32,),
        max_length=2048,
    )


CASES: dict[str, tuple[Callable[[Path], Path], Model]] = {
    "Qwen3, mean, layer norm": (make_qwen3, decoder("Qwen3ForCausalLM", "mean", layer_norm=True)),
    "Qwen3, last, layer norm": (make_qwen3, decoder("Qwen3ForCausalLM", "last_token", layer_norm=True)),
    "Qwen3, first": (make_qwen3, decoder("Qwen3ForCausalLM", "first_token")),
    "Qwen2, mean": (make_qwen2, decoder("Qwen2Model", "mean")),
    "Qwen2, last": (make_qwen2, decoder("Qwen2Model", "last_token")),
    "XLM-RoBERTa, mean": (
        make_encoder,
        replace(XLM_ROBERTA, name="mean", pooling="mean", matryoshka_sizes=(32,), vectors_before={}),
    ),
}


class Expected:
    """The embedding in transformers, float32: one text at a time; sentence-transformers' formulas, written out."""

    def __init__(self, folder: Path, row: Model) -> None:
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        self.model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.row = row

    def ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=True).input_ids
        return ids

    def embed(self, text: str, dimensions: int | None = None, **wrong: Any) -> np.ndarray:
        """Return the vector of ``text``; ``wrong`` replaces fields of the row."""
        return unit(self.pooled(text, **wrong)[:dimensions])

    @torch.inference_mode()
    def pooled(self, text: str, **wrong: Any) -> np.ndarray:
        """Return what is pooled, after the layer norm, neither cut nor normalised."""
        row = replace(self.row, **wrong)
        ids = torch.tensor([self.ids(text)])
        states = self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        pooled = {"first_token": states[:, 0], "last_token": states[:, -1], "mean": states.mean(1)}[row.pooling]
        if row.layer_norm:
            pooled = torch.nn.functional.layer_norm(pooled, (pooled.shape[1],))
        return np.asarray(pooled[0])


@pytest.mark.parametrize(
    ("make", "row"),
    [pytest.param(*case, id=name, marks=[pytest.mark.models] * ("last" in name)) for name, case in CASES.items()],
)
def test_embeddings_are_those_of_transformers(make: Callable[[Path], Path], row: Model, tmp_path: Path) -> None:
    """Where prompts may be cut, they take several steps; the engine lives on. Every other pooling falls outside."""
    folder = make(tmp_path / "checkpoint")
    reference = Expected(folder, row)
    options: dict[str, Any] = {"dtype": "float32"}
    if row.splits_prompts:
        options |= {"max_num_batched_tokens": STEP, "max_num_seqs": 8}
        assert max(len(reference.ids(text)) for text in TEXTS) > 108
    texts = TEXTS if row.splits_prompts else TEXTS[:4]  # an encoder of 128 positions
    with JinaEmbedder(folder, row=row, engine_kwargs=options) as embedder:
        for _ in range(2):
            for dimensions in (None, 32):
                got = embedder.embed(texts, dimensions=dimensions)
                expected = np.stack([reference.embed(text, dimensions) for text in texts])
                assert distance(got, expected) <= GATE
                np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)
        for dimensions in (None, 32):
            got = embedder.embed(texts, dimensions=dimensions, normalize=False)
            assert relative_error(got, np.stack([reference.pooled(text)[:dimensions] for text in texts])) <= GATE
        long = texts[-1]
        for pooling in ("first_token", "last_token", "mean"):
            if pooling != row.pooling:
                assert distance(embedder.embed([long])[0], reference.embed(long, pooling=pooling)) > 100 * GATE
        for text, rows in zip(texts, embedder.embed_multi_vector(texts), strict=True):
            assert len(rows) == len(reference.ids(text))


def test_positions_in_one_line_replace_those_on_a_grid() -> None:
    """All three directions count the tokens; a class without such positions is an error, not another vector."""
    from vllm_jina_embed.plugin import pooled

    class Model:
        def get_mrope_input_positions(self, input_tokens: list[int], mm_features: list[Any]) -> Any:
            raise NotImplementedError

    model: Any = Model()
    pooled.place_in_line(model)
    positions, delta = model.get_mrope_input_positions([5, 6, 7], mm_features=[object()])
    assert (positions.tolist(), delta) == ([[0, 1, 2]] * 3, 0)
    with pytest.raises(RuntimeError, match="object has no get_mrope_input_positions to replace"):
        pooled.place_in_line(object())


def test_states_in_reverse_are_put_in_order() -> None:
    """A class that reverses none is an error: a later vLLM may do it by another name, or no more."""
    from vllm_jina_embed.plugin import pooled

    class Model:
        def _flip_sequences_by_position_ids(self, features: Any, position_ids: Any) -> Any:
            raise NotImplementedError

    model: Any = Model()
    pooled.put_in_order(model)
    assert model._flip_sequences_by_position_ids([5, 6, 7], [0, 1, 0]) == [5, 6, 7]
    with pytest.raises(RuntimeError, match="object has no _flip_sequences_by_position_ids to replace"):
        pooled.put_in_order(object())
