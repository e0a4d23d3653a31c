"""Items to prompts: prefixes, the image template, truncation, and texts that look like special tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from PIL import Image
from tokenizers import Tokenizer

from tests.support.builders import template_builder
from tests.support.images import encoded, noise
from tests.support.tokenizer import SPECIAL, make_tokenizer
from vllm_jina_embed.checkpoints.prompt_pieces import Slot
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.errors import ConfigError, InputError
from vllm_jina_embed.inputs import items as inputs
from vllm_jina_embed.inputs.images import MediaPolicy
from vllm_jina_embed.prompts.base import Prompt, Truncate, check_role
from vllm_jina_embed.prompts.build import load_builder
from vllm_jina_embed.prompts.pieces import PieceBuilder

TEMPLATE = "<|im_start|>user\n{}Describe the image.<|im_end|>\n"
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Read special tokens in text as such: what a template string is tokenised with."""
    return make_tokenizer()


@pytest.fixture(scope="module")
def builder() -> PieceBuilder:
    """A builder over the same vocabulary."""
    return template_builder()


def build(
    builder: PieceBuilder, items: list[Any], *, max_length: int = 100, truncate: Truncate = "end"
) -> list[Prompt | InputError]:
    """Return what a mixed list of passages becomes."""
    return builder.build(
        inputs.mixed(items), role="passage", task="retrieval", max_length=max_length, truncate=truncate
    )


def ids_of(prompt: Prompt | InputError) -> list[int]:
    """Return the token ids of a prompt."""
    assert isinstance(prompt, Prompt)
    return list(prompt.token_ids)


@pytest.mark.parametrize(
    ("task", "prompt_name", "expected"),
    [
        ("retrieval", "query", "Query: "),
        ("retrieval", "passage", "Passage: "),
        ("code", "query", "Query: "),
        ("code", "passage", "Passage: "),
        ("text-matching", "query", "Query: "),
        ("text-matching", "passage", "Query: "),
    ],
)
def test_prefixes_are_the_official_table(task: str, prompt_name: str, expected: str) -> None:
    """Text-matching knows no roles."""
    assert JINA_V4.template("text", prompt_name, task) == (expected, Slot.TEXT)


@pytest.mark.parametrize("name", ["document", "", "Query", None])
def test_an_unknown_prompt_name_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match="choose one of query, passage"):
        check_role(name)


def test_a_text_is_its_prefix_and_itself(builder: PieceBuilder, tokenizer: Tokenizer) -> None:
    """No template, no special token, nothing stripped."""
    for text in ("the quick brown fox", "  two  spaces,\n", "日本語", "e\u0301", "\x00", "\u200b"):
        (prompt,) = build(builder, [text])
        assert ids_of(prompt) == tokenizer.encode("Passage: " + text, add_special_tokens=False).ids
        assert prompt == Prompt(token_ids=tuple(ids_of(prompt)), images=(), truncated=False)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_images_are_the_tokenised_template(builder: PieceBuilder, tokenizer: Tokenizer, count: int) -> None:
    """One image token per image, whatever the number."""
    images = [noise(30, 20, seed) for seed in range(count)]
    (prompt,) = build(builder, [images if count > 1 else images[0]])
    assert ids_of(prompt) == tokenizer.encode(TEMPLATE.format(IMAGE * count), add_special_tokens=False).ids
    assert isinstance(prompt, Prompt)
    assert [image.tobytes() for image in prompt.images] == [image.tobytes() for image in images]


@pytest.mark.parametrize("token", [*SPECIAL, IMAGE, TEMPLATE.format(IMAGE), "<|image_pad|>" * 1000])
def test_special_tokens_in_a_text_stay_text(builder: PieceBuilder, token: str) -> None:
    """No id of a special token comes out, alone or inside a sentence."""
    special = {make_tokenizer().token_to_id(name) for name in SPECIAL}
    for text in (token, f"a {token} b", token + token):
        (prompt,) = build(builder, [text], max_length=100_000)
        assert special.isdisjoint(ids_of(prompt))
        assert len(ids_of(prompt)) > len(token) / 3


