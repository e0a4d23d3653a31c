"""The prompts that a server makes of requests: the builder's of the row, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tokenizers import Tokenizer, processors

from tests.support.images import noise
from tests.support.tokenizer import SPECIAL, make_tokenizer
from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.checkpoints.prompt_pieces import Slot, Special
from vllm_jina_embed.checkpoints.registry import ROWS
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.errors import ConfigError, InputError
from vllm_jina_embed.inputs.items import good, mixed
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.prompts.chunks import ChunkBuilder
from vllm_jina_embed.serve.row_prompts import WORD, Choice, RowPrompts

END = Special("<|endoftext|>")
BOTH: dict[Any, Any] = {("any", "both"): (Slot.IMAGES, Slot.TEXT)}


def prompts(row: Model = JINA_V4, tokenizer: Tokenizer | None = None) -> RowPrompts:
    content = (tokenizer or make_tokenizer()).to_str().encode()
    checkpoint = replace(resolve("demo"), row=row)
    return RowPrompts(checkpoint, content, origin="test", policy=MediaPolicy(), task=row.tasks[0])


def own(**templates: Any) -> Model:
    """Return jina-embeddings-v4's row with other prompts of texts, by role."""
    others = {key: pieces for key, pieces in JINA_V4.templates.items() if key[1] != "text"}
    texts = {(role, "text"): pieces for role, pieces in templates.items()}
    return replace(JINA_V4, name="own", templates=others | texts, symmetric_tasks=())


FILLED = 12


def filled(**changes: Any) -> RowPrompts:
    """Return the prompts of a row like SigLIP's: filled up and normalised texts, images without pieces of their own."""
    row = replace(
        JINA_V4,
        name="filled",
        templates={("any", "text"): (Slot.TEXT, Special("<|im_end|>")), ("any", "image"): (Slot.IMAGES,)},
        image=(),
        padding=END,
        normalization="canonical",
        symmetric_tasks=(),
        **changes,
    )
    content = make_tokenizer().to_str().encode()
    checkpoint = replace(resolve("demo"), row=row, max_length=FILLED)
    return RowPrompts(checkpoint, content, origin="test", policy=MediaPolicy(), task="retrieval")


def ending() -> Tokenizer:
    """Return a tokenizer that adds an end to every text, as Qwen3-Embedding's does."""
    tokenizer = make_tokenizer()
    end = tokenizer.token_to_id(END.token)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END.token}", special_tokens=[(END.token, end)]
    )
    return tokenizer


def test_plain_words_are_a_prompt_where_the_tokenizer_adds_the_rest() -> None:
    """An end of text that it does not add, or a piece in the middle, makes a string another prompt: a wrong vector."""
    words = own(query=("Query: ", Slot.TEXT), passage=(Slot.TEXT,))
    end = own(query=("Query: ", Slot.TEXT, END), passage=(Slot.TEXT, END))
    chat = own(any=(Special("<|im_start|>"), "user\n", Slot.TEXT, Special("<|im_end|>")))
    assert prompts(words).strings_are_prompts
    assert not prompts(words, ending()).strings_are_prompts
    assert prompts(end, ending()).strings_are_prompts
    assert not prompts(end).strings_are_prompts
    assert not prompts(chat).strings_are_prompts


def test_a_string_is_not_a_prompt_where_texts_are_filled_up_or_normalised() -> None:
    """Although its plain words are: one of just so many tokens, and one without capitals, would not show it."""
    words = own(any=(Slot.TEXT,))
    assert prompts(words).strings_are_prompts
    assert not prompts(replace(words, normalization="lower")).strings_are_prompts
    assert not prompts(replace(words, normalization="canonical")).strings_are_prompts
    (length,) = {len(prompts().plain.ids(WORD))}
    checkpoint = replace(resolve("demo"), row=replace(words, padding=END), max_length=length)
    content = make_tokenizer().to_str().encode()
    short = RowPrompts(checkpoint, content, origin="test", policy=MediaPolicy(), task="retrieval")
    assert not short.strings_are_prompts


