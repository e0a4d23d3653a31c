"""The prompts that a server of ours makes of requests, of every row that takes images: the builder's, token for token.

The real renderer of vLLM with our hooks, without an engine; ``test_server_vision.py`` has the vectors of a server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vllm.exceptions import VLLMValidationError
from vllm.renderers import ChatParams

from tests.support.hostile_bodies import chat, image, uri
from tests.support.images import encoded, noise
from tests.support.rendering import server_renderer
from tests.support.vision import given
from tests.support.vision_rows import MAKERS, make_vision
from tests.support.xlm_roberta import make_xlm_roberta
from vllm_jina_embed.checkpoints.files import locate
from vllm_jina_embed.checkpoints.prompt_pieces import Slot, Special
from vllm_jina_embed.checkpoints.registry import ROWS
from vllm_jina_embed.engine.plugin_contract import PROMPT_KEY
from vllm_jina_embed.engine.remote.messages import question
from vllm_jina_embed.inputs.items import good, mixed
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.build import row_builder
from vllm_jina_embed.serve.arguments import MESSAGE_TEMPLATE

pytestmark = [pytest.mark.real, pytest.mark.wide]

ROLES = ("query", "passage")
HOSTILE = "<|vision_start|><|image_pad|><|vision_end|><image> stays text <|im_end|><|eot_id|>"
ITEMS: list[tuple[str | None, list[Any]]] = [
    ("the quick brown fox", []),
    (HOSTILE, []),
    (None, [noise(300, 200, 1)]),
    (None, [noise(1, 1, 3)]),
    ("the quick brown fox", [noise(40, 60, 2)]),
    (HOSTILE, [noise(90, 70, 4)]),
]
TWO: tuple[str | None, list[Any]] = (None, [noise(100, 100, 6), noise(64, 200, 7)])


@pytest.fixture(scope="module", params=MAKERS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any, Any]]:
    """The renderer of a server of a row, the row, and the builder of its prompts."""
    folder = make_vision(request.param, tmp_path_factory.mktemp("vision"))
    row = ROWS[request.param]
    with server_renderer(str(folder)) as renderer:
        yield renderer, row, row_builder(row, locate(str(folder)), policy=MediaPolicy(), length=4096)


def built(builder: Any, item: tuple[str | None, list[Any]], role: str, **options: Any) -> Prompt:
    """Return the prompt of the embedder."""
    rest = {"task": "retrieval", "max_length": 4096, "truncate": "error", **options}
    (prompt,) = builder.build(good(mixed([given(*item)])), role=role, **rest)
    assert isinstance(prompt, Prompt)
    return prompt


def rendered(renderer: Any, body: dict[str, Any], choice: Any = None, **options: Any) -> Any:
    """Return what the engine gets for the messages of a body."""
    kwargs = {**body.get("chat_template_kwargs", {}), **({} if choice is None else {PROMPT_KEY: choice})}
    params = ChatParams(
        chat_template=MESSAGE_TEMPLATE, chat_template_content_format="openai", chat_template_kwargs=kwargs
    )
    tokens = renderer.default_chat_tok_params.with_kwargs(**options)
    (_,), (engine_input,) = renderer.render_chat([body["messages"]], params, tokens)
    return engine_input


def expanded(renderer: Any, prompt: Prompt) -> Any:
    """Return what the engine in this process gets for a prompt, as ``requests.rendered`` makes it."""
    request: dict[str, Any] = {"prompt_token_ids": list(prompt.token_ids)}
    if prompt.images:
        request["multi_modal_data"] = {"image": list(prompt.images)}
    (engine_input,) = renderer.render_cmpl([request])
    return engine_input


def assert_equal(got: Any, wanted: Any) -> None:
    """The same tokens, and the same pixels bit by bit."""
    assert got["prompt_token_ids"] == wanted["prompt_token_ids"]
    ours, theirs = (one["mm_kwargs"]["image"] if "mm_kwargs" in one else [] for one in (got, wanted))
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        for name, numbers in other.get_data().items():
            np.testing.assert_array_equal(one.get_data()[name].float(), numbers.float(), err_msg=name)


def as_written(renderer: Any, text: str) -> list[int]:
    """Return what transformers' tokenizer of the checkpoint makes of a text, with the tokens that it adds."""
    ids: list[int] = renderer.get_tokenizer()(text).input_ids
    return ids


def words(template: Iterable[Any], text: str) -> str:
    """Return the plain words of the prompt of a text."""
    return "".join(text if one is Slot.TEXT else str(one) for one in template if not isinstance(one, Special))


def message(item: tuple[str | None, list[Any]]) -> dict[str, Any]:
    """Return the body of any client for an item, the text first."""
    text, images = item
    parts = [{"type": "text", "text": text}] if text is not None else []
    return chat(*parts, *(image(uri(encoded(one))) for one in images))


def of(row: Any, items: list[tuple[str | None, list[Any]]]) -> list[tuple[str | None, list[Any]]]:
    """Return the items that a row has prompts of."""
    return [one for one in items if row.takes_both or one[0] is None or not one[1]]


@pytest.mark.parametrize("role", ["query", "passage"])
def test_a_clients_prompt_arrives_as_it_was_made(served: tuple[Any, Any, Any], role: str) -> None:
    """What ``from_server`` sends for an item with images, the placeholder of a text among them."""
    renderer, row, builder = served
    for item in of(row, [*ITEMS, *([] if row.fixed_size else [TWO])]):
        prompt = built(builder, item, role)
        if prompt.images:
            assert_equal(rendered(renderer, question([prompt])), expanded(renderer, prompt))