def test_a_tokenizer_whose_template_tokens_are_not_special_is_refused() -> None:
    """Texts could hold them: better no vector than a wrong one."""
    tokenizer = make_tokenizer()
    plain = tokenizer.to_str().replace('"special":true', '"special":false')
    with pytest.raises(ConfigError, match="finds its special tokens in a text"):
        template_builder(Tokenizer.from_str(plain))


def test_a_tokenizer_without_the_template_tokens_is_refused() -> None:
    """The error names what is missing."""
    other = make_tokenizer().to_str().replace("<|image_pad|>", "<|image|>")
    with pytest.raises(ConfigError, match=r"lacks <\|image_pad\|>"):
        template_builder(Tokenizer.from_str(other))


def test_a_tokenizer_file_that_truncates_and_pads_does_neither(tokenizer: Tokenizer) -> None:
    """tokenizer.json may carry both."""
    other = make_tokenizer()
    other.enable_truncation(4)
    other.enable_padding(length=64)
    prompts = build(template_builder(other), ["the quick brown fox", "fox"])
    expected = [tokenizer.encode(f"Passage: {text}").ids for text in ("the quick brown fox", "fox")]
    assert [ids_of(prompt) for prompt in prompts] == expected


class TestTruncation:
    """A text over max_length, prefix included."""

    TEXT = "the quick brown fox " * 10

    @pytest.fixture
    def ids(self, tokenizer: Tokenizer) -> list[int]:
        """Tokens of the whole text with its prefix."""
        found: list[int] = tokenizer.encode("Passage: " + self.TEXT).ids
        return found

    def test_at_the_limit_nothing_is_cut(self, builder: PieceBuilder, ids: list[int]) -> None:
        """Exactly max_length tokens pass in every mode."""
        for truncate in get_args(Truncate):
            (prompt,) = build(builder, [self.TEXT], max_length=len(ids), truncate=truncate)
            assert (ids_of(prompt), prompt) == (ids, Prompt(token_ids=tuple(ids)))

    def test_end_keeps_the_beginning(self, builder: PieceBuilder, ids: list[int]) -> None:
        """The first max_length tokens, prefix among them."""
        for length in (4, 12, len(ids) - 1):
            (prompt,) = build(builder, [self.TEXT], max_length=length, truncate="end")
            assert prompt == Prompt(token_ids=tuple(ids[:length]), truncated=True)

    def test_start_keeps_the_prefix_and_the_end(
        self, builder: PieceBuilder, tokenizer: Tokenizer, ids: list[int]
    ) -> None:
        """Never the prefix is cut: without it the vector is another role's."""
        head = tokenizer.encode("Passage:").ids
        assert ids[: len(head)] == head
        for length in (4, 12, len(ids) - 1):
            (prompt,) = build(builder, [self.TEXT], max_length=length, truncate="start")
            assert prompt == Prompt(token_ids=(*head, *ids[len(head) - length :]), truncated=True)

    @pytest.mark.parametrize(
        "text", ["日本語" * 30, "e\u0301a\u0308" * 30, "🙂" * 30, "\n" * 40 + "x", "     " * 30 + "x"]
    )
    def test_start_finds_the_prefix_in_any_script(self, builder: PieceBuilder, tokenizer: Tokenizer, text: str) -> None:
        """Tokens count in bytes, offsets in characters, and normalisation shifts both."""
        head, ids = tokenizer.encode("Passage:").ids, tokenizer.encode("Passage: " + text).ids
        (prompt,) = build(builder, [text], max_length=len(head) + 2, truncate="start")
        assert ids_of(prompt) == [*head, *ids[-2:]]

    def test_error_names_the_position_and_both_numbers(self, builder: PieceBuilder, ids: list[int]) -> None:
        """Its neighbours are built all the same."""
        prompts = build(builder, ["fox", self.TEXT, "the"], max_length=12, truncate="error")
        assert isinstance(prompts[0], Prompt)
        assert isinstance(prompts[2], Prompt)
        assert isinstance(prompts[1], InputError)
        assert prompts[1].positions == (1,)
        assert f"items[1]: got {len(ids)} tokens; max_length is 12" in str(prompts[1])

    def test_no_room_after_the_prefix_is_a_setting_error(self, builder: PieceBuilder, tokenizer: Tokenizer) -> None:
        """Else every text would get the prefix's vector."""
        head = len(tokenizer.encode("Passage:").ids)
        for truncate in get_args(Truncate):
            for length in (1, head):
                with pytest.raises(ConfigError, match=f"max_length={length} leaves no room"):
                    build(builder, [self.TEXT], max_length=length, truncate=truncate)
        assert len(ids_of(build(builder, [self.TEXT], max_length=head + 1)[0])) == head + 1

    def test_images_are_never_truncated(self, builder: PieceBuilder) -> None:
        """max_length is the text's."""
        (prompt,) = build(builder, [noise(20, 20)], max_length=4, truncate="error")
        assert isinstance(prompt, Prompt)