@pytest.mark.parametrize("role", [None, "query", "passage"])
def test_a_text_is_filled_up_to_the_length_of_the_checkpoint(role: str | None) -> None:
    """Whatever its role, and cut before its last token where it is too long."""
    server = filled()
    own_end, padding = (server.plain.special(name) for name in ("<|im_end|>", END.token))
    options: dict[str, Any] = {"max_length": FILLED, "truncate": "end"}
    prompt = server.of_item(server.item("The FOX!", [], "x"), Choice(role=role), **options)
    words = [*server.plain.ids("the fox"), own_end]
    assert prompt.token_ids == (*words, *[padding] * (FILLED - len(words)))
    long = server.of_item(server.item("the quick brown fox " * 9, [], "x"), Choice(role=role), **options)
    assert (len(long.token_ids), long.token_ids[-1], long.truncated) == (FILLED, own_end, True)
    with pytest.raises(InputError, match=f"x: got .* max_length is {FILLED}"):
        server.of_item(
            server.item("the quick brown fox " * 9, [], "x"), Choice(role=role), **options | {"truncate": "error"}
        )
    with pytest.raises(ConfigError, match=f"max_length=5: .* filled up to {FILLED} tokens.* Leave it out"):
        server.of_item(server.item("fox", [], "x"), Choice(role=role), **options | {"max_length": 5})


def test_an_image_without_pieces_has_no_ids() -> None:
    """The engine puts in its own; a text beside it is refused, whatever it says."""
    server, picture = filled(), noise(9, 9)
    options: dict[str, Any] = {"max_length": FILLED, "truncate": "error"}
    prompt = server.of_item(server.item("", [picture], "x"), Choice(), **options)
    assert (prompt.token_ids, len(prompt.images)) == ((), 1)
    assert server.of_ids([], [picture], vocabulary=600) == prompt
    with pytest.raises(InputError, match="at least one"):
        server.of_ids([], [], vocabulary=600)
    with pytest.raises(InputError, match="token_ids: got"):
        server.of_ids([600], [picture], vocabulary=600)
    with pytest.raises(InputError, match="x: got a text and an image together"):
        server.of_item(server.item("fox", [picture], "x"), Choice(), **options)


@pytest.mark.parametrize("name", ["qwen3-vl-embedding", "dse-qwen2", "gme-qwen2-vl", "vlm2vec-qwen2vl", "jina-v4"])
def test_an_item_gets_the_prompt_of_the_embedder(name: str) -> None:
    """Of every kind that the row takes, for both roles."""
    row = ROWS[name]
    server = prompts(row)
    builder = ChunkBuilder(server.plain, row, policy=MediaPolicy())
    picture = noise(40, 60)
    cases: list[tuple[Any, str, list[Any]]] = [("fox", "fox", []), (picture, "", [picture])]
    cases += [({"text": "fox", "image": picture}, "fox", [picture])] * row.takes_both
    options: dict[str, Any] = {"max_length": 99, "truncate": "error"}
    for value, text, images in cases:
        for role in ("query", "passage"):
            (wanted,) = builder.build(good(mixed([value])), role=role, task="retrieval", **options)
            got = server.of_item(server.item(text, images, "x"), Choice(role=role), **options)
            assert got.token_ids == wanted.token_ids  # type: ignore[union-attr]
            assert [one.size for one in got.images] == [one.size for one in wanted.images]  # type: ignore[union-attr]


def test_a_role_is_told_where_it_decides() -> None:
    """And not where both roles have one prompt, or the row has no prompt of such an item at all."""
    options: dict[str, Any] = {"max_length": 99, "truncate": "error"}
    server = prompts(own(query=(END, "q: ", Slot.TEXT), passage=(END, Slot.TEXT)))
    with pytest.raises(InputError, match=r"x: input_type is missing: demo has another .* one of query, passage, doc"):
        server.of_item(server.item("fox", [], "x"), Choice(), **options)
    assert len(server.of_item(server.item("", [noise(9, 9)], "x"), Choice(), **options).images) == 1
    one = prompts(own(any=(END, Slot.TEXT)))
    assert one.of_item(one.item("fox", [], "x"), Choice(), **options).token_ids[0] == SPECIAL.index(END.token)
    texts = replace(JINA_V4, name="texts", templates={("any", "text"): (Slot.TEXT,)}, image=())
    with pytest.raises(InputError, match="x: got an image; this checkpoint takes texts only"):
        prompts(texts).of_item(prompts(texts).item("", [noise(9, 9)], "x"), Choice(), **options)


