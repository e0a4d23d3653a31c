"""Long texts: the tokens that are kept are the whole text's, at a cost that the text's length does not decide."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from tokenizers import Encoding, Tokenizer, pre_tokenizers, trainers

from tests.support.builders import text_builder
from tests.support.tokenizer import make_tokenizer
from tests.support.unigram import make_unigram
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.errors import InputError
from vllm_jina_embed.inputs.images import MediaPolicy
from vllm_jina_embed.inputs.items import TextItem
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.build import load_builder
from vllm_jina_embed.prompts.tokenizing import CHARACTERS, MARGIN, Tokens, tokenize

pytestmark = pytest.mark.fire

WORDS = ["".join(random.Random(n).choices("abcdefghijklmnopq", k=8 + n % 2)) for n in range(40)]


def make_word_tokenizer() -> Tokenizer:
    """Return one that splits as Qwen2's does, with tokens of nine or ten characters and of lines of white space."""
    tokenizer = make_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=1200, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(WORDS), "\n   \n" * 3] * 9, trainer)
    return tokenizer


TOKENIZERS = {"qwen": make_tokenizer, "xlm-roberta": make_unigram}
PREFIX = "Passage: "
PIECES = [
    "the", "quick", "fox's", "DON'T", "über", "夕日", "浜辺に沈む", "한국어", "שלום", "naïve", "👩‍👩‍👧‍👦", "12345",
    "e\u0301\u0327", "...", "--------", "=>", "{}", "a" * 50, "\u200b", "\ufb01", "<|image_pad|>", "<s>", "\x00",
    "!?\n", "\r\n\r\n", "\n   \n",
]  # fmt: skip
GAPS = [" ", " ", " ", "", "\n", "  ", "\t\t", "\u3000", "\xa0 ", "\n    ", "." * 9, " " * 70]


def text_of(length: int, seed: int) -> str:
    """Return a random text of at least ``length`` characters."""
    chosen = random.Random(seed)
    parts: list[str] = []
    count = 0
    while count < length:
        parts.append(chosen.choice(PIECES) + chosen.choice(GAPS))
        count += len(parts[-1])
    return "".join(parts)


def item(text: str) -> TextItem:
    return TextItem(text=text, where="texts[0]", position=0)


def kept(encoding: Encoding, max_length: int, truncate: str) -> list[int]:
    """Return the first or last ids, without what stands at the other end."""
    ids = encoding.ids[1:-1] if encoding.special_tokens_mask[0] else encoding.ids
    return list(ids[-(max_length - 4) :] if truncate == "start" else ids[:max_length])


def both(tokenizer: Tokenizer, text: str, max_length: int, truncate: str) -> tuple[list[int], list[int]]:
    """Return what is kept of a text that is tokenised in part, and of the whole."""
    special = tokenizer.post_processor is not None
    (part,) = tokenize(
        tokenizer,
        [item(text)],
        text_prefix=PREFIX,
        max_length=max_length,
        truncate=truncate,
        special_tokens=special,
    )
    whole = tokenizer.encode(PREFIX + text, add_special_tokens=special)
    assert isinstance(part, Tokens)
    assert part.cut
    assert len(part.encoding) < len(whole)
    return kept(part.encoding, max_length, truncate), kept(whole, max_length, truncate)


@pytest.mark.parametrize(("name", "truncate"), [*product(TOKENIZERS, ["end", "start"])])
def test_what_is_kept_of_a_part_is_what_is_kept_of_the_whole(name: str, truncate: str) -> None:
    """Random texts of words, marks, white space and scripts, cut at many places."""
    tokenizer = TOKENIZERS[name]()
    for seed in range(12):
        max_length = 16 + 20 * seed
        part, whole = both(tokenizer, text_of(3 * (CHARACTERS * max_length + MARGIN), seed), max_length, truncate)
        assert part == whole, seed


@pytest.mark.parametrize("truncate", ["end", "start"])
def test_what_the_cut_makes_of_the_words_beside_it_is_never_kept(truncate: str) -> None:
    """Words of one token each, just so long that the last one to keep stands where the first part ends."""
    tokenizer = make_word_tokenizer()
    for seed in range(30):
        text = " ".join(random.Random(seed).choices(WORDS, k=2500))
        part, whole = both(tokenizer, text, 40 + seed, truncate)
        assert part == whole, seed


