"""The local engine: one ``AsyncLLM`` on its own event loop, in processes of its own, for every thread and loop.

vllm is imported when an engine starts, not before.
``AsyncLLM`` batches concurrent callers; a bare ``vllm.LLM`` must never be shared by threads.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import itertools
import logging
import multiprocessing
import os
import shutil
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from ..._arrays import Floats
from ..._extras import require
from ..._instruments import Places
from ..._telemetry import add_tokens, engine_start
from ...checkpoints.description import Model
from ...checkpoints.files import locate
from ...checkpoints.weights.lora import Adapters
from ...checkpoints.weights.task_adapters import adapters_of
from ...errors import ClosedError, EngineDeadError, EngineError
from ...prompts.base import Prompt
from ..config import LocalConfig
from ..loop import LoopThread
from ..plugin_contract import PATIENT, QUESTION_SECONDS, ROWS_TASK, URGENT, WEIGHTS_TASK
from ..protocol import TokenStates
from .answers import finite, parted, unit
from .arguments import TOKENIZERS, check_remote_code, engine_arguments, environment, memory_kept, variables
from .checks import check
from .image_threads import ImageThreads
from .processes import check_process, engine_processes, guard_advice, make_folder
from .requests import is_death, rendered, translated, vllm_params
from .vllm_versions import warn_if_newer

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


class LocalEngine:
    """A vLLM pooling engine. Start-up blocks for as long as vLLM needs."""

    def __init__(self, config: LocalConfig) -> None:
        check_process(config.options)
        check_remote_code(config)
        self._config = config
        self._projector = config.row.projector if isinstance(config.row, Model) else None
        self._skipped = int(self._projector is not None and self._projector.skips_first)
        self._location = locate(config.location, config.revision)
        self._pid = os.getpid()
        self._while_open = contextlib.ExitStack()
        self._folder: str | None = None
        self._thread = LoopThread("vllm-jina-embed")
        self._numbers = itertools.count()
        # One thread beside vLLM's cache of images: it must see them in the order in which the engine gets them.
        self._image_threads = ImageThreads(1 if config.options.get("mm_processor_cache_gb") else None)
        self._llm: Any = None
        self._restartable = False
        self._last_question = float("-inf")
        self._adapters: Adapters | None = None
        self._while_open.enter_context(variables(TOKENIZERS))
        others = multiprocessing.active_children()
        start = self.run(self._start())
        try:
            start.result()
        except BaseException:  # Ctrl-C included: vLLM's start cannot be cancelled, but fails when its process ends
            while not start.done():
                for process in set(multiprocessing.active_children()).difference(others):
                    if process.name.startswith("EngineCore"):
                        process.kill()
                concurrent.futures.wait([start], timeout=0.1)
            self.close()
            raise
        # vLLM leaves a million objects here; each full collection would stop every thread for half a second.
        gc.collect()
        gc.freeze()

    def run(self, job: Coroutine[Any, Any, Result]) -> concurrent.futures.Future[Result]:
        """See ``Engine.run``."""
        return self._thread.run(job)

    async def embed(
        self, prompt: Prompt, *, dimensions: int, task: str, urgent: bool = False, normalize: bool = True
    ) -> Floats:
        """See ``Engine.embed``."""
        shorter = dimensions if dimensions < self._dimensions else None  # vLLM checks any other value slowly
        params = vllm_params("embed", dimensions=shorter, use_activation=None if normalize else False)
        vector: Floats = (await self._answer(prompt, task, urgent, params)).outputs.data.numpy()
        return unit(vector) if normalize else finite(vector)

    async def multi_vector(self, prompt: Prompt, *, task: str, urgent: bool = False) -> Floats:
        """See ``Engine.multi_vector``."""
        params = vllm_params("token_embed", use_activation=True, projected_for=self._projected_for(task))
        output = await self._answer(prompt, task, urgent, params)
        return finite(output.outputs.data.float().numpy())

    async def both(
        self, prompt: Prompt, *, dimensions: int, task: str, urgent: bool = False, normalize: bool = True
    ) -> tuple[Floats, Floats]:
        """See ``Engine.both``; one request."""
        own = {"projected_for": self._projected_for(task), "embedding": (dimensions, normalize)}
        params = vllm_params("token_embed", use_activation=True, **own)
        output = await self._answer(prompt, task, urgent, params)
        count = len(output.prompt_token_ids) - self._skipped
        vector, rows = parted(output.outputs.data.float().numpy(), dimensions, count)
        return unit(vector) if normalize else finite(vector), finite(rows)

    async def token_weights(self, prompt: Prompt, *, task: str) -> Floats:
        """See ``Engine.token_weights``."""
        params = vllm_params("token_embed", use_activation=False, projected_for=WEIGHTS_TASK)
        return finite((await self._answer(prompt, task, False, params)).outputs.data.float().numpy()[:, 0])

    async def logit(self, prompt: Prompt, *, urgent: bool = False) -> float:
        """See ``Engine.logit``."""
        output = await self._answer(prompt, "", urgent, vllm_params("classify", use_activation=False))
        return float(finite(output.outputs.data.float().numpy().reshape(-1))[0])

    async def token_states(self, prompt: Prompt, *, task: str) -> TokenStates:
        """See ``Engine.token_states``."""
        # Raw states: normalised tokens must not be averaged.
        output = await self._answer(prompt, task, False, vllm_params("token_embed", use_activation=False))
        return TokenStates(token_ids=tuple(output.prompt_token_ids), states=output.outputs.data.float().numpy())

    def _projected_for(self, task: str) -> str | None:
        """Return what the plugin is to project the rows of a multi-vector for; None where states are the rows."""
        if self._adapters is not None and self._adapters.has_projector:
            return task
        return None if self._projector is None else ROWS_TASK

    def close(self) -> None:
        """See ``Engine.close``; in a forked child there is nothing to close."""
        if os.getpid() != self._pid:
            return
        if self._llm is not None:
            self.run(self._stop()).result()
            self.places.close()
            gc.unfreeze()  # vLLM's objects may be collected now
        self._thread.close()
        self._image_threads.close()
        self._while_open.close()
        self._remove_folder()

    def _launch(self) -> Any:
        """Return a started ``AsyncLLM`` with a new folder; the folder of a dead one is removed."""
        self._remove_folder()
        self._folder = make_folder()
        with variables(environment()):
            return _start_vllm(self._config, self._adapters, self._folder)

    def _remove_folder(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def _start(self) -> None:
        config = self._config
        if config.tasks:
            self._adapters = adapters_of(self._location, config.row, config.tasks)
        self._llm = self._launch()
        settings = self._llm.vllm_config
        self.max_tokens = int(settings.model_config.max_model_len)
        self._dimensions = int(settings.model_config.embedding_size)
        self._restart_lock = asyncio.Lock()
        # The requests of two steps: while one is computed, the next one's are packed and sent. One step's while
        # questions come: they wait for what is sent and answered in between.
        step = int(settings.scheduler_config.max_num_seqs)
        self.in_flight = 2 * step
        self._slots, self._fewer_slots = asyncio.Semaphore(2 * step), asyncio.Semaphore(step)
        self.places = Places(config.told, self.in_flight)
        hf_config = settings.model_config.hf_config
        options: dict[str, Any] = {"adapters": self._adapters, "dimensions": self._dimensions}
        await check(self, config, self._location, hf_config=hf_config, **options)

    async def _stop(self) -> None:
        """Shut vLLM down, on the loop: a restart that is under way there has ended."""
        llm, self._llm = self._llm, None
        if llm is not None:  # not if two threads close
            llm.shutdown()

    def _lora(self, task: str) -> Any | None:
        """Return vLLM's name for the adapter of ``task``; None where the weights are merged."""
        if self._adapters is None:
            return None
        from vllm.lora.request import LoRARequest

        return LoRARequest(task, 1 + self._config.tasks.index(task), str(self._adapters.folders[task]))

    async def _restart(self, dead: Any) -> None:
        """Start vLLM again after its process ended, but not twice without an answer in between."""
        async with self._restart_lock:
            if self._llm is not dead:
                return  # another request has restarted it
            if not self._restartable:
                raise EngineDeadError("vLLM's engine process ended, and ended again after a restart.")
            self._restartable = False
            logger.warning("vLLM's engine process ended; starting it again and repeating the lost requests.")
            dead.shutdown()
            with engine_start(self._config.told, restart=True):
                self._llm = self._launch()

    async def _answer(self, prompt: Prompt, task: str, urgent: bool, params: Any) -> Any:
        """Return vLLM's finished output; after a dead process or a lost cache entry, try once more."""
        none, now = contextlib.nullcontext(), time.monotonic()
        few = not urgent and now - self._last_question < QUESTION_SECONDS
        if urgent:
            self._last_question = now
        async with self.places.taken(self._fewer_slots if few else none, none if urgent else self._slots):
            llm = self._open()
            output = await self._try(llm, prompt, task, urgent, params)
            if output is None:
                if llm.errored:
                    await self._restart(llm)
                output = await self._try(self._open(), prompt, task, urgent, params)
        if output is None:
            raise EngineDeadError("vLLM's engine process ended twice while it worked on this item.")
        self._restartable = True
        add_tokens(len(output.prompt_token_ids))
        return output

    def _open(self) -> Any:
        """Return the running vLLM.

        Raises:
            ClosedError: After ``close``.
        """
        if self._llm is None:
            raise ClosedError("the engine is closed.")
        return self._llm

    async def _try(self, llm: Any, prompt: Prompt, task: str, urgent: bool, params: Any) -> Any | None:
        """Return the finished output, or None where a second try can help."""
        number, priority = f"jina-{next(self._numbers)}", URGENT if urgent else PATIENT
        try:
            request = await rendered(llm, prompt, self._image_threads)
            answers = llm.encode(request, params, number, lora_request=self._lora(task), priority=priority)
            outputs = [output async for output in answers]
        except Exception as error:
            if is_death(error):
                return None
            raise translated(error) from error
        # After a failed request vLLM 0.32 may answer the next one with the same image with an empty tensor.
        complete = getattr(outputs[-1], "error", None) is None and outputs[-1].outputs.data.numel() > 0
        return outputs[-1] if complete else None