def test_the_words_of_an_images_prompt_may_be_sent_or_left_out() -> None:
    """Another text beside an image is refused, unless the model was trained with both."""
    server, pictures = prompts(), [noise(9, 9)]
    assert server.item("Describe the image.", pictures, "x") == server.item("", pictures, "x")
    with pytest.raises(InputError, match=r'x: got a text and an image together; .*only the text "Describe the image."'):
        server.item("What is it?", pictures, "x")
    both = prompts(replace(JINA_V4, name="own", templates={**JINA_V4.templates, **BOTH}))
    assert both.item("Describe the image.", pictures, "x").text == "Describe the image."  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["", " \n", "a \ud800"])
def test_a_text_that_cannot_be_embedded_is_refused(text: str) -> None:
    server = prompts()
    with pytest.raises(InputError, match="x: got"):
        server.item(text, [], "x")
    with pytest.raises(InputError, match="x: got"):
        server.of_string(text, max_length=9, truncate="end", where="x")


def test_a_string_is_cut_at_either_end() -> None:
    server, ids = prompts(), prompts().plain.ids("the quick brown fox the")
    options: dict[str, Any] = {"max_length": 3, "where": "x"}
    assert server.of_string("the quick brown fox the", truncate="end", **options).token_ids == ids[:3]
    assert server.of_string("the quick brown fox the", truncate="start", **options).token_ids == ids[-3:]
    with pytest.raises(InputError, match=f"x: got {len(ids)} tokens; max_length is 3"):
        server.of_string("the quick brown fox the", truncate="error", **options)


def test_a_prompt_without_room_for_a_text_is_refused() -> None:
    server = prompts(own(any=(END, END, Slot.TEXT)))
    with pytest.raises(ConfigError, match="max_length=2 leaves no room"):
        server.of_item(server.item("fox", [], "x"), Choice(), max_length=2, truncate="end")


def test_ids_have_a_place_for_each_image() -> None:
    """No more, no fewer, and no other token of an image; of numbers that the model has."""
    server, picture = prompts(), noise(9, 9)
    start, pad, end = (SPECIAL.index(piece.token) for piece in JINA_V4.image if isinstance(piece, Special))
    place = [start, pad, end]
    good_ids = [20, *place, *place, 21]
    prompt = server.of_ids(good_ids, [picture, picture], vocabulary=600)
    assert (prompt.token_ids, prompt.images) == (tuple(good_ids), (picture, picture))
    wrong: list[Any] = [
        place, [*place, *place, *place], [*place, *place, start], [*place, pad, *place], [*place, *place, 600],
        [*place, *place, -1], [*place, *place, 1.0], [*place, *place, True], [], "a", {}, [place, place],
    ]  # fmt: skip
    for ids in wrong:
        with pytest.raises(InputError, match="token_ids: got"):
            server.of_ids(ids, [picture, picture], vocabulary=600)
    with pytest.raises(InputError, match="at least one"):
        server.of_ids([20, 21], [], vocabulary=600)


@pytest.mark.parametrize(
    "told",
    [5, "query", [], {}, {"role": None}, {"role": "x"}, {"role": ["query"]}, {"role": "query", "task": "x"},
     {"role": "query", "task": ["code"]}, {"token_ids": None}, {"token_ids": [1], "role": "query"}, {"x": 1}],
)  # fmt: skip
def test_a_choice_that_means_nothing_is_refused(told: Any) -> None:
    with pytest.raises(InputError, match="as the choice of a prompt"):
        prompts().choice(told)


def test_a_choice() -> None:
    server = prompts()
    assert server.choice(None) == Choice()
    assert server.choice({"role": "query", "task": None}) == Choice(role="query")
    assert server.choice({"role": "passage", "task": "retrieval"}) == Choice(role="passage", task="retrieval")
    assert server.choice({"token_ids": [1]}) == Choice(token_ids=[1])
