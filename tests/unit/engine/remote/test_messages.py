"""Bodies and answers, apart from any server: image tokens, templates, what a status means."""

from __future__ import annotations

import base64
import time
from dataclasses import replace
from email.utils import formatdate
from io import BytesIO

import jinja2
import numpy as np
import pytest
from PIL import Image

from tests.support.builders import template_builder
from tests.support.images import noise
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.checkpoints.prompt_pieces import Slot
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.engine.remote.http import message, retry_after
from vllm_jina_embed.engine.remote.messages import data_uri, expanded, image_tokens
from vllm_jina_embed.inputs.items import images
from vllm_jina_embed.prompts.chat_template import chat_template


def render(*messages: dict[str, object], row: Model = JINA_V4) -> str:
    """Render the chat template as transformers does: both block options on."""

    def refuse(reason: str) -> None:
        raise jinja2.TemplateError(reason)

    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    return environment.from_string(chat_template(row)).render(messages=messages, add_generation_prompt=True)


def user(*parts: str) -> dict[str, object]:
    content = [{"type": "image"} if part == "IMAGE" else {"type": "text", "text": part} for part in parts]
    return {"role": "user", "content": content}


IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        (["IMAGE", "Describe the image."], f"<|im_start|>user\n{IMAGE}Describe the image.<|im_end|>\n"),
        (["IMAGE"], f"<|im_start|>user\n{IMAGE}Describe the image.<|im_end|>\n"),
        (["IMAGE", "IMAGE"], f"<|im_start|>user\n{IMAGE}{IMAGE}Describe the image.<|im_end|>\n"),
        (["Query: a\n tree "], "Query: a\n tree "),
        (["a", "b"], "ab"),
    ],
)
def test_the_template_gives_the_trained_prompt(parts: list[str], wanted: str) -> None:
    """The reference's prompt of an image, its newlines too; a text is itself."""
    assert render(user(*parts)) == wanted
    assert "\n" not in chat_template()


@pytest.mark.parametrize(
    ("pieces", "instruction", "wanted"),
    [
        (("See ", Slot.IMAGES), "", f"See {IMAGE}"),
        ((Slot.IMAGES, "What is ", "it?"), "What is it?", f"{IMAGE}What is it?"),
    ],
)
def test_what_stands_behind_the_images_is_the_instruction(
    pieces: tuple[str | Slot, ...], instruction: str, wanted: str
) -> None:
    """All of its texts, or none."""
    row = replace(JINA_V4, templates=JINA_V4.templates | {("any", "image"): pieces})
    assert render(user("IMAGE"), row=row) == render(user("IMAGE", instruction), row=row) == wanted
    with pytest.raises(jinja2.TemplateError, match="beside images only"):
        render(user("IMAGE", "What is "), row=row)


def test_the_template_gives_the_builders_tokens() -> None:
    """The same ids as the engine in this process gets."""
    tokenizer = make_tokenizer()
    rendered = tokenizer.encode(render(user("IMAGE", "IMAGE")), add_special_tokens=False).ids
    builder = template_builder()
    (prompt,) = builder.build(
        images([[noise(9, 9), noise(9, 9)]]), role="passage", task="retrieval", max_length=9, truncate="end"
    )
    assert list(prompt.token_ids) == rendered


@pytest.mark.parametrize(
    "messages",
    [
        [user("IMAGE", "What is this?")],
        [user("a"), user("b")],
        [{"role": "system", "content": [{"type": "text", "text": "You are helpful."}]}],
        [],
    ],
)
def test_the_template_refuses_prompts_that_were_not_trained(messages: list[dict[str, object]]) -> None:
    with pytest.raises(jinja2.TemplateError):
        render(*messages)


# From transformers' smart_resize: height, width, tokens.
SIZES = [
    (28, 28, 4),
    (1, 1, 4),
    (56, 56, 4),
    (84, 56, 6),
    (448, 448, 256),
    (10, 2000, 29),
    (2000, 10, 29),
    (777, 776, 729),
]


@pytest.mark.parametrize(("height", "width", "tokens"), SIZES)
def test_the_tokens_of_an_image(height: int, width: int, tokens: int) -> None:
    assert image_tokens(width, height, min_pixels=3136, max_pixels=602112, side=28) == tokens


@pytest.mark.parametrize("size", [(1000, 700), (1600, 1200), (3000, 40), (777, 776), (9999, 9999)])
def test_large_images_stay_within_the_bounds(size: tuple[int, int]) -> None:
    """At most 768 tokens, at least most of them, whatever their shape."""
    assert 700 <= image_tokens(*size, min_pixels=3136, max_pixels=602112, side=28) <= 768 or size == (3000, 40)


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (300, 200), (1800, 1600), (90, 900), (4000, 3000)])
def test_tokens_of_larger_squares_are_those_of_the_processor(size: tuple[int, int]) -> None:
    """Qwen3-VL's stand for 32 by 32 pixels."""
    processing = pytest.importorskip("transformers.models.qwen2_vl.image_processing_qwen2_vl")
    bounds = {"min_pixels": 64 * 32**2, "max_pixels": 1280 * 32**2}
    height, width = processing.smart_resize(size[1], size[0], factor=32, **bounds)
    assert image_tokens(*size, side=32, **bounds) == height * width // 32**2


def test_a_text_is_not_expanded() -> None:
    builder = template_builder()
    (prompt,) = builder.build(images([noise(56, 84)]), role="passage", task="retrieval", max_length=9, truncate="end")
    ids = expanded(prompt, min_pixels=3136, max_pixels=602112, side=28)
    assert len(ids) == len(prompt.token_ids) + 5
    assert sorted(set(ids)) == sorted(set(prompt.token_ids))


def test_a_data_uri_holds_the_same_pixels() -> None:
    image = noise(33, 44)
    data = base64.b64decode(data_uri(image).removeprefix("data:image/png;base64,"))
    with Image.open(BytesIO(data)) as read:
        np.testing.assert_array_equal(np.asarray(read), np.asarray(image))


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        (None, 0, 0),
        ("3", 3, 3),
        ("0.5", 0.5, 0.5),
        ("-1", 0, 0),
        ("soon", 0, 0),
    ],
)
def test_retry_after(value: str | None, least: float, most: float) -> None:
    """Seconds; nonsense asks for nothing."""
    assert least <= retry_after(value) <= most


def test_retry_after_a_date() -> None:
    """From now on; one that is past asks for nothing."""
    assert 900 <= retry_after(formatdate(time.time() + 1000, usegmt=True)) <= 1000
    assert retry_after(formatdate(time.time() - 1000, usegmt=True)) == 0


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"error": {"message": "too  long\\n"}}', "too long"),
        (b'{"error": "Unauthorized"}', "Unauthorized"),
        (b'{"detail": "Not Found"}', "{'detail': 'Not Found'}"),
        (b"<html>bad gateway</html>", "<html>bad gateway</html>"),
        (b"[1]", "[1]"),
        (b"", "no reason given"),
    ],
)
def test_what_a_server_says(body: bytes, wanted: str) -> None:
    assert message(body) == wanted
