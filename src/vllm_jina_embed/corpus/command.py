"""Run the commands embed and search: arguments to calls, and what the calls return to lines."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from ..embedder import JinaEmbedder
from ..errors import ConfigError, InputError
from ..frameworks.shown_text import visible
from ..inputs.policy import MediaPolicy
from .embed import ROWS_PER_FILE, embed_corpus
from .entries import Columns
from .estimate import estimate_corpus
from .opened import Corpus, Row, open_corpus
from .page import write_page
from .ray_shards import RayActors
from .reports import JsonReport, Report, TerminalReport
from .search import embedder_of, search_corpus
from .terminal_images import shown_by

SHOWN = 300
"""Characters of a text that a result shows."""
STOPPED = 130
STOPPING = b"\nStopping after this shard. Press Ctrl-C again to stop at once; the shard is then computed again later.\n"


def embed(options: argparse.Namespace) -> int:
    """Run the command embed and return its exit code."""
    columns = Columns(
        id=options.id,
        text=options.text,
        image=options.image,
        image_root=options.image_root,
        keep=tuple(options.keep),
        pages=options.pages,
        dpi=options.dpi,
    )
    what: dict[str, Any] = {name: getattr(options, name) for name in ("vectors", "pool_factor", "dtype", "limit")}
    with _embedder(options) as embedder:
        if options.dry_run:
            estimate = estimate_corpus(
                options.sources, options.out, embedder=embedder, columns=columns, rate=options.rate, **what
            )
            _write(estimate.text() if sys.stdout.isatty() else estimate.json(), sys.stdout)
            return 0
        report: Report = TerminalReport(sys.stderr) if sys.stderr.isatty() else JsonReport(sys.stderr)
        with _stopping() as stop:
            summary = embed_corpus(
                options.sources,
                options.out,
                embedder=embedder,
                columns=columns,
                rows_per_file=ROWS_PER_FILE if options.rows_per_file is None else options.rows_per_file,
                shard=options.shard,
                overwrite=options.overwrite,
                retry_errors=options.retry_errors,
                report=report,
                stop=stop,
                journal=options.journal,
                ray=_ray(options),
                **what,
            )
    _write(summary.text() if sys.stdout.isatty() else summary.json(), sys.stdout)
    if not summary.complete:
        return STOPPED
    has_failed = bool(summary.errors) and (options.strict or not summary.rows + summary.known)
    return 1 if has_failed else 0


def search(options: argparse.Namespace) -> int:
    """Run the command search and return its exit code."""
    if (options.query is None) == (options.image is None):
        raise ConfigError("pass a QUERY or --image FILE, one of them.")
    given = {name: getattr(options, name) for name in ("engine_kwargs", "api_key")}
    with open_corpus(options.corpus, journal=options.journal) as corpus:
        with embedder_of(corpus, servers=options.server, media=MediaPolicy(), **given) as embedder:
            what: dict[str, Any] = {"query": options.query, "image": options.image, "count": options.count}
            rows = search_corpus(corpus, embedder=embedder, **what)
        show = shown_by(os.environ) if sys.stdout.isatty() and not options.json and not options.no_images else None
        for number, row in enumerate(rows, 1):
            _write(_json(row) if options.json else _shown(number, row), sys.stdout)
            if show is not None and (image := _image(corpus, row)) is not None:
                _write(show(image), sys.stdout)
        if options.html is not None:
            write_page(options.html, corpus, rows, query=options.query or str(options.image))
            _write(f"Written: {options.html}", sys.stderr)
    return 0


def _embedder(options: argparse.Namespace) -> JinaEmbedder:
    names = ("revision", "task", "dimensions", "max_pixels", "max_length", "truncate", "fusion", "long_text")
    settings: dict[str, Any] = {name: getattr(options, name) for name in names}
    if options.server:
        if options.engine_kwargs is not None:
            raise ConfigError("--engine-kwargs belong to the server: pass them to 'vllm-jina-embed serve' after --.")
        keys = {"api_key": options.api_key, "pickle_api_key": options.ray is not None}
        return JinaEmbedder.from_server(options.server, model=options.model, **keys, **settings)
    if options.api_key is not None:
        raise ConfigError("--api-key is the key of a --server; there is none.")
    return JinaEmbedder(options.model or "demo", engine_kwargs=options.engine_kwargs, **settings)


def _ray(options: argparse.Namespace) -> RayActors | None:
    """Return the actors that are asked for.

    Raises:
        ConfigError: Some are described, and none are asked for.
    """
    described = {"actors": options.actors, "num_gpus": options.actor_gpus, "num_cpus": options.actor_cpus}
    if options.ray is not None:
        return RayActors(address=options.ray or None, **described)
    if any(value is not None for value in described.values()):
        raise ConfigError("--actors, --actor-gpus and --actor-cpus are of Ray: pass --ray.")
    return None


class _Stop:
    """Whether Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.pressed = False

    def is_set(self) -> bool:
        """Tell it."""
        return self.pressed


@contextmanager
def _stopping() -> Iterator[_Stop]:
    """Let the first Ctrl-C end the run after its shard, and the second at once."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.getsignal(signal.SIGINT)

    def stopped(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        stop.pressed = True
        os.write(2, STOPPING)  # no buffer of Python's, in which this may have interrupted a write

    signal.signal(signal.SIGINT, stopped)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _json(row: Row) -> str:
    values = {"id": row.id, "score": row.score, "text": row.text, **row.metadata}
    return json.dumps(values, ensure_ascii=False, default=str)


def _shown(number: int, row: Row) -> str:
    page = "" if row.page is None else f", page {row.page}"
    head = f"{number:>3}  {row.score:.4f}  {visible(row.id)}  ({row.kind}, {visible(row.source)}{page})"
    text = " ".join(row.text.split())
    return f"{head}\n     {visible(text[:SHOWN])}{' ...' if len(text) > SHOWN else ''}" if text else head


def _image(corpus: Corpus, row: Row) -> Any:
    """Return a row's image; None for a text, and for an image that is not there any more."""
    try:
        loaded = corpus.image(row)
    except (InputError, OSError):
        return None
    return None if loaded is None else loaded.pixels


def _write(text: str, file: TextIO) -> None:
    """Write lines; characters that the terminal cannot show are escaped."""
    encoding = file.encoding or "utf-8"
    file.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    file.flush()
