"""Compute the shards of a corpus in Ray actors, each with an engine of its own or as a client of servers.

The caller plans the shards as in one process and keeps the lock. An actor writes one shard at a time and its done file,
so what a run is killed in the middle of is known by the same journal.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from .._cores import usable_cores
from .._extras import require
from ..engine.config import RemoteConfig
from ..errors import ConfigError, EngineError
from .folders import PdfEntries
from .job import Job
from .journal import Journal
from .kept import Check
from .parquet_parts import Shape
from .plan import End, Part
from .reports import Progress, Silent
from .writer import Writer

LOCAL = "local"
STORE_BYTES = 512 * 1024 * 1024
"""Object store of a local Ray: it holds the entries of the shards under way, at most 64 KiB each."""
RESTARTS, RETRIES = 20, 3
"""How often an actor that died is started again, and how often a shard is tried again whose actor died."""
CLOSE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RayActors:
    """The Ray actors that compute a corpus.

    Attributes:
        address: Of a cluster (``auto``, ``HOST:PORT``); ``local`` starts Ray on this machine until the run ends; None
            takes ``RAY_ADDRESS`` where it is set, else ``local``. After ``ray.init`` the program's own is used.
        actors: How many; None takes as many as there are GPUs for, and 1 where there are none.
        num_gpus: GPUs of an actor; None takes 1 where there are any, and none for a client of servers.
        num_cpus: Cores of an actor; None takes a share of a local Ray's, and 1 elsewhere.
    """

    address: str | None = None
    actors: int | None = None
    num_gpus: float | None = None
    num_cpus: float | None = None


def write_on_ray(planned: Iterable[Part], pdfs: PdfEntries, job: Job, shape: Shape, where: RayActors) -> None:
    """Embed and write the shards of a plan in actors.

    Raises:
        ConfigError: Two processes cannot write to the place, or this machine has not the GPUs.
        MissingExtraError: Ray is not installed.
        EngineError: An actor died again and again; finished shards are kept.
        WriteError: As in one process.
    """
    if not job.place.is_shared:
        raise ConfigError(f"out={job.place.name!r} is open in one process alone; with Ray give a folder or a server.")
    with _connected(where) as ray:
        actors = _started(ray, job, shape, where)
        try:
            _write(ray, planned, pdfs, job, actors)
            _close(ray, actors)
        finally:
            for actor in actors:
                ray.kill(actor)


class ShardWriter:
    """Writes shards in a process of Ray; the engine starts with the first one."""

    def __init__(self, job: Job, shape: Shape) -> None:
        self._job, self._shape = job, shape

    def write(self, parts: list[Part], pdfs: PdfEntries) -> tuple[Progress, Counter[str], int]:
        """Embed and write a shard; return how far that is, the items without a vector by kind, and the texts cut."""
        job = replace(self._job, progress=Progress(), errors=Counter(), cut=0)
        with ExitStack() as stack:
            stack.enter_context(pdfs)
            destination = job.place.open(self._shape)
            stack.callback(destination.close)
            destination.check(is_known=True)
            journal = stack.enter_context(Journal(job.place.folder))
            Writer(job, journal, destination).write(parts, Check(self._shape.kept))
        return job.progress, job.errors, job.cut

    def close(self) -> None:
        """End the engine before Ray ends the process, so that vLLM does not miss it."""
        self._job.embedder.close()


@contextmanager
def _connected(where: RayActors) -> Iterator[Any]:
    """Give the module of Ray, connected; what was started here ends here."""
    require("ray", "ray")
    import ray

    if ray.is_initialized():
        yield ray
        return
    address = where.address or os.environ.get("RAY_ADDRESS") or LOCAL
    own: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        cores = max(usable_cores(), where.actors or 1)
        own |= {"num_cpus": cores, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    try:
        ray.init(**own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"Ray at {address!r} cannot be reached ({' '.join(str(error).split())[:300]}).") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _started(ray: Any, job: Job, shape: Shape, where: RayActors) -> list[Any]:
    """Start the actors; each waits for the cluster's resources."""
    resources = ray.cluster_resources()
    gpus = resources.get("GPU", 0.0)
    is_client = isinstance(job.embedder.settings.engine, RemoteConfig)
    each = where.num_gpus if where.num_gpus is not None else float(gpus > 0 and not is_client)
    count = where.actors or (max(1, int(gpus // each)) if each else 1)
    is_local = len(ray.nodes()) == 1
    cores = where.num_cpus if where.num_cpus is not None else max(1, resources["CPU"] // count) if is_local else 1
    if is_local and (count * each > gpus or count * cores > resources["CPU"]):
        raise ConfigError(
            f"{count} actors with {each:g} GPUs and {cores:g} cores each do not fit: Ray has {gpus:g} GPUs and "
            f"{resources['CPU']:g} cores."
        )
    plain = replace(job, report=Silent(), stop=None, sources=[])
    kind = ray.remote(ShardWriter).options(
        num_gpus=each, num_cpus=cores, max_restarts=RESTARTS, max_task_retries=RETRIES
    )
    return [kind.remote(plain, shape) for _ in range(count)]


def _write(ray: Any, planned: Iterable[Part], pdfs: PdfEntries, job: Job, actors: list[Any]) -> None:
    """Give each actor that is free the next shard; it is planned while they work."""
    free, running = deque(actors), dict[Any, Any]()
    for parts in _shards(planned):
        while not free:
            free += _finished(ray, running, job)
        if job.stop is not None and job.stop.is_set():  # while this shard, which is planned, waited for an actor
            job.complete = False
            break
        actor = free.popleft()
        running[actor.write.remote(parts, pdfs)] = actor
    while running:
        _finished(ray, running, job)


def _shards(planned: Iterable[Part]) -> Iterator[list[Part]]:
    parts: list[Part] = []
    for part in planned:
        parts.append(part)
        if isinstance(part, End):
            yield parts
            parts = []


def _finished(ray: Any, running: dict[Any, Any], job: Job) -> list[Any]:
    """Wait a second for shards, count them, and return the actors that are free."""
    done, _ = ray.wait(list(running), timeout=1.0)
    for reply in done:
        try:
            progress, errors, cut = ray.get(reply)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            raise EngineError(
                f"a Ray actor was lost ({' '.join(str(error).split())[:500]}). Every finished shard is kept: run the "
                "same command again."
            ) from error
        job.progress.rows += progress.rows
        job.progress.read += progress.read
        job.progress.shards += progress.shards
        job.progress.errors.update(progress.errors)
        job.errors.update(errors)
        job.cut += cut
    job.report.update(job.progress)
    return [running.pop(reply) for reply in done]


def _close(ray: Any, actors: list[Any]) -> None:
    """End the engines in order; one that is just starting again has nothing to end."""
    with suppress(ray.exceptions.RayError):
        ray.get([actor.close.remote() for actor in actors], timeout=CLOSE_SECONDS)
