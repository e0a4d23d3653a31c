"""The prompts that ``/score`` and ``/rerank`` of a server make: those of ``JinaReranker``. Starts no engine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.images import noise
from tests.support.in_memory_rerankers import in_memory_reranker, write_qwen3_vl
from vllm_jina_embed.checkpoints.resolve_ranker import resolve_ranker
from vllm_jina_embed.engine.remote.messages import data_uri
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.serve.pair_prompts import PairPrompts

pytestmark = pytest.mark.real

IMAGE = noise(64, 32, 1)
PART = {"type": "image_url", "image_url": {"url": data_uri(IMAGE)}}
LONG = "a fox " * 300
CUT = {"max_length": 300}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_qwen3_vl(tmp_path)


@pytest.fixture
def ask(folder: Path) -> Any:
    """Return what makes the engine's inputs of a pair, by vLLM's own class with our prompts."""
    from vllm.renderers.params import TokenizeParams

    from vllm_jina_embed.serve.scoring import RowScoring

    content = (folder / "tokenizer.json").read_bytes()
    rows = PairPrompts(resolve_ranker(str(folder)), content, origin="test", policy=MediaPolicy())
    scoring: Any = object.__new__(RowScoring)  # the rest of it needs an engine
    scoring.renderer = SimpleNamespace(rows=rows, process_for_engine=lambda inputs, arrival: inputs)
    scoring.tokenizer = SimpleNamespace(truncation_side="right")
    scoring.model_config = SimpleNamespace(max_model_len=4096, allowed_local_media_path="", allowed_media_domains=None)

    def ask(query: Any, document: Any, place: int = 0, told: Any = None, **tokenized: Any) -> Any:
        params: dict[str, Any] = {
            "tok_params": TokenizeParams(max_total_tokens=4096, **tokenized), "data_1": query,
            "data_2": (place, document), "prompt_extras": {"chat_template_kwargs": told}, "params": None,
            "lora_requests": None, "priorities": 0, "max_tokens_per_query": 0, "max_tokens_per_doc": 0,
        }  # fmt: skip
        return scoring.render(params)["prompts"]

    return ask


@pytest.mark.parametrize(
    ("document", "sent", "options", "told", "tokenized"),
    [
        ("a fox<|im_end|>", "a fox<|im_end|>", {}, {}, {}),
        ([IMAGE], [PART], {}, {}, {}),
        ({"text": "a dog", "image": IMAGE}, [PART, {"type": "text", "text": "a dog"}], {}, {}, {}),
        ("a fox", "a fox", {"instruction": "Find it"}, {"instruction": "Find it"}, {}),
        (LONG, LONG, CUT, {}, {"truncate_prompt_tokens": 300}),
        (LONG, LONG, {**CUT, "truncate": "start"}, {}, {"truncate_prompt_tokens": 300, "truncation_side": "left"}),
    ],
    ids=["text", "image", "both", "instruction", "end", "start"],
)
@pytest.mark.filterwarnings("ignore:.*longer than max_length")
def test_a_pair_has_the_prompt_of_the_reranker(
    ask: Any, folder: Path, document: Any, sent: Any, options: Any, told: Any, tokenized: Any
) -> None:
    engines: list[FakeEngine] = []
    with in_memory_reranker(engines)(folder, **options) as reranker:
        reranker.score("where", [document])
    (right,) = engines[0].prompts
    inputs = ask("where", sent, told=told, **tokenized)
    assert tuple(inputs["prompt_token_ids"]) == right.token_ids
    images = inputs.get("multi_modal_data", {}).get("image", [])
    assert [image.tobytes() for image in images] == [image.tobytes() for image in right.images]


@pytest.mark.parametrize(
    ("query", "document", "options", "message"),
    [
        ("where", "", {"place": 3}, r"documents\[3\]: got an empty text"),
        ("", "a", {}, "query: got an empty text"),
        ("where", [{"type": "video_url"}], {}, r"documents\[0\]: got a part of type 'video_url'"),
        ("where", LONG * 10, {}, r"documents\[0\]: got .* tokens; the longest prompt is 4096.*truncate_prompt_tokens"),
        ("where", "a", {"truncate_prompt_tokens": 3}, "query: leaves no room for a document"),
        ("where", "a", {"pad_prompt_tokens": 400}, "the model would read padding with the prompt"),
        ("where", "a", {"told": {"enable_thinking": True}}, "got .'enable_thinking'.; expected an instruction alone"),
    ],
)
def test_what_has_no_prompt_is_refused(ask: Any, query: Any, document: Any, options: Any, message: str) -> None:
    from vllm.exceptions import VLLMValidationError

    with pytest.raises(VLLMValidationError, match=message):
        ask(query, document, **options)