def test_a_bad_image_is_an_error_in_its_place(builder: PieceBuilder) -> None:
    """The others are built; the position and, within an item, the image are named."""
    good = encoded(noise(20, 20))
    prompts = build(builder, ["fox", b"bad", good, [good, b"bad"], (Image.new("RGB", (300, 1)), good)])
    kinds = [type(prompt) for prompt in prompts]
    assert kinds == [Prompt, InputError, Prompt, InputError, InputError]
    errors = [prompt for prompt in prompts if isinstance(prompt, InputError)]
    assert [error.positions for error in errors] == [(1,), (3,), (4,)]
    assert [str(error).split(":")[0] for error in errors] == ["items[1]", "items[3][1]", "items[4][0]"]


def test_the_order_of_a_mixed_list_is_kept(builder: PieceBuilder, tokenizer: Tokenizer) -> None:
    """Texts are tokenised together, yet each prompt stands where its item stood."""
    items: list[Any] = ["the", noise(20, 20, 1), "fox", "quick", noise(20, 20, 2)]
    prompts = build(builder, items)
    for item, prompt in zip(items, prompts, strict=True):
        assert isinstance(prompt, Prompt)
        if isinstance(item, str):
            assert ids_of(prompt) == tokenizer.encode(f"Passage: {item}").ids
        else:
            assert prompt.images[0].tobytes() == item.tobytes()


def test_a_builder_is_read_from_a_folder(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Its ids are the folder's own, never constants."""
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = load_builder(replace(resolve("demo"), location=str(tmp_path)), revision=None, policy=MediaPolicy())
    (prompt,) = build(loaded, [noise(20, 20)])
    names = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>")
    assert {tokenizer.token_to_id(name) for name in names} <= set(ids_of(prompt))
    assert ids_of(build(loaded, ["fox"])[0]) == tokenizer.encode("Passage: fox").ids


@pytest.mark.parametrize("content", [None, "", "{}", "not json"])
def test_a_folder_without_a_usable_tokenizer_is_refused(tmp_path: Path, content: str | None) -> None:
    """The error names the file."""
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ConfigError, match=r"(tokenizer\.json cannot be read|has no tokenizer\.json)"):
        load_builder(replace(resolve("demo"), location=str(tmp_path)), revision=None, policy=MediaPolicy())


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "text", ["a" * 1_000_000, " " * 1_000_000 + "a", "\n" * 1_000_000 + "a", "é" * 500_000, "'" * 1_000_000]
)
def test_a_megabyte_of_one_letter_is_tokenised_in_time(builder: PieceBuilder, text: str) -> None:
    """Then cut like any other text."""
    (prompt,) = build(builder, [text], max_length=50)
    assert isinstance(prompt, Prompt)
    assert prompt.truncated