@pytest.mark.parametrize(
    "text",
    [
        "a" * 20_000,
        "ab " * 7_000,
        "\n" + " " * 20_000 + "\nx",
        "x\n" + " " * 20_000 + "x",
        " " * 20_000 + "x",
        "x" + "-" * 20_000 + "\n",
        "x" + "\n" * 20_000,
        "夕日" * 10_000,
        "e" + "\u0301" * 20_000,
    ],
    ids=lambda text: ascii(text[:6]),
)
def test_one_long_run_keeps_its_first_tokens(text: str) -> None:
    """Where no word ends in the margin, and where white space runs over it up to the end of a line."""
    for tokenizer in (make_tokenizer(), make_word_tokenizer()):
        part, whole = both(tokenizer, text, 64, "end")
        assert part == whole


@pytest.mark.parametrize("truncate", ["end", "start"])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokens_of_many_characters_take_a_longer_part(name: str, truncate: str) -> None:
    """Here a token has more than the 8 characters that the first part is for."""
    tokenizer = TOKENIZERS[name]()
    text = "the quick brown fox " if name == "qwen" else " " * 40 + "the"
    part, whole = both(tokenizer, text * 4000, 400, truncate)
    assert len(part) == len(whole) == (400 if truncate == "end" else 396)
    assert part == whole


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_text_over_the_window_that_is_short_in_tokens_is_whole(name: str) -> None:
    """White space costs a unigram tokenizer nothing; for Qwen2's every text as long as that has as many tokens."""
    tokenizer = TOKENIZERS[name]()
    long = "fox" + " " * (CHARACTERS * 64 + MARGIN + 1)
    (found,) = tokenize(
        tokenizer, [item(long)], text_prefix="", max_length=64, truncate="error", special_tokens=name != "qwen"
    )
    if name == "qwen":
        assert isinstance(found, InputError)
    else:
        assert isinstance(found, Tokens)
        assert not found.cut
        assert found.encoding.ids == tokenizer.encode("fox").ids


@pytest.mark.parametrize("truncate", ["end", "start"])
@pytest.mark.parametrize("space", [" ", " \n\t"])
def test_words_behind_dropped_white_space_are_found(truncate: str, space: str) -> None:
    """A prompt of the special tokens alone would be the vector of nothing."""
    tokenizer, words = make_unigram(), "the quick brown fox"
    run = space * 400_000
    text = run + words if truncate == "end" else words + run
    (found,) = tokenize(tokenizer, [item(text)], text_prefix="", max_length=512, truncate=truncate, special_tokens=True)
    assert isinstance(found, Tokens)
    assert found.encoding.ids == tokenizer.encode(words).ids


