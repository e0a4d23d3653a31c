"""What one language of the demo consists of.

Enters: grammatical forms of every concept, and sentences with a gap for one form. Leaves: finished texts.
Forms and sentences are data of the language modules next to this one; no grammar is guessed here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Forms = Mapping[str, str]
"""Grammatical form (``bare``, ``accusative``, ...) -> the concept's name in that form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One language: what its concepts are called, and what people say about them.

    Attributes:
        code: ISO 639-1 code.
        name: The language's name in English.
        forms: Concept -> one or more ways to name it; the first is the one that the demo uses.
        queries: Search phrases to train on, each with a gap such as ``{accusative}``.
        passages: Sentences to train on.
        new_queries: Search phrases that training never sees; the demo asks with these.
        new_passages: Sentences that training never sees; the demo's index holds these.
        new_texts: Concept -> whole queries that training never sees.
    """

    code: str
    name: str
    forms: Mapping[str, tuple[Forms, ...]]
    queries: tuple[str, ...]
    passages: tuple[str, ...]
    new_queries: tuple[str, ...]
    new_passages: tuple[str, ...]
    new_texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def fill(self, sentence: str, forms: Forms) -> str:
        """One text: the sentence's gap filled with the form that it asks for."""
        text = sentence.format_map(forms)
        return text[0].upper() + text[1:] if sentence.endswith(".") else text
