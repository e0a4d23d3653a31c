"""The command ``vllm-jina-embed``.

Enters: command line arguments. Leaves: an exit code. Light on import: vLLM's processes import this module again.
Exit codes: 0 done, 1 it ran and failed, 2 wrong usage or something is not installed, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .errors import ConfigError, MissingExtraError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except (ConfigError, MissingExtraError) as error:
        print(f"vllm-jina-embed: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vllm-jina-embed", description="jina-embeddings-v4 on vLLM for LangChain and LlamaIndex."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_demo(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "Rank text and pictures together in LangChain and in LlamaIndex, on one vLLM engine."
    demo = commands.add_parser("demo", help=about, description=about)
    demo.add_argument("--output", type=Path, default=Path("demo-output"), help="folder for the report (%(default)s)")
    demo.add_argument("--model", default="demo", help="checkpoint to embed with (the embedded one)")
    demo.add_argument("--seed", type=int, default=0, help="other pictures and sentences (%(default)s)")
    demo.add_argument("--verbose", action="store_true", help="show what vLLM and other libraries print")
    demo.set_defaults(command=_demo)


def _demo(options: argparse.Namespace) -> int:
    from .demo.run import DemoOptions, run

    return run(DemoOptions(output=options.output, model=options.model, seed=options.seed, verbose=options.verbose))


if __name__ == "__main__":
    sys.exit(main())
