"""The result of the demo: rankings, and recall@1 per language and direction. Pure computation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Final

from PIL import Image

from vllm_jina_embed.demo.corpus import DemoItem

REQUIRED_RECALL: Final = 0.95
IMAGE: Final = "image"
"""The asker of questions by image; the other askers are languages."""

Recall = dict[str, dict[str, float]]
"""Asker (a language's code or ``image``) -> direction -> recall@1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One item of a ranking.

    Attributes:
        item: The item.
        score: Its cosine to the question, as returned by the framework.
    """

    item: DemoItem
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The whole mixed index, ranked for one question.

    Attributes:
        query: The question.
        hits: Every image and passage, best first.
    """

    query: DemoItem
    hits: tuple[Hit, ...]

    def is_right(self, hit: Hit) -> bool:
        """Whether the hit shows the question's concept."""
        return hit.item.concept == self.query.concept

    def first_is_right(self, *, image: bool) -> bool:
        """Whether the best ranked image (or passage) shows the question's concept."""
        first = next((hit for hit in self.hits if hit.item.is_image == image), None)
        return first is not None and self.is_right(first)

    def rank_of_right(self, *, image: bool) -> int | None:
        """Rank, from 1, of the first image (or passage) that shows the question's concept; None without one."""
        for rank, hit in enumerate(self.hits, 1):
            if hit.item.is_image == image and self.is_right(hit):
                return rank
        return None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matched:
    """What a question matches in an image.

    Attributes:
        all_words: The image with the mean of all tokens in red.
        word: The token that matches best, as it is spelled.
        one_word: The image with that token's in red.
        value: Its dot product with its best patch.
        grid: Rows and columns of patches.
    """

    all_words: Image.Image
    word: str
    one_word: Image.Image
    value: float
    grid: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One question, stage by stage.

    Attributes:
        query: The question, a text.
        stages: Title of a stage -> its first hits, with its own scores.
        matched: What it matches in the right image, where the model tells.
    """

    query: DemoItem
    stages: Mapping[str, tuple[Hit, ...]]
    matched: Matched | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """Everything that the report and ``results.json`` show.

    Attributes:
        model: The model's name.
        answers: Framework -> its answers; the questions are the same and in the same order.
        engines: vLLM engines that ran while both frameworks were in use.
        seconds: Stage -> seconds.
        versions: Package -> version.
        machine: Description of the machine.
        finished: Date and time in ISO 8601.
        looks: Some questions stage by stage; none where the model has no multi-vectors.
    """

    model: str
    answers: Mapping[str, Sequence[Answer]]
    engines: int
    seconds: Mapping[str, float]
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    finished: str
    looks: Sequence[Look] = ()
    recall: Mapping[str, Recall] = field(init=False)

    def __post_init__(self) -> None:
        """Compute ``recall``."""
        recall = {framework: recall_at_1(answers) for framework, answers in self.answers.items()}
        object.__setattr__(self, "recall", recall)

    @property
    def items(self) -> tuple[DemoItem, ...]:
        """The indexed items."""
        return tuple(hit.item for hit in next(iter(self.answers.values()))[0].hits)

    @property
    def same_first(self) -> int:
        """Number of questions to which all frameworks give the same first hit."""
        return sum(len({answer.hits[0].item.name for answer in answers}) == 1 for answers in self.by_question())

    @property
    def shortfalls(self) -> list[tuple[str, str, str, float]]:
        """Framework, asker, direction and value of every recall@1 under the required one."""
        return [
            (framework, asker, direction, value)
            for framework, askers in self.recall.items()
            for asker, directions in askers.items()
            for direction, value in directions.items()
            if not value >= REQUIRED_RECALL
        ]

    def by_question(self) -> list[tuple[Answer, ...]]:
        """The frameworks' answers side by side, one tuple per question."""
        return list(zip(*self.answers.values(), strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``results.json``."""
        images = sum(item.is_image for item in self.items)
        return {
            "model": self.model,
            "finished": self.finished,
            "passed": not self.shortfalls,
            "required_recall_at_1": REQUIRED_RECALL,
            "recall_at_1": {name: dict(askers) for name, askers in self.recall.items()},
            "engines": self.engines,
            "index": {"images": images, "passages": len(self.items) - images},
            "questions": len(self.by_question()),
            "same_first_hit": self.same_first,
            "seconds": {stage: round(value, 2) for stage, value in self.seconds.items()},
            "versions": dict(self.versions),
            "machine": dict(self.machine),
        }


def directions(query: DemoItem) -> dict[str, bool]:
    """Return the measured directions of a question, and whether the answer of each is an image."""
    if query.is_image:
        return {"image_to_image": True}
    return {"text_to_image": True, "text_to_text": False}


def recall_at_1(answers: Sequence[Answer]) -> Recall:
    """Return the share of questions whose best ranked image, or passage, shows the question's concept.

    Args:
        answers: One per question.

    Returns:
        Asker -> direction -> recall@1 from 0 to 1, in the order of the questions.
    """
    right: dict[str, dict[str, list[bool]]] = {}
    for answer in answers:
        asker = right.setdefault(answer.query.language or IMAGE, {})
        for direction, image in directions(answer.query).items():
            asker.setdefault(direction, []).append(answer.first_is_right(image=image))
    return {asker: {way: round(fmean(marks), 4) for way, marks in ways.items()} for asker, ways in right.items()}
