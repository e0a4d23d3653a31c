"""XLM-RoBERTa with rotary positions whose weights hold an adapter per task, each prompt computed with its own.

vLLM's own class merges one of the adapters into the weights, whatever is asked (0.32: the last one). Here all of them
stay beside the weights, and a prompt's ids say which one is added (``checkpoints/adapted_ids.py``): ``y = W x + b +
B_k A_k x * alpha / rank``. All products with the ``A`` are one, and a mask leaves those of the prompt's adapter, so one
step computes the prompts of many tasks. A prompt that names none gets NaN, which becomes that request's error.

Source: modeling_lora.py of jinaai/xlm-roberta-flash-implementation, LoRAParametrization: linear layers hold A
``(tasks, rank, in)`` and B ``(tasks, out, rank)``, tables of embeddings A ``(tasks, entries, rank)`` and B
``(tasks, rank, out)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from vllm.distributed import get_tensor_model_parallel_world_size
from vllm.model_executor.models.bert_with_rope import BertWithRope, JinaRobertaModel

from ..checkpoints.adapted_ids import VOCABULARY_BITS

if TYPE_CHECKING:
    from vllm.config import VllmConfig

VOCABULARY_KEY = "jina_vocabulary"
"""Key of ``hf_overrides``: the size of the vocabulary itself; vLLM checks ids against a larger one."""
PART = ".parametrizations.weight."
TABLES = ("embeddings.word_embeddings", "embeddings.token_type_embeddings")


class LowRank(torch.nn.Module):
    """What the adapters of one layer add: ``A`` and ``B`` of all of them side by side, the scale in ``B``."""

    def __init__(self, a: torch.Tensor, b: torch.Tensor) -> None:
        """Keep ``a (in, adapters * rank)`` and ``b (adapters * rank, out)``."""
        super().__init__()
        self.register_buffer("a", a, persistent=False)
        self.register_buffer("b", b, persistent=False)
        self.a: torch.Tensor
        self.b: torch.Tensor

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return what is added to the layer's output for states ``(n_tokens, in)``; ``mask`` is 1 in their adapter."""
        return ((states @ self.a) * mask) @ self.b

    def of_rows(self, rows: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the same for the rows ``(n_tokens,)`` of a table, whose input would be 1 there and 0 elsewhere."""
        return (self.a[rows] * mask) @ self.b


class StackedAdaptersXLMRobertaModel(JinaRobertaModel):
    """vLLM's class with the adapters beside its weights; without vLLM's pooler."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "", **kwargs: Any) -> None:
        config = vllm_config.model_config.hf_config
        vocabulary = getattr(config, VOCABULARY_KEY, None)
        if not isinstance(vocabulary, int) or get_tensor_model_parallel_world_size() > 1:
            raise RuntimeError(
                "this model class serves a checkpoint with stacked adapters on one device, and needs the size of its "
                f"vocabulary (got {vocabulary!r}). Use vllm_jina_embed.JinaEmbedder, without tensor_parallel_size."
            )
        told, config.vocab_size = config.vocab_size, vocabulary
        config.rotary_kwargs = _rotary(config)
        super().__init__(vllm_config=vllm_config, prefix=prefix, **kwargs)
        config.vocab_size = told
        self.do_not_compile = True  # the hooks below are not part of what vLLM compiles
        self.vocabulary, self.rank = vocabulary, int(config.lora_rank)
        self.scale = float(config.lora_alpha) / self.rank
        self.count = len(config.lora_adaptations)
        # Set by each ``forward`` before any layer's hook reads it. A worker computes one step of a model at a time, on
        # one thread, so no other step's mask comes between. It has run on the CPU alone, never in a CUDA graph.
        self.mask = torch.empty(0)

    def forward(
        self,
        input_ids: torch.Tensor | None,
        positions: torch.Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the states ``(n_tokens, hidden_size)`` of tokens whose ids name their adapters."""
        if input_ids is None:
            raise RuntimeError("this model class needs token ids: they name the adapter.")
        chosen = (input_ids >> VOCABULARY_BITS) - 1
        rows = (input_ids & ((1 << VOCABULARY_BITS) - 1)).clamp(max=self.vocabulary - 1)
        owners = torch.arange(self.count, device=rows.device).repeat_interleave(self.rank)
        words = self.embeddings.word_embeddings(rows)
        self.mask = (chosen[:, None] == owners).to(words.dtype)
        types = torch.zeros_like(rows)
        embedded = words + self.embeddings.token_type_embeddings(types)
        for name, entries in zip(TABLES, (rows, types), strict=True):
            embedded = embedded + self.get_submodule(f"{name}.adapters").of_rows(entries, self.mask)
        normed = self.embeddings.LayerNorm(embedded)
        states: torch.Tensor = BertWithRope.forward(self, None, positions, inputs_embeds=normed)
        is_known = (chosen >= 0) & (chosen < self.count)
        return torch.where(is_known[:, None], states, float("nan"))

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Load the weights as they are without an adapter, and the adapters beside them.

        Raises:
            RuntimeError: A layer has none, or not one per task.
        """
        own: list[tuple[str, torch.Tensor]] = []
        stacked: dict[tuple[str, str], torch.Tensor] = {}
        unprefixed = ((name.removeprefix("roberta."), tensor) for name, tensor in weights)
        for name, tensor in self.hf_to_vllm_mapper.apply(unprefixed):
            layer, _, part = name.partition(PART)
            if part in ("0.lora_A", "0.lora_B"):
                stacked[layer, part[-1]] = tensor
            else:
                own.append((f"{layer}.weight" if part == "original" else name, tensor))
        loaded: set[str] = BertWithRope.load_weights(self, own)
        for layer in self._layers():
            self._add(layer, stacked.get((layer, "A")), stacked.get((layer, "B")))
        return loaded

    def _layers(self) -> list[str]:
        """Return the names of all layers that have adapters."""
        parts = ("attn.qkv_proj", "attn.out_proj", "mlp.up_proj", "mlp.down_proj")
        blocks = range(len(self.encoder.layers))
        return [*TABLES, *(f"encoder.layers.{block}.{part}" for block in blocks for part in parts)]

    def _add(self, layer: str, a: torch.Tensor | None, b: torch.Tensor | None) -> None:
        """Add what the adapters ``a`` and ``b`` of all tasks give to the output of a layer."""
        shapes = [None if one is None else tuple(one.shape) for one in (a, b)]
        if a is None or b is None or {len(a), len(b)} != {self.count} or self.rank not in a.shape[1:]:
            raise RuntimeError(
                f"{layer} has adapters of shapes {shapes[0]} and {shapes[1]}; expected {self.count} of rank "
                f"{self.rank} each, as config.json says. The weights are those of another checkpoint."
            )
        like, size = self.embeddings.LayerNorm.weight, self.count * self.rank
        if layer in TABLES:
            a, b = a.permute(1, 0, 2).reshape(-1, size), b.reshape(size, -1)
        else:
            a, b = a.reshape(size, -1).T, b.permute(0, 2, 1).reshape(size, -1)
        adapters = LowRank(a.to(like).contiguous(), (b.float() * self.scale).to(like))
        module = self.get_submodule(layer)
        module.add_module("adapters", adapters)
        if layer not in TABLES:
            module.register_forward_hook(
                lambda _, args, output: (output[0] + adapters(args[0], self.mask), *output[1:])
            )


def _rotary(config: Any) -> dict[str, Any]:
    """Return what vLLM's class needs of positions; its own code asks for a class of the checkpoint's remote code."""
    head_size = config.hidden_size // config.num_attention_heads
    return {
        "head_size": head_size,
        "max_position": -(-config.max_position_embeddings // 8) * 8,  # a multiple of a GPU's warps, as vLLM has it
        "rope_parameters": {**config.rope_parameters, "partial_rotary_factor": 1.0},
    }
