"""The texts of a training step, and the pieces that the tokenizer learns from.

Enters: a concept, a language, seeded chance. Leaves: a sentence with a prefix, often among meaningless words.
"""

import random
import re
from collections.abc import Iterator
from typing import Final

from vllm_jina_embed.demo.concepts import CONCEPTS
from vllm_jina_embed.demo.phrases import LANGUAGES, training_passages, training_queries
from vllm_jina_embed.demo.recipe.model import IMAGE_PROMPT

_PREFIXES: Final = ("Query: ", "Passage: ")
_LATIN: Final = "abcdefghijklmnopqrstuvwxyzaeiouaeiouáéíóúñäöü"
_HIRAGANA: Final = "".join(map(chr, range(0x3041, 0x3094)))
_KANJI: Final = range(0x4E00, 0x9FA0)
# Common words that say nothing of a picture; some hold a thing's name, as "gestern" (yesterday) holds "Stern" (star).
_FILLERS: Final = {
    "en": "yesterday today we have seen here start stable crossing squarely starting please again often".split(),  # noqa: SIM905
    "de": "gestern heute wir haben hier vorgestern Kreuzung kreuzen tabellarisch bitte wieder oft morgen".split(),  # noqa: SIM905
    "es": "ayer hoy hemos visto aquí estrellar cruzar tablado cuadrar círculos por favor otra vez".split(),  # noqa: SIM905
}


def training_text(rng: random.Random, concept: str, code: str, noise: float) -> str:
    """One text about a concept as the model sees it in training.

    Args:
        rng: Where the chance comes from.
        concept: One of ``concepts.CONCEPTS``.
        code: The language.
        noise: Share of the texts, 0 to 1, that stand among words of random letters, so that words which training never
            saw do little harm later.
    """
    role = rng.randrange(2)
    text = rng.choice((training_queries, training_passages)[role](concept, code))
    if rng.random() < noise:
        if rng.random() < 0.5:
            text = rng.choice(tuple(rng.choice(LANGUAGES[code].forms[concept]).values()))
        gap = "" if code in ("ja", "zh") else " "
        before, after = ([_noise_word(rng, code) for _ in range(rng.randrange(4))] for _ in range(2))
        text = gap.join((*before, text, *after)) + rng.choice(("", "", "?", ".", "。"))
    if rng.random() < 0.2:
        text = text.lower() if rng.random() < 0.5 else text[0].upper() + text[1:]
    return _PREFIXES[role] + text


def pieces() -> Iterator[str]:
    """Names and what stands around them, each for itself."""
    for code, language in LANGUAGES.items():
        for sentence in (*language.queries, *language.passages):
            yield from re.split(r"\{\w+\}", sentence)
        for concept in CONCEPTS:
            for forms in language.forms[concept]:
                for name in forms.values():
                    yield from _words(name, code)
    yield from 20 * ("Query", ":", "Passage", *re.findall(r"\w+", IMAGE_PROMPT))


def _words(name: str, code: str) -> list[str]:
    """A name's words; Chinese and Japanese names are cut after the particle that ends a colour."""
    return re.split(r"(?<=[的のい])", name) if code in ("ja", "zh") else name.split()


def _noise_word(rng: random.Random, code: str) -> str:
    """A common word, or one of random letters."""
    if code in _FILLERS and rng.random() < 0.4:
        word = rng.choice(_FILLERS[code])
        return word if rng.random() < 0.5 else word.capitalize()
    return _word(rng, code)


def _word(rng: random.Random, code: str) -> str:
    if code in ("ja", "zh") and rng.random() < 0.9:
        kana = code == "ja" and rng.random() < 0.7
        return "".join(rng.choice(_HIRAGANA) if kana else chr(rng.choice(_KANJI)) for _ in range(rng.randint(1, 3)))
    return "".join(rng.choices(_LATIN, k=rng.randint(1, 8)))