class TestBuilders:
    """Both builders, at the length that the published checkpoints have."""

    def build(self, text: str, truncate: Any, max_length: int = 32_768) -> list[Prompt | InputError]:
        demo = load_builder(resolve("demo"), revision=None, policy=MediaPolicy())
        unigram = text_builder()
        return [
            demo.build([item(text)], role="passage", task="retrieval", max_length=max_length, truncate=truncate)[0],
            unigram.build([item(text)], role="passage", task="retrieval", max_length=max_length, truncate=truncate)[0],
        ]

    @pytest.mark.parametrize("truncate", ["end", "start"])
    def test_a_long_text_gives_the_prompt_of_the_whole(self, truncate: str) -> None:
        """The prefix and the special tokens too: a window of 600 tokens against one that holds the text."""
        text = text_of(15_000, 7)
        for cut, whole in zip(self.build(text, truncate, 600), self.build(text, "end"), strict=True):
            assert isinstance(cut, Prompt)
            assert isinstance(whole, Prompt)
            assert (cut.truncated, whole.truncated, len(cut.token_ids)) == (True, False, 600)
            same = cut.token_ids[:599] == whole.token_ids[:599]
            assert same if truncate == "end" else cut.token_ids[-590:] == whole.token_ids[-590:]
            assert cut.token_ids[0] == whole.token_ids[0]

    @pytest.mark.parametrize(
        ("text", "left"),
        [
            ("word and word " * 800_000, None),
            ("a" * 10_000_000, None),
            (" " * 10_500_000 + "x", "x"),
            ("\u200b" * 10_000_000, ""),
        ],
        ids=["words", "letter", "white-space", "dropped"],
    )
    def test_ten_million_characters_take_as_long_as_what_is_kept_of_them(self, text: str, left: str | None) -> None:
        """Words took 46 s and a gigabyte, white space a PanicException that no ``except Exception`` catches."""
        demo, unigram = self.build(text, "end", 8192)
        for prompt in (demo, unigram):
            assert isinstance(prompt, Prompt)
            assert prompt.truncated
        assert len(demo.token_ids) == 8192
        if left is None:
            assert len(unigram.token_ids) == 8192
        else:  # the unigram tokenizer drops white space: what is left are the tokens of the rest alone
            (_, alone) = self.build(left, "end", 8192)
            assert unigram.token_ids == alone.token_ids
        for error in self.build(text, "error", 8192):
            assert isinstance(error, InputError)
            counts = "(more than 8192|[0-9]{8} characters and at least 2)"
            assert re.match(f"texts.0.: got {counts} tokens; max_length is 8192. Split the text", str(error))

    def test_ten_million_characters_take_little_memory(self) -> None:
        """At most 300 MB above the text's own, in a process of its own."""
        program = (
            "import resource, sys\n"
            "from tests.unit.prompts.test_tokenizing import TestBuilders\n"
            "text = 'word and word ' * 720_000\n"
            "TestBuilders().build('x', 'end')\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "TestBuilders().build(text, 'end')\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
        assert int(done.stdout) / 1024 < 300


class TestFailingTokenizers:
    """Nothing of the library leaves raw, and the other texts of a call are not lost."""

    @pytest.mark.filterwarnings("ignore")
    def test_a_panic_is_the_error_of_its_text_alone(self) -> None:
        """The search of Qwen2's own pattern gives up on ten million characters of white space."""
        items = [
            TextItem(text=text, where=f"texts[{place}]", position=place)
            for place, text in enumerate(["a fox", " " * 10_000_000 + "x", "the dog"])
        ]
        found = list(
            tokenize(
                make_tokenizer(),
                items,
                text_prefix="",
                max_length=10_000_000,  # so that all of it is needed
                truncate="end",
                special_tokens=False,
            )
        )
        assert [type(one) for one in found] == [Tokens, InputError, Tokens]
        error = found[1]
        assert isinstance(error, InputError)
        assert error.positions == (1,)
        assert "texts[1]: the tokenizer fails on this text of 10000001 characters" in str(error)
        assert "Split the text" in str(error)

    @pytest.mark.parametrize("raised", [Exception, type("PanicException", (BaseException,), {})])
    def test_any_error_of_the_library_becomes_ours(self, raised: type[BaseException]) -> None:
        """Bare exceptions are its way."""

        class Failing:
            def encode_batch(self, texts: list[str], **_: Any) -> list[Encoding]:
                return [self.encode(text) for text in texts]

            def encode(self, text: str, **_: Any) -> Encoding:
                if "bad" in text:
                    raise raised("no unk_id")
                return make_tokenizer().encode(text)

        tokenizer: Any = Failing()
        builder = load_builder(resolve("demo"), revision=None, policy=MediaPolicy())
        builder._plain = replace(builder._plain, tokenizer=tokenizer)
        items = [item("good"), item("bad")]
        good, bad = builder.build(items, role="passage", task="retrieval", max_length=10, truncate="end")
        assert isinstance(good, Prompt)
        assert isinstance(bad, InputError)
        assert "(no unk_id)" in str(bad)

    @pytest.mark.parametrize("texts", ["x", "xy"])
    def test_an_interrupt_passes(self, texts: str) -> None:
        """Ctrl-C is no failure of a text."""

        class Interrupted:
            def encode(self, text: str, **_: Any) -> Encoding:
                raise KeyboardInterrupt

            def encode_batch(self, texts: list[str], **_: Any) -> list[Encoding]:
                raise KeyboardInterrupt

        tokenizer: Any = Interrupted()
        items = [item(text) for text in texts]
        with pytest.raises(KeyboardInterrupt):
            list(tokenize(tokenizer, items, text_prefix="", max_length=9, truncate="end", special_tokens=False))
