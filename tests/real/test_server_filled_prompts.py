"""The prompts that a server of CLIP or SigLIP makes of requests: the builder's, token for token.

The real renderer of vLLM with our hooks, without an engine; ``test_server_dual_encoders.py`` has the vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from vllm.exceptions import VLLMValidationError

from tests.real.test_server_dual_encoders import IMAGES, LONG, TEXTS
from tests.real.test_server_prompts import assert_equal, built, expanded, message, rendered
from tests.support.rendering import server_renderer
from tests.support.vision_rows import DUAL_ENCODERS, make_vision
from vllm_jina_embed.checkpoints.files import locate
from vllm_jina_embed.checkpoints.registry import ROWS
from vllm_jina_embed.engine.plugin_contract import PROMPT_KEY
from vllm_jina_embed.engine.remote.messages import question
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.prompts.build import row_builder

pytestmark = [pytest.mark.real, pytest.mark.models]


@pytest.fixture(scope="module", params=DUAL_ENCODERS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The renderer of a server of a row, and the builder of the row's prompts."""
    folder, row = make_vision(request.param, tmp_path_factory.mktemp("dual")), ROWS[request.param]
    with server_renderer(str(folder)) as renderer:
        length = renderer.model_config.max_model_len
        builder = row_builder(row, locate(str(folder)), policy=MediaPolicy(), length=length)
        yield SimpleNamespace(row=row, renderer=renderer, builder=builder, length=length)


def string(case: SimpleNamespace, text: str, choice: Any = None, **options: Any) -> Any:
    """Return what the engine gets for a string of a request."""
    params = case.renderer.default_cmpl_tok_params.with_kwargs(**options)
    extras = {} if choice is None else {"chat_template_kwargs": {PROMPT_KEY: choice}}
    (engine_input,) = case.renderer.render_cmpl([{"prompt": text}], params, prompt_extras=extras)
    return engine_input


def wanted(case: SimpleNamespace, item: Any, **options: Any) -> Any:
    """Return what the engine in this process gets for an item."""
    pair = (item, []) if isinstance(item, str) else (None, [item])
    return expanded(case.renderer, built(case.builder, pair, "query", **{"max_length": case.length, **options}))


@pytest.mark.parametrize("role", [None, "query", "passage"])
def test_texts_get_the_prompt_of_the_embedder(case: SimpleNamespace, role: str | None) -> None:
    """As strings and as messages, whether or not a role is told: both have one prompt."""
    choice = None if role is None else {"role": role, "task": None}
    for text in TEXTS:
        right = wanted(case, text)
        assert_equal(string(case, text, choice), right)
        assert_equal(rendered(case.renderer, message((text, [])), choice), right)
        assert (len(right["prompt_token_ids"]) == case.length) == (case.row.padding is not None)


def test_images_get_it_too(case: SimpleNamespace) -> None:
    """Those of any client, and those of our own, whose prompt has no ids."""
    for image in IMAGES:
        right = wanted(case, image)
        assert_equal(rendered(case.renderer, message((None, [image]))), right)
        prompt = built(case.builder, (None, [image]), "query", max_length=case.length)
        assert prompt.token_ids == ()
        assert_equal(rendered(case.renderer, question([prompt])), right)


@pytest.mark.parametrize("text", [LONG, "." * 3000 + " fox", "fox " + "." * 3000])
def test_a_long_text_is_cut_as_the_embedder_cuts_it(case: SimpleNamespace, text: str) -> None:
    """Also one of many characters that SigLIP drops; and refused where it must not be cut."""
    for side, truncate in (("right", "end"), ("left", "start")):
        right = wanted(case, text, truncate=truncate)
        for keep in (-1, case.length):
            assert_equal(string(case, text, truncate_prompt_tokens=keep, truncation_side=side), right)
    with pytest.raises(VLLMValidationError, match="tokens"):
        string(case, text)


def test_a_shorter_prompt_is_refused_where_texts_are_filled_up(case: SimpleNamespace) -> None:
    options: dict[str, Any] = {"truncate_prompt_tokens": 10, "truncation_side": "right"}
    if case.row.padding is None:
        assert_equal(string(case, LONG, **options), wanted(case, LONG, max_length=10, truncate="end"))
        return
    for text in ("a", LONG):
        with pytest.raises(VLLMValidationError, match=r"truncate_prompt_tokens=10: .* filled up to 64 tokens"):
            string(case, text, **options)


def test_a_text_without_its_ends_is_refused(case: SimpleNamespace) -> None:
    """SigLIP's builder makes the prompt whatever a request says; CLIP's string is tokenised as it says."""
    if case.row.padding is not None:
        assert_equal(string(case, "a fox", add_special_tokens=False), wanted(case, "a fox"))
        return
    with pytest.raises(VLLMValidationError, match="add_special_tokens=false leaves out"):
        string(case, "a fox", add_special_tokens=False)