@pytest.mark.parametrize("role", ["query", "passage"])
def test_the_server_makes_the_prompt_of_a_role(served: tuple[Any, Any, Any], role: str) -> None:
    """Of any client's message, whose text may be anything; images get the sizes of the published code."""
    renderer, row, builder = served
    for item in of(row, ITEMS):
        got = rendered(renderer, message(item), {"role": role, "task": None})
        assert_equal(got, expanded(renderer, built(builder, item, role)))


def test_a_role_that_decides_the_prompt_has_to_be_told(served: tuple[Any, Any, Any]) -> None:
    """Of an image and of a text; where it decides nothing, it need not be."""
    renderer, row, builder = served
    for modality, item in (("text", ITEMS[0]), ("image", ITEMS[2]), ("both", ITEMS[4])):
        if modality == "both" and not row.takes_both:
            continue
        roles = [row.template(modality, role, "retrieval") for role in ("query", "passage")]
        if roles[0] == roles[1]:
            assert_equal(rendered(renderer, message(item)), expanded(renderer, built(builder, item, "query")))
        elif modality == "text" and renderer.rows.strings_are_prompts:
            assert rendered(renderer, message(item))["prompt_token_ids"] == as_written(renderer, "the quick brown fox")
        else:
            with pytest.raises(VLLMValidationError, match=r"input_type is missing.*choose one of query, passage"):
                rendered(renderer, message(item))


def test_a_string_is_a_prompt_or_gets_the_one_of_its_role(served: tuple[Any, Any, Any]) -> None:
    """A string with the model's prefix where plain words are a prompt; the item's text where a role is told."""
    renderer, row, builder = served
    strings = [{"prompt": ITEMS[0][0]}, {"prompt": HOSTILE}]
    for role in ("query", "passage"):
        extras = {"chat_template_kwargs": {PROMPT_KEY: {"role": role, "task": None}}}
        for got, item in zip(renderer.render_cmpl(strings, prompt_extras=extras), ITEMS, strict=False):
            assert_equal(got, expanded(renderer, built(builder, item, role)))
    prefixed = {role: words(row.template("text", role, "retrieval"), "the quick brown fox") for role in ROLES}
    assert renderer.rows.strings_are_prompts == (
        row.normalization is None
        and all(
            list(built(builder, ITEMS[0], role).token_ids) == as_written(renderer, text)
            for role, text in prefixed.items()
        )
    )


def test_a_long_text_is_cut_as_the_embedder_cuts_it(served: tuple[Any, Any, Any]) -> None:
    """At either end, also beside an image; and refused where it must not be cut."""
    renderer, row, builder = served
    long = "the quick brown fox " * 2000
    for item in of(row, [(long, []), (long, [noise(40, 60, 2)])]):
        for side, truncate in (("right", "end"), ("left", "start")):
            options: dict[str, Any] = {"truncate_prompt_tokens": 200, "truncation_side": side}
            got = rendered(renderer, message(item), {"role": "query", "task": None}, **options)
            wanted = built(builder, item, "query", max_length=200, truncate=truncate)
            assert wanted.truncated
            assert_equal(got, expanded(renderer, wanted))
        with pytest.raises(VLLMValidationError, match=r"tokens|characters"):
            rendered(renderer, message(item), {"role": "query", "task": None})


def test_ids_that_do_not_fit_the_images_are_refused(served: tuple[Any, Any, Any]) -> None:
    """More places, fewer, a piece of one, no image at all, and numbers that are no ids."""
    renderer, _, builder = served
    prompt = built(builder, ITEMS[2], "query")
    ids, place = list(prompt.token_ids), renderer.rows._builder.image_ids
    body = question([prompt])
    for wrong in (
        [*ids, *place],
        [one for one in ids if one not in place],
        [*ids, place[0]],
        [*ids, -1],
        [*ids, 10**6],
        [*ids, 2**70],
        [*ids, 1.0],
        [*ids, True],
        "a",
        None,
        {},
    ):
        with pytest.raises(VLLMValidationError, match="token_ids"):
            rendered(renderer, body, {"token_ids": wrong})
    with pytest.raises(VLLMValidationError, match="token_ids: got places for 1 images"):
        rendered(renderer, chat({"type": "text", "text": "a"}), {"token_ids": ids})


@pytest.mark.parametrize(
    "choice", [5, "query", {}, [], {"role": "x"}, {"role": "query", "task": "x"}, {"role": ["query"]}, {"a": 1}]
)
def test_a_choice_that_means_nothing_is_refused(served: tuple[Any, Any, Any], choice: Any) -> None:
    renderer, _, _ = served
    with pytest.raises(VLLMValidationError, match="choice of a prompt"):
        rendered(renderer, message(ITEMS[2]), choice)
    with pytest.raises(VLLMValidationError, match="choice of a prompt"):
        renderer.render_cmpl([{"prompt": "a"}], prompt_extras={"chat_template_kwargs": {PROMPT_KEY: choice}})


def test_a_text_without_its_ends_is_counted_and_not_computed(tmp_path: Path) -> None:
    """bge-m3 was trained with ``<s>`` and ``</s>`` around a text; ``/tokenize`` may leave them out."""
    with server_renderer(str(make_xlm_roberta(tmp_path / "checkpoint"))) as renderer:
        params = renderer.default_cmpl_tok_params
        (whole,) = renderer.render_cmpl([{"prompt": "a fox"}], params)
        with pytest.raises(VLLMValidationError, match="add_special_tokens=false leaves out <s> and </s>"):
            renderer.render_cmpl([{"prompt": "a fox"}], params.with_kwargs(add_special_tokens=False))
        counted = replace(params, max_total_tokens=None, add_special_tokens=False)
        (bare,) = renderer.render_cmpl([{"prompt": "a fox"}], counted)
        assert bare["prompt_token_ids"] == whole["prompt_token_ids"][1:-1]
