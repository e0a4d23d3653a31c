"""What people call the demo's concepts, in five languages: texts to train on, and texts that training never sees.

The sentences themselves stand in one module per language.
"""

import random
from itertools import chain
from typing import Final

from vllm_jina_embed.demo.phrases.chinese import CHINESE
from vllm_jina_embed.demo.phrases.english import ENGLISH
from vllm_jina_embed.demo.phrases.german import GERMAN
from vllm_jina_embed.demo.phrases.japanese import JAPANESE
from vllm_jina_embed.demo.phrases.language import Language, choose, expand
from vllm_jina_embed.demo.phrases.spanish import SPANISH

LANGUAGES: Final[dict[str, Language]] = {
    language.code: language for language in (ENGLISH, GERMAN, JAPANESE, SPANISH, CHINESE)
}


def training_queries(concept: str, code: str) -> tuple[str, ...]:
    """Every search phrase to train on: all names of the concept in all sentences, without the held-out ones."""
    return _trained(concept, LANGUAGES[code], LANGUAGES[code].queries)


def training_passages(concept: str, code: str) -> tuple[str, ...]:
    """Every sentence to train on, without the held-out ones."""
    return _trained(concept, LANGUAGES[code], LANGUAGES[code].passages)


def new_queries(concept: str, code: str) -> tuple[str, ...]:
    """Search phrases that training never sees, the best known first."""
    language = LANGUAGES[code]
    whole = language.new_texts.get(concept, ())
    return (*whole, *(language.fill(sentence, language.forms[concept][0]) for sentence in language.new_queries))


def new_passages(concept: str, code: str) -> tuple[str, ...]:
    """Sentences that training never sees."""
    language = LANGUAGES[code]
    return tuple(language.fill(sentence, language.forms[concept][0]) for sentence in language.new_passages)


def training_text(rng: random.Random, concept: str, code: str, *, query: bool) -> str:
    """Return one of ``training_queries`` or ``training_passages``, without listing them all."""
    language = LANGUAGES[code]
    sentences = language.queries if query else language.passages
    while True:
        text = language.fill(choose(rng, rng.choice(sentences)), rng.choice(language.forms[concept]))
        if text not in language.new_texts.get(concept, ()):
            return text


def _trained(concept: str, language: Language, sentences: tuple[str, ...]) -> tuple[str, ...]:
    new = language.new_texts.get(concept, ())
    every = tuple(chain.from_iterable(map(expand, sentences)))
    texts = (language.fill(sentence, forms) for forms in language.forms[concept] for sentence in every)
    return tuple(dict.fromkeys(text for text in texts if text not in new))
