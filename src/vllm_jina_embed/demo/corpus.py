"""The corpus of the demo: drawings and passages in one list, and the questions about them.

Its drawings and sentences were not used in training.
"""

import random
from dataclasses import dataclass

from PIL import Image

from vllm_jina_embed.demo.concepts import CONCEPTS
from vllm_jina_embed.demo.drawing import UNSEEN_SEED, draw, random_size
from vllm_jina_embed.demo.phrases import LANGUAGES, new_passages, new_queries

_PASSAGE_LANGUAGES = 2  # of five, per concept, so that most questions must be answered across languages


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoItem:
    """A text or an image, and its concept.

    Attributes:
        name: Unique in its list, such as ``passage-de-red-circle``.
        concept: One of ``concepts.CONCEPTS``.
        language: ISO 639-1 code of a text, None for an image.
        content: The text, or an RGB image.
    """

    name: str
    concept: str
    language: str | None
    content: str | Image.Image

    @property
    def is_image(self) -> bool:
        """Whether the content is an image."""
        return self.language is None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoCorpus:
    """The items to index and the questions to ask.

    Attributes:
        items: One image and two passages per concept, mixed.
        queries: One text per concept and language, and one image per concept.
    """

    items: tuple[DemoItem, ...]
    queries: tuple[DemoItem, ...]


def demo_corpus(seed: int = 0) -> DemoCorpus:
    """Return the corpus of a seed: 77 images, 154 passages, 385 questions in five languages and 77 by image."""
    rng = random.Random(seed)
    items = [_image("image", concept, rng) for concept in CONCEPTS]
    queries: list[DemoItem] = []
    items += [
        _text("passage", concept, code, rng.choice(new_passages(concept, code)))
        for concept in CONCEPTS
        for code in rng.sample(tuple(LANGUAGES), _PASSAGE_LANGUAGES)
    ]
    for code, language in LANGUAGES.items():
        for concept in CONCEPTS:
            choice = language.new_texts.get(concept) or new_queries(concept, code)
            queries.append(_text("query", concept, code, rng.choice(choice)))
    queries += [_image("query", concept, rng) for concept in CONCEPTS]
    rng.shuffle(items)
    return DemoCorpus(items=tuple(items), queries=tuple(queries))


def _image(role: str, concept: str, rng: random.Random) -> DemoItem:
    image = draw(concept, seed=rng.randrange(UNSEEN_SEED, 1000 * UNSEEN_SEED), size=random_size(rng))
    return DemoItem(name=_name(role, "image", concept), concept=concept, language=None, content=image)


def _text(role: str, concept: str, code: str, text: str) -> DemoItem:
    return DemoItem(name=_name(role, code, concept), concept=concept, language=code, content=text)


def _name(*parts: str) -> str:
    return "-".join(dict.fromkeys(parts)).replace(" ", "-")
