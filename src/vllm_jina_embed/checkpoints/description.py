"""Descriptions of models, which every stage reads instead of comparing names: rows of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .prompt_pieces import Special, Template
from .row import Row
from .token_layer import TokenLayer

TASKS = ("retrieval", "text-matching", "code", "separation", "clustering", "classification")
"""What a row's prompts or weights may be for; each row has some of these."""

DEMO = "demo"
DEMO_FOLDER = Path(__file__).parent.parent / "demo" / "checkpoint"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Model(Row):
    """A row of models that embed items: their prompts, their pooling and the lengths of their vectors.

    Attributes (further ones are those of ``Row``):
        layer_norm: Whether what is pooled gets a layer norm without weights, over the full length, before it is cut.
        templates: The prompts by role (``query``, ``passage``; ``any`` for both) and modality (``text``, ``image``,
            and ``both`` if one item of a text with images was trained, its slots in the order that was trained).
            Nothing but these pieces stands in a prompt: the first and last token are pieces too. The name of a task in
            place of a role is for both roles in this task.
        padding: The special token that prompts of texts are filled up with, at their end, to as many tokens as the
            checkpoint takes, where it was trained so: the others see it. None for no padding.
        image_positions: With positions in three directions, whether the patches of an image were trained on a ``grid``,
            as vLLM places them, or in one ``line`` with the tokens around them.
        symmetric_tasks: Tasks in which both roles get the prompt of a query.
        architecture: The plugin's architecture that vLLM loads; None for vLLM's own, with this row's pooling.
        adapter_architecture: The same for a checkpoint with an adapter per task, where a projector has some too.
        vllm_architecture: vLLM's own name of the architecture, with this row's pooling, where config.json has another.
        reversed_states: Whether vLLM's class gives the states of a text from the last token to the first; the plugin
            puts them in order.
        adapters: By role (or ``any``) and task, the place of its adapter in weights that hold all of them stacked;
            empty where there is none. A prompt's ids say which one (``adapted_ids``).
        size_key: Where the length of an embedding stands in config.json, if that is not the ``hidden_size`` of the
            text's model: a key, or ``text_config.`` and a key in there. If it is missing, the layout's ``defaults``
            have it; if not, it is ``hidden_size``.
        tasks: Tasks out of ``TASKS``, the default first; ``task_names`` of config.json may choose among several.
        matryoshka_sizes: Lengths below the full one that were trained, where ``matryoshka_dims`` or
            ``matryoshka_dimensions`` of config.json does not say so; empty if none was.
        min_dimensions: Where every length from some one to the full one was trained, the smallest; None elsewhere.
        token_dimensions: Length of one row of a multi-vector of a checkpoint with adapters, where
            ``multi_vector_projector_dim`` of config.json does not say so; None for the full length.
        score: How a query and an item are compared unless a caller says so: by ``cosine``, or by ``maxsim``.
        token_vectors: Whether the states of its tokens mean anything as a multi-vector.
        projector: Makes the rows of multi-vectors of token states; None where states are the rows, or adapters have it.
        token_weights: What makes the weight of a token of its state (a negative one is 0); None where none was trained.
        vectors_before: By digest, what ``vectors`` was before rows had digests; it holds for that digest alone.
    """

    layer_norm: bool = False
    templates: Mapping[tuple[str, str], Template]
    padding: Special | None = None
    image_positions: Literal["grid", "line"] = "grid"
    symmetric_tasks: tuple[str, ...] = ()
    architecture: str | None = None
    adapter_architecture: str | None = None
    reversed_states: bool = False
    adapters: Mapping[tuple[str, str], int] = field(default_factory=dict)
    size_key: str = ""
    tasks: tuple[str, ...] = ("retrieval",)
    matryoshka_sizes: tuple[int, ...] = ()
    min_dimensions: int | None = None
    token_dimensions: int | None = None
    score: Literal["cosine", "maxsim"] = "cosine"
    token_vectors: bool = True
    projector: TokenLayer | None = None
    token_weights: TokenLayer | None = None
    vectors_before: Mapping[str, str] = field(default_factory=dict)

    @property
    def takes_images(self) -> bool:
        """Whether images have embeddings too."""
        return any(modality == "image" for _, modality in self.templates)

    @property
    def takes_both(self) -> bool:
        """Whether a text with its images, as one item, has an embedding too."""
        return any(modality == "both" for _, modality in self.templates)

    @property
    def pieces(self) -> Template:
        """Everything that its prompts are made of."""
        own = (*self.image, *(piece for template in self.templates.values() for piece in template))
        return own if self.padding is None else (*own, self.padding)

    def template(self, modality: str, role: str, task: str) -> Template:
        """Return the prompt of an item.

        Args:
            modality: ``text``, ``image`` or ``both``.
            role: ``query`` or ``passage``.
            task: One of ``TASKS``.

        Raises:
            KeyError: There is none for this modality.
        """
        roles = (task, "query" if task in self.symmetric_tasks else role, "any")
        return self.templates[(next((one for one in roles if (one, modality) in self.templates), "any"), modality)]

    def adapter(self, role: str, task: str) -> int | None:
        """Return the place of the adapter that computes a prompt; None if no prompt has one.

        Raises:
            KeyError: There is none for this role and task.
        """
        return self.adapters[(role if (role, task) in self.adapters else "any", task)] if self.adapters else None

    @property
    def checked_tasks(self) -> tuple[str, ...]:
        """Tasks whose weights differ within one engine, each to be checked; one without a name if none do."""
        return self.tasks if self.adapters else ("",)

    @property
    def vectors(self) -> str:
        """The way this row makes vectors; changes whenever an equal input could give another vector.

        It stands in the keys of users' caches and indexes.
        """
        digest = self.digest
        return self.vectors_before.get(digest, f"vllm-jina-embed/2/{digest}")
