"""What answers a reranker's calls: an engine, and the prompts of pairs."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..embedding.building import Build
from ..embedding.engine_user import EngineUser
from ..embedding.outcomes import Outcome
from ..embedding.pipeline import Progress, work_on
from ..embedding.progress import progress_bar
from ..embedding.telemetry import add_failed, observed_ranking
from ..engine.pool import EnginePool
from ..engine.protocol import Engine
from ..inputs.items import BadItem, Checked, Item, good, mixed
from ..prompts.pairs import PairBuilder
from ..settings import OnError, check_on_error
from .prompt_builders import Loader, from_checkpoint
from .scores import Judging, Logits, scores_of
from .settings import RankingSettings, check_instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """One call: a query and its documents, checked.

    Attributes:
        query: A text, an image, or both.
        items: The documents.
        instruction: What the prompt has for it.
        on_error: What is done with documents that have no score.
        show_progress: None takes the reranker's.
    """

    query: Item
    items: Sequence[Checked]
    instruction: str
    on_error: OnError
    show_progress: bool | None = None


class RankingBackend(EngineUser[PairBuilder]):
    """Computes the logits of pairs."""

    def __init__(
        self,
        settings: RankingSettings,
        pool: EnginePool,
        *,
        owner: str,
        builder: PairBuilder | None = None,
        load: Loader = from_checkpoint,
    ) -> None:
        """Keep the settings; nothing starts.

        Args:
            settings: Checked settings.
            pool: Where engines come from.
            owner: The reranker's name in errors.
            builder: Builds the prompts where the tokenizer came from servers.
            load: Makes the builder at the first request if none was passed.
        """
        self.settings = settings
        super().__init__(settings.engine, pool, owner=owner, load=partial(load, settings, pool), builder=builder)

    def pairs(
        self,
        query: object,
        items: Iterable[object],
        *,
        instruction: str | None,
        on_error: OnError | None,
        show_progress: bool | None,
    ) -> Pairs:
        """Return a call with everything checked; see ``JinaReranker.score``.

        Raises:
            InputError: The query is not a text, an image or both.
            ConfigError: The model's prompt has no place for an instruction, or ``on_error`` is unknown.
        """
        (asked,) = mixed([query], name="query")
        if isinstance(asked, BadItem):
            raise asked.error.at("query", 0)
        settings = self.settings
        return Pairs(
            query=replace(asked, where="query"),  # without a place in a list
            items=mixed(items),
            instruction=(
                settings.instruction if instruction is None else check_instruction(settings.checkpoint, instruction)
            ),
            on_error=settings.on_error if on_error is None else check_on_error(on_error),
            show_progress=show_progress,
        )

    def run(self, call: Pairs) -> Logits:
        """Return the logits ``(n_items,)`` of a call, NaN for documents that were skipped.

        Raises:
            InputError: The query cannot be used, or documents cannot and are not to be skipped.
            ClosedError: After ``close``.
        """
        self.check_open()
        with observed_ranking(self.settings.checkpoint.name, self.settings.engine, call.items):
            if not good(call.items):
                return self._checked(call, Outcome(embeddings=np.empty(0)))
            with progress_bar(self.settings, len(call.items), call.show_progress, what="Ranking") as bar:
                outcome = self.wait(self._submit(call, *self._prepared(call), bar.update))
            return self._checked(call, outcome)

    async def arun(self, call: Pairs) -> Logits:
        """Await ``run``."""
        self.check_open()
        with observed_ranking(self.settings.checkpoint.name, self.settings.engine, call.items):
            if not good(call.items):
                return self._checked(call, Outcome(embeddings=np.empty(0)))
            with progress_bar(self.settings, len(call.items), call.show_progress, what="Ranking") as bar:
                # In a thread: it starts the engine, and opens the images of the query. Nothing is computed there for a
                # caller that was cancelled meanwhile.
                prepared = await asyncio.to_thread(self._prepared, call)
                outcome = await self.awaited(self._submit(call, *prepared, bar.update))
            return self._checked(call, outcome)

    def _prepared(self, call: Pairs) -> tuple[Engine, Build]:
        """Return the engine, and what builds the prompts of a call's documents."""
        engine, builder = self.ready()
        longest = min(self.settings.max_length, engine.max_tokens)
        documents = builder.for_query(call.query, instruction=call.instruction, max_length=longest)
        return engine, partial(documents.build, max_length=longest, truncate=self.settings.truncate)

    def _submit(
        self, call: Pairs, engine: Engine, build: Build, progress: Progress
    ) -> concurrent.futures.Future[Outcome]:
        return engine.run(work_on(good(call.items), engine=engine, build=build, plan=Judging(), progress=progress))

    def _checked(self, call: Pairs, outcome: Outcome) -> Logits:
        """Return the logits of all documents; warn, and raise, as the call says."""
        logits = np.full(len(call.items), np.nan)
        logits[[not isinstance(item, BadItem) for item in call.items]] = outcome.embeddings
        errors = [item.error for item in call.items if isinstance(item, BadItem)] + outcome.errors
        whole = Outcome(
            embeddings=scores_of(logits),
            errors=sorted(errors, key=lambda error: error.positions),
            truncated=outcome.truncated,
        )
        add_failed(call.items, whole)
        whole.checked(self.settings, on_error=call.on_error, skipped="scores are NaN")
        return logits
