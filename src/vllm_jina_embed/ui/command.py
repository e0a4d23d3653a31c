"""Run the command ui: arguments to calls."""

from __future__ import annotations

import argparse
import os
from typing import Any

from .._addresses import check_address
from .._extras import require
from ..corpus import Corpus, embedder_of
from ..embedder import JinaEmbedder
from ..errors import ConfigError
from ..mcp.opening import embedder_for, opened
from .arguments import KEY_VARIABLE, SERVER_KEY_VARIABLE
from .shelf import MEDIA

OF_THE_MODEL = ("model", "revision", "task", "dimensions")


def ui(options: argparse.Namespace) -> int:
    """Run the command ui and return its exit code."""
    key = options.api_key if options.api_key is not None else os.environ.get(KEY_VARIABLE) or None
    check_address(options.host, key, KEY_VARIABLE)
    require("ui", "nicegui")
    from .searching import Searcher
    from .serving import serve

    corpus = _corpus(options)
    try:
        searcher = Searcher(_embedder(options, corpus), corpus, read_files=options.read_files)
    except BaseException:
        if corpus is not None:
            corpus.close()
        raise
    with searcher:
        what: dict[str, Any] = {"host": options.host, "port": options.port, "allow_hosts": options.allow_host}
        serve(searcher, api_key=key, is_opened=not options.no_open, **what)
    return 0


def _corpus(options: argparse.Namespace) -> Corpus | None:
    """Return the corpus that is named.

    Raises:
        ConfigError: It cannot be opened, or options do not go together.
    """
    if options.corpus is None:
        if options.journal is not None or options.read_files:
            raise ConfigError("--journal and --read-files are of a CORPUS; there is none.")
        return None
    for name in OF_THE_MODEL:
        if getattr(options, name) is not None:
            raise ConfigError(f"--{name} is that of the CORPUS. Leave it out.")
    return opened(options.corpus, journal=options.journal)


def _embedder(options: argparse.Namespace, corpus: Corpus | None) -> JinaEmbedder:
    """Return the embedder; nothing starts.

    Raises:
        ConfigError: Its settings are wrong, or no server answers as it should.
    """
    if options.server and options.engine_kwargs is not None:
        raise ConfigError("--engine-kwargs belong to the server: pass them to 'vllm-jina-embed serve' after --.")
    key = os.environ.get(SERVER_KEY_VARIABLE) or None
    if corpus is not None and options.server:
        return embedder_of(corpus, servers=options.server, api_key=key, media=MEDIA)
    if corpus is not None:
        return embedder_for(corpus, engine_kwargs=options.engine_kwargs, media=MEDIA)
    settings: dict[str, Any] = {name: getattr(options, name) for name in OF_THE_MODEL if name != "model"}
    if options.server:
        return JinaEmbedder.from_server(options.server, model=options.model, api_key=key, media=MEDIA, **settings)
    return JinaEmbedder(options.model or "demo", engine_kwargs=options.engine_kwargs, media=MEDIA, **settings)
