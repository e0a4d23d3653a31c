"""The ways to the same vectors, each as a user would write it. Each runs alone in a process: see worker.py."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Items = list[Any]
IMAGE_PROMPT = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Describe the image.<|im_end|>\n"
PIXELS = {"shortest_edge": 3136, "longest_edge": 602112}


class Ours:
    """This package through its LangChain adapter (and LlamaIndex for the single callers)."""

    def __init__(self, folder: Path, dtype: str, options: dict[str, Any]) -> None:
        from vllm_jina_embed.langchain import VllmJinaEmbeddings
        from vllm_jina_embed.llama_index import VllmJinaEmbedding

        arguments = {"engine_kwargs": {"dtype": dtype, **options}}
        self.langchain = VllmJinaEmbeddings(model=str(folder), **arguments)
        self.llama_index = VllmJinaEmbedding(model_name=str(folder), **arguments)

    def embed(self, items: Items) -> Any:
        """Texts by embed_documents, images by embed_images, a mixed list by the core that both share."""
        if all(isinstance(item, str) for item in items):
            return self.langchain.embed_documents(items)
        if not any(isinstance(item, str) for item in items):
            return self.langchain.embed_images(items)
        return self.langchain._embedder.embed(items)

    def singles(self, items: Items) -> None:
        """One caller per text, all at once: threads and coroutines, LangChain and LlamaIndex, a quarter each."""
        quarter = len(items) // 4
        calls: list[Callable[[str], Any]] = [self.langchain.embed_query, self.llama_index.get_text_embedding]
        threads = [
            threading.Thread(target=call, args=(item,))
            for call, part in zip(calls, (items[:quarter], items[quarter : 2 * quarter]), strict=True)
            for item in part
        ]

        async def rest() -> None:
            langchain = [self.langchain.aembed_query(item) for item in items[2 * quarter : 3 * quarter]]
            llama_index = [self.llama_index.aget_text_embedding(item) for item in items[3 * quarter :]]
            await asyncio.gather(*langchain, *llama_index)

        for thread in threads:
            thread.start()
        asyncio.run(rest())
        for thread in threads:
            thread.join()


class Bare:
    """vLLM with the same pooler and settings, token ids in, no adapter: the limit."""

    def __init__(self, folder: Path, dtype: str, options: dict[str, Any]) -> None:
        from tokenizers import Tokenizer

        from vllm_jina_embed.engine.config import LocalConfig
        from vllm_jina_embed.engine.local.arguments import engine_arguments, environment, memory_kept

        for name, value in environment().items():
            os.environ.setdefault(name, value)
        from vllm import LLM, PoolingParams
        from vllm.platforms import current_platform

        cpu = current_platform.is_cpu()
        config = LocalConfig(
            location=str(folder), revision=None, min_pixels=3136, max_pixels=602112, max_tokens=4096,
            options={"dtype": dtype, **options},
        )  # fmt: skip
        arguments = engine_arguments(config, cpu=cpu)
        for ours in ("enable_log_requests", "scheduler_cls", "scheduling_policy"):
            del arguments[ours]  # a setting of AsyncLLM alone, and what lets questions overtake documents
        with memory_kept(cpu=cpu):
            self.llm = LLM(**arguments)
        self.params = PoolingParams(task="embed", skip_reading_prefix_cache=True)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def embed(self, items: Items) -> Any:
        """One call of LLM.encode."""
        prompts: list[Any] = []
        for item in items:
            text = f"Passage: {item}" if isinstance(item, str) else IMAGE_PROMPT
            prompt: dict[str, Any] = {"prompt_token_ids": self.tokenizer.encode(text, add_special_tokens=False).ids}
            if not isinstance(item, str):
                prompt["multi_modal_data"] = {"image": item}
            prompts.append(prompt)
        outputs = self.llm.encode(prompts, self.params, pooling_task="embed", use_tqdm=False)
        return np.stack([output.outputs.data.numpy() for output in outputs])


class InProcess(Bare):
    """Bare vLLM with the engine's core stepped in this process: the design that was not taken."""

    def __init__(self, folder: Path, dtype: str, options: dict[str, Any]) -> None:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        super().__init__(folder, dtype, {"distributed_executor_backend": "uni", **options})


