"""The backend that embeds with an engine, which the first request takes from a pool.

Every request runs as one coroutine on the engine's loop; ``run`` waits for it, ``arun`` awaits it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

from ..engine.pool import EnginePool
from ..prompts.base import Builder, check_role
from ..settings import Settings
from .abilities import check_request
from .backend import Request
from .both_kinds import embed_both_kinds
from .engine_user import EngineUser
from .fusion import embed_fused
from .outcomes import Outcome
from .pipeline import Plan, Progress, embed_items
from .progress import progress_bar
from .prompt_builders import Loader, from_checkpoint


class EngineBackend(EngineUser[Builder]):
    """The backend of an embedder, which is one user of an engine.

    Attributes:
        settings: Checked settings, which choose the engine and the prompts.
    """

    def __init__(
        self,
        settings: Settings,
        pool: EnginePool,
        *,
        owner: str,
        builder: Builder | None = None,
        load: Loader = from_checkpoint,
    ) -> None:
        """Keep the settings; nothing starts.

        Args:
            settings: Checked settings.
            pool: Where engines come from.
            owner: The embedder's name in errors.
            builder: Builds prompts; pass it where the tokenizer is not among the checkpoint's files.
            load: Makes the builder at the first request if none was passed.
        """
        self.settings = settings
        super().__init__(settings.engine, pool, owner=owner, load=partial(load, settings, pool), builder=builder)

    def run(self, request: Request) -> Outcome:
        """See ``Backend.run``."""
        plan = self._plan(request)
        if not request.items:
            return Outcome(embeddings=plan.empty(0))
        with progress_bar(self.settings, len(request.items), request.show_progress) as bar:
            return self.wait(self._submit(request, plan, bar.update))

    async def arun(self, request: Request) -> Outcome:
        """See ``Backend.arun``."""
        plan = self._plan(request)
        if not request.items:
            return Outcome(embeddings=plan.empty(0))
        with progress_bar(self.settings, len(request.items), request.show_progress) as bar:
            if self.engine is None:
                await asyncio.to_thread(self.ready)
            future = self._submit(request, plan, bar.update)
            return await self.awaited(future)

    def _plan(self, request: Request) -> Plan:
        self.check_open()
        settings = self.settings.for_call(dimensions=request.dimensions, task=request.task, normalize=request.normalize)
        checkpoint = settings.checkpoint
        check_role(request.prompt_name)
        check_request(checkpoint, request)
        return Plan(
            task=settings.task,
            role=request.prompt_name,
            dimensions=checkpoint.token_dimensions if request.multi_vector else settings.dimensions,
            max_length=settings.max_length,
            truncate=settings.truncate,
            normalize=settings.normalize,
            long_text=settings.long_text,
            ends=request.ends,
            layer_norm=checkpoint.row.layer_norm,
            urgent=request.prompt_name == "query",
            multi=request.multi_vector,
            both=request.both,
            token_dimensions=checkpoint.token_dimensions,
            weights=request.weights,
        )

    def _submit(self, request: Request, plan: Plan, progress: Progress) -> concurrent.futures.Future[Outcome]:
        engine, builder = self.ready()
        plan = replace(plan, unweighted=builder.unweighted) if plan.weights else plan
        is_plain = self.settings.fusion is None or plan.ends is not None or plan.weights
        embed: Callable[..., Coroutine[Any, Any, Outcome]] = embed_items if is_plain else embed_fused
        if plan.both:
            embed = partial(embed_both_kinds, is_fused=not is_plain)
        return engine.run(embed(request.items, engine=engine, builder=builder, plan=plan, progress=progress))
