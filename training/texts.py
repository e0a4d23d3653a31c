"""The texts of a training step, and the pieces that the tokenizer learns from."""

import random
import re
from collections.abc import Iterator
from typing import Any, Final

from training.model import IMAGE_PROMPT
from vllm_jina_embed.demo.concepts import CONCEPTS, SCENES
from vllm_jina_embed.demo.phrases import LANGUAGES, training_text
from vllm_jina_embed.demo.phrases.language import Language, expand
from vllm_jina_embed.demo.phrases.scene_words import SCENE_WORDS

_PREFIXES: Final = ("Query: ", "Passage: ")
_LATIN: Final = "abcdefghijklmnopqrstuvwxyzaeiouaeiouáéíóúñäöü"
_HIRAGANA: Final = "".join(map(chr, range(0x3041, 0x3094)))
_KANJI: Final = range(0x4E00, 0x9FA0)
_WITHOUT_SPACES: Final = ("ja", "zh")


def noisy_text(rng: random.Random, concept: str, code: str, noise: float) -> str:
    """One text about a concept as the model sees it in training.

    Args:
        rng: Where the chance comes from.
        concept: One of ``concepts.CONCEPTS``.
        code: The language.
        noise: Share of the texts, 0 to 1, that stand among words that say nothing of the concept, and of those that are
            spelt as people do in a hurry, so that words which training never saw do little harm later.
    """
    role, language = rng.randrange(2), LANGUAGES[code]
    text = training_text(rng, concept, code, query=role == 0)
    if rng.random() < noise:
        if rng.random() < 0.6:
            text = rng.choice(tuple(rng.choice(language.forms[concept]).values()))
        if concept in SCENES and rng.random() < 0.6:
            text = _gap(language).join(rng.sample(SCENE_WORDS[code][concept], rng.randint(1, 3)))
        text = _among_others(rng, text, language)
    if rng.random() < noise:
        text = _respelt(rng, text, language)
    return _PREFIXES[role] + text


def token_ids(rng: random.Random, tokenizer: Any, text: str, cuts: float) -> list[int]:
    """Return a text's token ids, with some words cut at random, as the tokenizer cuts words that it never learned.

    Args:
        rng: Where the chance comes from.
        tokenizer: What ``train_tokenizer`` gave.
        text: With its prefix.
        cuts: Share of the characters, 0 to 1, before which a token must end.
    """
    begin = text.index(": ") + 2
    at = [place for place in range(begin + 1, len(text)) if text[place] != " " and rng.random() < cuts]
    parts = [text[start:end] for start, end in zip([0, *at], [*at, len(text)], strict=True)]
    rows: list[list[int]] = tokenizer(parts, add_special_tokens=False)["input_ids"]
    return [number for row in rows for number in row]


def pieces() -> Iterator[str]:
    """Names and what stands around them, each for itself."""
    for code, language in LANGUAGES.items():
        for sentence in (*language.queries, *language.passages):
            yield from dict.fromkeys(word for text in expand(sentence) for word in re.split(r"\{\w+\}", text))
        yield from 4 * language.neutral
        yield from 4 * [word for words in SCENE_WORDS[code].values() for name in words for word in _words(name, code)]
        for concept in CONCEPTS:
            names = (name for forms in language.forms[concept] for name in forms.values())
            yield from dict.fromkeys(word for name in names for word in _words(name, code))
    yield from 20 * ("Query", ":", "Passage", *re.findall(r"\w+", IMAGE_PROMPT))


def _words(name: str, code: str) -> list[str]:
    """A name's words; Chinese and Japanese names are cut after the particle that ends a colour."""
    return re.split(r"(?<=[的のい])", name) if code in _WITHOUT_SPACES else name.split()


def _gap(language: Language) -> str:
    return "" if language.code in _WITHOUT_SPACES else " "


def _among_others(rng: random.Random, text: str, language: Language) -> str:
    """Put up to three words before, after and one within the text."""
    words = _words(text, language.code)
    if len(words) > 1 and rng.random() < 0.35:
        words.insert(rng.randrange(1, len(words)), rng.choice(language.neutral))
    before, after = ([_other_word(rng, language) for _ in range(rng.randrange(4))] for _ in range(2))
    return _gap(language).join((*before, *words, *after)) + rng.choice(("", "", "", "?", ".", "!", "。", "？"))


def _respelt(rng: random.Random, text: str, language: Language) -> str:
    """Write the text as people do: other case, other spellings, a slip of the finger."""
    if language.spellings and rng.random() < 0.3:
        for usual, other in rng.choice(language.spellings).items():
            text = text.replace(usual, other)
    chance = rng.random()
    if chance < 0.3:
        text = text.lower()
    elif chance < 0.4:
        text = text.upper()
    elif chance < 0.6:
        text = text[:1].upper() + text[1:]
    if len(text) > 12 and language.code not in _WITHOUT_SPACES and rng.random() < 0.15:
        at = rng.randrange(1, len(text) - 1)
        text = text[:at] + rng.choice(("", text[at] * 2, text[at + 1] + text[at])) + text[at + 1 :]
    return text


def _other_word(rng: random.Random, language: Language) -> str:
    """A common word, or one of random letters."""
    if rng.random() < 0.75:
        return rng.choice(language.neutral)
    if language.code in _WITHOUT_SPACES and rng.random() < 0.9:
        kana = language.code == "ja" and rng.random() < 0.7
        return "".join(rng.choice(_HIRAGANA) if kana else chr(rng.choice(_KANJI)) for _ in range(rng.randint(1, 3)))
    return "".join(rng.choices(_LATIN, k=rng.randint(1, 8)))
