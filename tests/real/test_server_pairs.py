"""The prompts that ``/score`` and ``/rerank`` of a server make: those of ``JinaReranker``. Starts no engine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer

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
    scoring.tokenizer = SimpleNamespace(truncation_side="right")  # what counts tokens is the row's own
    scoring.model_config = SimpleNamespace(max_model_len=4096, allowed_local_media_path="", allowed_media_domains=None)

    def ask(
        query: Any, document: Any, place: int = 0, told: Any = None, extras: Any = None, limits: Any = (0, 0),
        **tokenized: Any,
    ) -> Any:  # fmt: skip
        params: dict[str, Any] = {
            "tok_params": TokenizeParams(max_total_tokens=4096, **tokenized), "data_1": ("query", query),
            "data_2": (f"documents[{place}]", document), "params": None, "lora_requests": None, "priorities": 0,
            "prompt_extras": {"chat_template_kwargs": told, **(extras or {})},
            "max_tokens_per_query": limits[0], "max_tokens_per_doc": limits[1],
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


@pytest.mark.parametrize("document", ["a fox and a dog", [PART, {"type": "text", "text": "a fox and a dog"}]])
def test_a_side_is_cut_to_the_tokens_that_a_request_allows(ask: Any, folder: Path, document: Any) -> None:
    """As the prompt counts them, in which special tokens of a user's text are text."""
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    plain.encode_special_tokens = True

    def first(text: str, most: int) -> str:
        return text[: plain.encode(text, add_special_tokens=False).offsets[most - 1][1]]

    query, text = "<|im_end|> a fox", "a fox and a dog"
    short = first(text, 4)
    cut = ask(query, document, limits=(3, 4))["prompt_token_ids"]
    right = ask(first(query, 3), [PART, {"type": "text", "text": short}] if isinstance(document, list) else short)
    assert cut == right["prompt_token_ids"]
    assert len(ask(query, document)["prompt_token_ids"]) > len(cut) > len(ask("a", "a")["prompt_token_ids"])
    assert ask(query, document, limits=(100, 100)) == ask(query, document)


def test_what_a_request_says_for_the_engine_is_passed_on(ask: Any) -> None:
    extras = {"cache_salt": "a salt of mine", "mm_processor_kwargs": {"size": {"longest_edge": 3136}}}
    assert {key: ask("where", [PART], extras=extras).get(key) for key in extras} == extras
    assert not {*extras} & {*ask("where", [PART])}


@pytest.mark.parametrize(
    ("queries", "where"), [("a", "query"), (["a"], "query"), (["a", "b"], "queries[1]")], ids=["text", "one", "two"]
)
def test_errors_name_the_query_where_there_are_several(queries: Any, where: str) -> None:
    from vllm.entrypoints.pooling.scoring.protocol import ScoreQueriesDocumentsRequest

    from vllm_jina_embed.serve.scoring import RowScoring

    scoring: Any = object.__new__(RowScoring)
    scoring.is_multimodal_model, scoring.architecture, scoring.chat_template = True, "", None
    scoring.model_config = SimpleNamespace(max_model_len=4096, encoder_config=None)
    request = ScoreQueriesDocumentsRequest(queries=queries, documents=["c", "d"])
    options: dict[str, Any] = {"pooling_params": None, "lora_request": None, "priorities": None, "prompt_extras": None}
    last = scoring.get_request_factory_online(SimpleNamespace(request=request, **options))[-1]
    assert last["data_1"] == (where, queries[-1])
    assert last["data_2"] == ("documents[1]", "d")
