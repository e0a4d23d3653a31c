"""The backend that embeds with an engine, which the first request takes from a pool.

Every request runs as one coroutine on the engine's loop; ``run`` waits for it, ``arun`` awaits it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from dataclasses import replace

from .._forks import fork_safe_lock
from ..engine.pool import EnginePool
from ..engine.protocol import Engine
from ..errors import ClosedError, EngineError
from ..prompts.base import Builder, check_role
from ..settings import Settings
from .abilities import check_request
from .backend import Request
from .fusion import embed_fused
from .outcomes import Outcome
from .pipeline import Plan, Progress, embed_items
from .progress import progress_bar
from .prompt_builders import Loader, from_checkpoint


class EngineBackend:
    """One user of an engine.

    Attributes:
        settings: Checked settings, which choose the engine and the prompts.
        engine: The running engine; None before the first request and after ``close``.
        builder: Builds prompts; None before the first request, unless it was passed.
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
        self.engine: Engine | None = None
        self.builder = builder
        self._pool, self._owner, self._load = pool, owner, load
        self._lock = fork_safe_lock(self)
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def close(self) -> None:
        """Give the engine back; its last user stops it. Further calls do nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            engine, self.engine = self.engine, None
        if engine is not None:
            self._pool.release(self.settings.engine)

    def ready(self) -> tuple[Engine, Builder]:
        """Return the running engine and the prompt builder; start what is missing.

        Raises:
            ConfigError: There is no usable tokenizer, vLLM cannot be started with these settings, or the settings were
                pickled and the checkpoint is another one here.
            EngineError: vLLM did not start.
            ClosedError: After ``close``.
        """
        settings = self.settings
        with self._lock:
            self._check_open()
            if self.builder is None:
                self.builder = self._load(settings, self._pool)
            if self.engine is None:
                self.engine = self._pool.acquire(settings.engine)
            return self.engine, self.builder

    def run(self, request: Request) -> Outcome:
        """See ``Backend.run``."""
        plan = self._plan(request)
        if not request.items:
            return Outcome(embeddings=plan.empty(0))
        with progress_bar(self.settings, len(request.items), request.show_progress) as bar:
            future = self._submit(request, plan, bar.update)
            try:
                return future.result()
            except (concurrent.futures.CancelledError, EngineError) as error:
                raise (stop := self._interrupted(error)) from stop.__cause__
            except BaseException:  # Ctrl-C included: take the waiting requests out of the engine
                future.cancel()
                raise

    async def arun(self, request: Request) -> Outcome:
        """See ``Backend.arun``."""
        plan = self._plan(request)
        if not request.items:
            return Outcome(embeddings=plan.empty(0))
        with progress_bar(self.settings, len(request.items), request.show_progress) as bar:
            if self.engine is None:
                await asyncio.to_thread(self.ready)
            future = self._submit(request, plan, bar.update)
            try:
                return await asyncio.wrap_future(future)
            except asyncio.CancelledError as error:
                caller = asyncio.current_task()
                if caller is None or caller.cancelling():  # the caller was cancelled, not the engine
                    raise
                raise (stop := self._interrupted(error)) from stop.__cause__
            except EngineError as error:
                raise (stop := self._interrupted(error)) from stop.__cause__

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"{self._owner} is closed.")

    def _interrupted(self, error: BaseException) -> EngineError:
        """Return the error of an unanswered call: ``ClosedError`` if the engine was closed, else the engine's own."""
        if isinstance(error, EngineError) and not self._closed:
            return error
        return ClosedError(f"{self._owner}: the engine was closed before this call was done.")

    def _plan(self, request: Request) -> Plan:
        self._check_open()
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
            weights=request.weights,
        )

    def _submit(self, request: Request, plan: Plan, progress: Progress) -> concurrent.futures.Future[Outcome]:
        engine, builder = self.ready()
        plan = replace(plan, unweighted=builder.unweighted) if plan.weights else plan
        is_plain = self.settings.fusion is None or plan.ends is not None or plan.weights
        embed = embed_items if is_plain else embed_fused
        return engine.run(embed(request.items, engine=engine, builder=builder, plan=plan, progress=progress))
