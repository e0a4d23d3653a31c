"""What one language of the demo consists of: names in their grammatical forms, sentences with a gap, and spellings.

Forms and sentences are data of the language modules next to this one; no grammar is guessed here.
"""

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Final

Forms = Mapping[str, str]
"""Grammatical form (``bare``, ``accusative``, ...) -> the concept's name in that form."""

_CHOICE: Final = re.compile(r"\[([^\]]*)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One language: what its concepts are called, and what people say about them.

    A sentence to train on may hold choices: ``[find|show me] {one}`` stands for two sentences.

    Attributes:
        code: ISO 639-1 code.
        name: The language's name in English.
        forms: Concept -> one or more ways to name it; the first is the one that the demo uses.
        queries: Search phrases to train on, each with a gap such as ``{accusative}``.
        passages: Sentences to train on.
        new_queries: Search phrases that training never sees; the demo asks with these.
        new_passages: Sentences that training never sees; the demo's index holds these.
        new_texts: Concept -> whole queries that training never sees.
        neutral: Words of everyday questions that say nothing of what an image shows; some hold a thing's name, as the
            German "gestern" (yesterday) holds "Stern" (star).
        spellings: Tables of characters that people write in another way, such as ``{"ü": "ue"}``.
    """

    code: str
    name: str
    forms: Mapping[str, tuple[Forms, ...]]
    queries: tuple[str, ...]
    passages: tuple[str, ...]
    new_queries: tuple[str, ...]
    new_passages: tuple[str, ...]
    new_texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    neutral: tuple[str, ...] = ()
    spellings: tuple[Mapping[str, str], ...] = ()

    def fill(self, sentence: str, forms: Forms) -> str:
        """One text: the sentence's gap filled with the form that it asks for."""
        text = sentence.format_map(forms)
        return text[0].upper() + text[1:] if sentence.endswith(".") else text


def choose(rng: random.Random, sentence: str) -> str:
    """Return the sentence with one alternative of each choice."""
    return _CHOICE.sub(lambda choice: rng.choice(choice[1].split("|")), sentence)


def expand(sentence: str) -> Iterator[str]:
    """Yield every sentence that a sentence with choices stands for."""
    parts = _CHOICE.split(sentence)  # text, choice, text, choice, ..., text
    yield from map("".join, product(*([part] if at % 2 == 0 else part.split("|") for at, part in enumerate(parts))))


def split_phrases(text: str) -> tuple[str, ...]:
    """Return the phrases between bars, which may stand on several lines."""
    return tuple(" ".join(phrase.split()) for phrase in text.split("|"))
