"""Servers of one reranker on a wire in memory."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from tests.support.fake_engine import logit_of
from vllm_jina_embed.checkpoints.resolve_ranker import resolve_ranker
from vllm_jina_embed.engine.remote.ranking_facts import RankingFacts
from vllm_jina_embed.prompts.base import Prompt


class RankingServers:
    """Every host of a wire serves one reranker; ``transport`` carries to them.

    Attributes:
        facts: What they tell, over the right facts; by host where a key is one.
        plain: Hosts that tell nothing, as vLLM's own do.
        numbers: How many numbers they give for a pair.
        decoder: What decides the pixels of image files there.
        requests: How many requests each host got, by path.
        bodies: The decoded bodies of all POST requests.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: dict[str, dict[str, Any]] = {}
        self.plain: set[str] = set()
        self.fingerprints: dict[str, str] = {}
        self.numbers = 1
        self.decoder = "another"
        self.requests: Counter[tuple[str, str]] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.transport = httpx.MockTransport(self._handle)

    def told(self, host: str) -> dict[str, Any]:
        facts = RankingFacts(
            checkpoint=resolve_ranker(str(self.folder)), revision=None, files="0123", dtype="float32",
            pooler_task="classify", max_tokens=4096, priority=True, version="0",
            decoder=self.decoder,
        ).to_json()  # fmt: skip
        facts["checkpoint"] |= {"name": "tiny", "location": "tiny"}
        for name, value in self.facts.get(host, {}).items():
            (facts["checkpoint"] if name in facts["checkpoint"] else facts)[name] = value
        return facts

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.01)
        host, path = request.url.host, request.url.path
        self.requests[host, path] += 1
        if path == "/jina/checkpoint" and host not in self.plain:
            return httpx.Response(200, json=self.told(host))
        if path == "/jina/tokenizer.json" and host not in self.plain:
            return httpx.Response(200, content=(self.folder / "tokenizer.json").read_bytes())
        if path != "/pooling" or host in self.plain:
            return httpx.Response(404, json={"detail": "Not Found"})
        body = json.loads(request.content)
        self.bodies.append(body)
        logits = [[logit_of(prompt)] * self.numbers for prompt in prompts_of(body)]
        data = [
            {"index": index, "data": base64.b64encode(np.array(one, dtype="<f4").tobytes()).decode()}
            for index, one in enumerate(logits)
        ]
        return httpx.Response(200, json={"data": data[::-1]})


def prompts_of(body: dict[str, Any]) -> list[Prompt]:
    """Return the prompts of a request: several texts, or one with images."""
    assert (body["task"], body["use_activation"], body["embed_dtype"]) == ("classify", False, "float32")
    if "input" in body:
        return [Prompt(token_ids=tuple(ids)) for ids in body["input"]]
    images = []
    for part in body["messages"][0]["content"]:
        data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
        images.append(Image.open(BytesIO(data)).convert("RGB"))
    return [Prompt(token_ids=tuple(body["chat_template_kwargs"]["jina_prompt"]["token_ids"]), images=tuple(images))]
