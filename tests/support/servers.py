"""Real vLLM servers in processes of their own, each with its own process group."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import psutil

from vllm_jina_embed.checkpoints.table.jina_v4 import MAX_PIXELS, MIN_PIXELS

API_SERVER = "vllm.entrypoints.openai.api_server"
"""Module of vLLM's own server in all of 0.28 to 0.33."""
SMALL = ["--kv-cache-memory-bytes", str(256 * 1024**2)]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


START_LIMIT = 600.0
"""Seconds that a server may take to start: twenty on an idle machine, minutes beside other work. One that ended is told
at once."""


class RealServer:
    """One server process: ``with served(...) as server`` starts it, waits until it answers, and ends it.

    Start several with ``ExitStack.enter_context``: one at a time, ended in reverse order whatever failed.
    """

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        log: Path,
        *,
        start_limit: float = START_LIMIT,
        end_limit: float = 60.0,
        python: str = sys.executable,
        **variables: str,
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self._command = [python, *command]
        self._variables = variables
        self._start_limit, self._end_limit = start_limit, end_limit
        self._process: subprocess.Popen[bytes]

    def begin(self) -> RealServer:
        """Start the process, and wait for nothing."""
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._variables},
                start_new_session=True,
            )
        return self

    def __enter__(self) -> RealServer:
        self.begin()
        try:
            return self.wait()
        except BaseException:
            self.kill_group()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self) -> RealServer:
        """Wait until it answers."""
        end = time.monotonic() + self._start_limit
        while time.monotonic() < end and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=2).close()
            except OSError:
                time.sleep(0.2)
            else:
                return self
        raise AssertionError(f"the server did not start:\n{self.log.read_text()[-4000:]}")

    def processes(self) -> list[psutil.Process]:
        """Give the server's main process and all below it."""
        main = psutil.Process(self._process.pid)
        return [main, *main.children(recursive=True)]

    def kill_group(self) -> None:
        """End the server and everything below it, also what its main process has left behind."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def runs(self) -> bool:
        """Whether the main process runs."""
        return self._process.poll() is None

    def signal(self, number: int) -> int:
        """Send a signal to the main process alone and give its exit code."""
        self._process.send_signal(number)
        try:
            return self._process.wait(timeout=self._end_limit)
        except subprocess.TimeoutExpired:
            self.kill_group()
            raise

    def exit_code(self, seconds: float) -> int:
        """Wait until it has ended by itself."""
        return self._process.wait(seconds)

    def close(self) -> None:
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)

    def said(self, pattern: str) -> bool:
        return re.search(pattern, self.log.read_text()) is not None


def served(
    model: str, log: Path, *options: str, passed: Sequence[str] = (), port: int | None = None, **variables: str
) -> RealServer:
    """Return ``vllm-jina-embed serve``, on any free port where none is named."""
    port = port or free_port()
    command = ["-m", "vllm_jina_embed.cli", "serve", model, "--port", str(port), *options, "--", *SMALL, *passed]
    return RealServer(command, port, log, **variables)


def plain(folder: Path, log: Path, template: str, *, max_pixels: int = MAX_PIXELS) -> RealServer:
    """Return vLLM's own server on token states, without this package's plugin: ``vllm serve`` by its module."""
    port = free_port()
    size = f'{{"size": {{"shortest_edge": {MIN_PIXELS}, "longest_edge": {max_pixels}}}}}'
    command = [
        "-m", API_SERVER, "--model", str(folder), "--port", str(port),
        "--runner", "pooling", "--pooler-config", '{"task": "token_embed"}', "--dtype", "float32", "--enforce-eager",
        "--limit-mm-per-prompt", '{"video": 0}', "--chat-template", template, "--mm-processor-kwargs", size, *SMALL,
    ]  # fmt: skip
    return RealServer(command, port, log, VLLM_PLUGINS="", VLLM_LOGGING_LEVEL="ERROR")


def plain_text(folder: Path, log: Path, *options: str) -> RealServer:
    """Return vLLM's own server on the token states of a text model, without this package's plugin."""
    port = free_port()
    command = [
        "-m", API_SERVER, "--model", str(folder), "--port", str(port),
        "--runner", "pooling", "--pooler-config", '{"task": "token_embed"}', "--dtype", "float32", "--enforce-eager",
        *SMALL, *options,
    ]  # fmt: skip
    return RealServer(command, port, log, VLLM_PLUGINS="", VLLM_LOGGING_LEVEL="ERROR")
