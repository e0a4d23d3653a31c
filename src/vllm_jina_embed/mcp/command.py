"""Run the commands index and mcp: arguments to calls, and what the calls return to lines."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TextIO

from .._addresses import check_address
from ..corpus.reports import Report, TerminalReport
from ..embedder import JinaEmbedder
from ..errors import ConfigError
from ..frameworks.shown_text import visible
from ..inputs.policy import MediaPolicy
from .arguments import BOUNDS, KEY_VARIABLE
from .building import build


def index(options: argparse.Namespace) -> int:
    """Run the command index and return its exit code."""
    for folder in options.folders:
        if not folder.is_dir():
            raise ConfigError(f"{str(folder)!r} is not a folder.")
    left_out: dict[str, str] = {}
    names = ("model", "revision", "task", "dimensions", "engine_kwargs")
    settings = {name: getattr(options, name) for name in names}
    report: Report | None = TerminalReport(sys.stderr) if sys.stderr.isatty() else None
    with JinaEmbedder(**settings, media=MediaPolicy(allow_local_files=False)) as embedder:
        try:
            count = build(options.folders, options.index, embedder, left_out, report=report)
        finally:
            for source, reason in left_out.items():
                _print(f"left out: {visible(source)}: {visible(reason)}", sys.stderr)
    name = visible(str(options.index))
    omitted = f" {len(left_out)} left out, named above." if left_out else ""
    _print(f"Indexed {count} places in {name}.{omitted} Serve it: vllm-jina-embed mcp {name}", sys.stdout)
    return 0


def serve(options: argparse.Namespace) -> int:
    """Run the command mcp and return its exit code."""
    from .http import serve_http
    from .server import server_of

    given = [name for name in ("host", "port", "api_key", "allow_host") if getattr(options, name) not in (None, [])]
    if given and not options.http:
        option = given[0].replace("_", "-")
        raise ConfigError(f"--{option} goes with --http; without it the client is on stdin and stdout.")
    host, port = options.host or "127.0.0.1", 8000 if options.port is None else options.port
    key = options.api_key if options.api_key is not None else os.environ.get(KEY_VARIABLE) or None
    if options.http:
        check_address(host, key, KEY_VARIABLE)
    bounds = {name: getattr(options, name) for name in BOUNDS if getattr(options, name) is not None}
    given_too = {name: getattr(options, name) for name in ("journal", "engine_kwargs", "read_files")}
    server = server_of(options.corpus, **given_too, **bounds)
    if options.http:
        serve_http(server, host=host, port=port, api_key=key, allow_hosts=options.allow_host)
    else:
        server.run("stdio")
    return 0


def _print(text: str, file: TextIO) -> None:
    """Print a line with file names; escape characters that the terminal cannot show."""
    encoding = file.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=file)
