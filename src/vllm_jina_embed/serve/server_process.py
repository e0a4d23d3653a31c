"""The process that runs vLLM's server; ``command.py`` starts, watches and ends it.

Options arrive as JSON on stdin, so that no API key appears in the list of processes. vLLM's own processes import this
module again. Exit codes: 0 stopped or ended, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from .._secrets import check_key
from ..checkpoints.files import locate
from ..checkpoints.weights.task_adapters import adapters_of
from ..engine.config import LocalConfig
from ..engine.local.arguments import environment, memory_kept
from ..engine.local.processes import end_with_thread
from ..engine.local.vllm_versions import PARSER, STARTUP, first_of, warn_if_newer
from ..engine.plugin_contract import CONNECTOR_VARIABLE, MEDIA_CONNECTOR, OWNER_VARIABLE, ROWS_VARIABLE
from ..errors import ConfigError, EngineError, InputError, MissingExtraError
from ..settings import Settings
from .arguments import cores_per_rank, serve_arguments
from .command import checked

CORES = "VLLM_CPU_OMP_THREADS_BIND"
"""Variable with the cores of each rank, read by the CPU build only."""


def main() -> int:
    """Run vLLM's server with the options on stdin, and return the exit code."""
    options = json.loads(sys.stdin.read())
    end_with_thread(options.pop("parent"))
    try:
        return run(**options)
    except (ConfigError, MissingExtraError) as error:
        sys.stderr.write(f"vllm-jina-embed: {error}\n")
        return 2
    except (EngineError, InputError) as error:
        sys.stderr.write(f"vllm-jina-embed: {error}\n")
        return 1
    except KeyboardInterrupt:  # vLLM was stopped while it started
        return 0


def run(
    *,
    model_settings: dict[str, Any],
    host: str,
    port: int,
    api_key: str | None,
    multi_vector: bool,
    metrics: bool,
    passed: Sequence[str],
) -> int:
    """Serve until SIGTERM, and return the exit code; see ``command.serve``."""
    served = checked(**model_settings)
    defaults = {variable: value for variable, value in environment().items() if variable not in os.environ}
    os.environ.update(defaults)
    os.environ[OWNER_VARIABLE] = str(os.getpid())
    os.environ[CONNECTOR_VARIABLE] = MEDIA_CONNECTOR  # changes the vectors of images, so it is always set
    if model_settings["row"] is not None:
        os.environ[ROWS_VARIABLE] = model_settings["row"]
    os.environ["VLLM_USE_RUST_FRONTEND"] = "0"  # it would skip the check of the key and all of ours
    os.environ.setdefault("VLLM_MEDIA_URL_ALLOW_REDIRECTS", "0")  # an allowed host must not lead to another
    os.environ.setdefault("VLLM_MEDIA_FETCH_MAX_RETRIES", "1")  # so that the time does not reveal a closed port
    try:
        from vllm.platforms import current_platform
    except ImportError as error:
        if error.name != "vllm":
            raise EngineError(f"vLLM is installed but cannot be imported: {error}") from error
        raise MissingExtraError("vllm", "vllm") from None
    warn_if_newer()
    engine = served.engine
    assert isinstance(engine, LocalConfig)
    location = locate(engine.location, engine.revision)
    line = serve_arguments(
        engine,
        name=served.checkpoint.name,
        task=served.task if isinstance(served, Settings) else "",
        cpu=current_platform.is_cpu(),
        multi_vector=multi_vector,
        metrics=metrics,
        passed=passed,
        adapters=adapters_of(location, engine.row, engine.tasks) if engine.tasks else None,
    )
    if check_key(api_key) is not None:
        line += ["--api-key", str(api_key)]
    arguments = _parsed([*line, "--host", host, "--port", str(port)])
    if CORES in defaults:
        _share_cores(arguments, defaults[CORES])
    with memory_kept(cpu=current_platform.is_cpu()):
        return _run(arguments)


def _share_cores(arguments: Any, cores: str) -> None:
    """Divide our choice of cores among the ranks of the parallel options; else each rank would bind all of them."""
    ranks = arguments.tensor_parallel_size * arguments.pipeline_parallel_size * arguments.data_parallel_size
    shared = cores_per_rank(cores, ranks)
    if shared is None:
        del os.environ[CORES]
    else:
        os.environ[CORES] = shared


def _parsed(line: list[str]) -> Any:
    """Parse a command line with vLLM's parser."""
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = first_of(PARSER, "make_arg_parser")(FlexibleArgumentParser(prog="vllm-jina-embed serve ... --"))
    arguments = parser.parse_args(line)
    if (model := getattr(arguments, "model_tag", None)) is not None:
        raise ConfigError(f"{model!r}: 'serve' takes one checkpoint, before '--'; remove this one.")
    try:
        first_of(PARSER, "validate_parsed_serve_args")(arguments)
    except ValueError as error:
        raise ConfigError(f"vLLM refuses its options: {error}") from error
    return arguments


def _run(arguments: Any) -> int:
    """Run vLLM's command ``serve``, with as many processes as its options ask for."""
    from vllm.entrypoints.cli.serve import ServeSubcommand

    first_of(STARTUP, "cli_env_setup")()
    try:
        ServeSubcommand.cmd(arguments)
    except SystemExit as stop:
        if stop.code:
            raise EngineError(f"vLLM's server did not start (exit code {stop.code}); see its output above.") from stop
    except Exception as error:
        raise EngineError(
            f"vLLM's server ended: {type(error).__name__}: {error} (set VLLM_LOGGING_LEVEL=INFO to see its log)"
        ) from error
    return 0


if __name__ == "__main__":
    sys.exit(main())