class Example:
    """vLLM's own example (examples/pooling/token_embed/jina_embeddings_v4_offline.py), made to run on today's vLLM.

    As it stands: strings in, every token's state out, spans and means in Python, vLLM's default settings.
    """

    def __init__(self, folder: Path, dtype: str, options: dict[str, Any]) -> None:
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        from vllm import LLM

        self.llm = LLM(
            model=str(folder), runner="pooling", pooler_config={"task": "token_embed"}, max_model_len=1024, dtype=dtype,
            kv_cache_memory_bytes=2 * 1024**3, mm_processor_kwargs={"size": PIXELS}, **options,
        )  # fmt: skip
        config = self.llm.llm_engine.model_config.hf_config
        self.start, self.end = config.vision_start_token_id, config.vision_end_token_id

    def embed(self, items: Items) -> Any:
        """Encode, then pool as the example does."""
        import torch

        prompts: list[Any] = [
            {"prompt": f"Passage: {item}"}
            if isinstance(item, str)
            else {"prompt": IMAGE_PROMPT, "multi_modal_data": {"image": item}}
            for item in items
        ]
        embeddings = []
        for output in self.llm.encode(prompts, pooling_task="token_embed", use_tqdm=False):
            states = output.outputs.data
            if self.start in output.prompt_token_ids:
                ids = torch.tensor(output.prompt_token_ids)
                first = torch.where(ids == self.start)[0][0]
                last = torch.where(ids == self.end)[0][0]
                states = states[first : last + 1]
            pooled = states.sum(dim=0, dtype=torch.float32) / states.shape[0]
            embeddings.append(torch.nn.functional.normalize(pooled, dim=-1))
        return torch.stack(embeddings).numpy()


class Transformers:
    """transformers by hand: sorted by length, padded batches of 32 texts or 4 images, all cores or the GPU."""

    def __init__(self, folder: Path, dtype: str, options: dict[str, Any]) -> None:
        import torch
        from transformers import AutoImageProcessor, PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

        from tests.support.reference import device

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(folder / "tokenizer.json"), pad_token="<|endoftext|>"
        )
        self.images = AutoImageProcessor.from_pretrained(folder)
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype))
        self.device = torch.device(device())
        self.model = model.eval().model.to(self.device)
        self.config = model.config

    def embed(self, items: Items) -> Any:
        """Texts and images in batches of their own; order restored."""
        texts = [n for n, item in enumerate(items) if isinstance(item, str)]
        images = [n for n, item in enumerate(items) if not isinstance(item, str)]
        texts.sort(key=lambda n: len(items[n]))
        batches = [(self._texts, texts[a : a + 32]) for a in range(0, len(texts), 32)]
        batches += [(self._images, images[a : a + 4]) for a in range(0, len(images), 4)]
        rows: dict[int, Any] = {}
        for embed, numbers in batches:
            rows.update(zip(numbers, embed([items[n] for n in numbers]), strict=True))
        return np.stack([rows[n] for n in range(len(items))])

    def _texts(self, texts: list[str]) -> Any:
        import torch

        batch = self.tokenizer([f"Passage: {text}" for text in texts], return_tensors="pt", padding=True).to(
            self.device
        )
        with torch.inference_mode():
            states = self.model(
                input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
            ).last_hidden_state
            mask = batch.attention_mask.unsqueeze(-1)
            pooled = (states.float() * mask).sum(1) / mask.sum(1)
            return torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy()

    def _images(self, images: list[Image.Image]) -> Any:
        import torch

        processed = self.images(images=images, size=PIXELS, return_tensors="pt").to(self.device)
        prompts = [
            IMAGE_PROMPT.replace("<|image_pad|>", "<|image_pad|>" * (int(grid.prod()) // 4))
            for grid in processed["image_grid_thw"]
        ]
        ids = self.tokenizer(prompts, return_tensors="pt", padding=True).input_ids.to(self.device)
        with torch.inference_mode():
            states = self.model(
                input_ids=ids, pixel_values=processed["pixel_values"].to(self.model.dtype),
                image_grid_thw=processed["image_grid_thw"],
                mm_token_type_ids=(ids == self.config.image_token_id).long(), use_cache=False,
            ).last_hidden_state  # fmt: skip
            starts = (ids == self.config.vision_start_token_id).int().cumsum(1)
            ends = (ids == self.config.vision_end_token_id).int()
            mask = (starts - ends.cumsum(1) + ends > 0).unsqueeze(-1)
            pooled = (states.float() * mask).sum(1) / mask.sum(1)
            return torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy()


class SentenceTransformers:
    """sentence-transformers, where it can load the checkpoint."""

    def __init__(self, folder: Path, dtype: str, options: dict[str, Any]) -> None:
        from sentence_transformers import SentenceTransformer

        self.model = SentenceTransformer(str(folder), model_kwargs={"dtype": dtype})

    def embed(self, items: Items) -> Any:
        """One call of encode."""
        return self.model.encode([f"Passage: {item}" if isinstance(item, str) else item for item in items])


CONTESTANTS: dict[str, Any] = {
    "ours": Ours,
    "bare vLLM": Bare,
    "core in process": InProcess,
    "vLLM's example": Example,
    "transformers": Transformers,
    "sentence-transformers": SentenceTransformers,
}