def _start_vllm(config: LocalConfig, adapters: Adapters | None, folder: str | None) -> Any:
    """Return a started ``AsyncLLM``; it binds to the running loop.

    Raises:
        MissingExtraError: vLLM is not installed.
        EngineError: vLLM cannot be imported, or does not start.
    """
    require("vllm" if shutil.which("nvidia-smi") else "cpu", "vllm")
    with engine_processes(folder):  # before the import: a child forked during it would have half of vLLM
        return _from_arguments(config, adapters)


def _from_arguments(config: LocalConfig, adapters: Adapters | None) -> Any:
    try:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.platforms import current_platform
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM
    except Exception as error:  # a build that does not fit another raises OSError or RuntimeError too
        advice = "'vllm-jina-embed doctor' says what to do about it"
        raise EngineError(f"vLLM is installed but cannot be imported: {error} ({advice}).") from error
    warn_if_newer()
    try:
        cpu = current_platform.is_cpu()
        arguments = engine_arguments(config, cpu=cpu, adapters=adapters)
        with memory_kept(cpu=cpu):
            # LLM_CLASS: steps sized for bulk work; the default is that of the smallest machine.
            return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments), usage_context=UsageContext.LLM_CLASS)
    except Exception as error:
        raise EngineError(
            f"vLLM could not start on {config.location!r}: {type(error).__name__}: {error} "
            f"(set VLLM_LOGGING_LEVEL=INFO to see its log).{guard_advice()}"
        ) from error
