"""The command ``vllm-jina-embed``.

Light to import, because vLLM's processes import this module again.
Exit codes: 0 done, 1 failed (doctor: a problem was found), 2 wrong usage or something is not installed, 130 stopped by
Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from ._usage import SHELLS, Parser, PrintCompletion
from .corpus.arguments import add_embed, add_search
from .errors import ConfigError, EngineError, InputError, MissingExtraError, WriteError
from .mcp.arguments import add_index, add_mcp
from .ui.arguments import add_ui


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command and return its exit code."""
    line = list(sys.argv[1:] if arguments is None else arguments)
    end = line.index("--") if line[:1] == ["serve"] and "--" in line else len(line)
    try:
        options = _parsed(line[:end])
        options.passed = line[end + 1 :]
        code: int = options.command(options)
    except (ConfigError, MissingExtraError) as error:
        print(f"vllm-jina-embed: {error}", file=sys.stderr)
        return 2
    except (EngineError, InputError, WriteError) as error:
        print(f"vllm-jina-embed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    return code


def _parsed(line: list[str]) -> argparse.Namespace:
    """Return the options of a line; what no command knows is an error of the command that was named."""
    parser = Parser(prog="vllm-jina-embed", description="jina-embeddings-v4 on vLLM for LangChain and LlamaIndex.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    about = "print the completion script of a shell, and exit"
    parser.add_argument("--print-completion", action=PrintCompletion, choices=SHELLS, metavar="SHELL", help=about)
    commands = parser.add_subparsers(dest="name", metavar="COMMAND", required=True)
    _add_commands(commands)
    options, unknown = parser.parse_known_args(line)
    if unknown:
        commands.choices[options.name].error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


def _add_commands(commands: argparse._SubParsersAction[Parser]) -> None:
    _add_demo(commands)
    _add_doctor(commands)
    add_embed(commands).set_defaults(command=_embed)
    add_search(commands).set_defaults(command=_search)
    add_index(commands).set_defaults(command=_index)
    add_mcp(commands).set_defaults(command=_mcp)
    _add_serve(commands)
    add_ui(commands).set_defaults(command=_ui)


def _add_demo(commands: argparse._SubParsersAction[Parser]) -> None:
    about = "Rank text and images together in LangChain and in LlamaIndex, on one vLLM engine."
    demo = commands.add_parser("demo", help=about, description=about)
    demo.add_argument("--output", type=Path, default=Path("demo-output"), help="folder for the report (%(default)s)")
    demo.add_argument("--model", default="demo", help="checkpoint to embed with (the embedded one)")
    demo.add_argument("--seed", type=int, default=0, help="other images and sentences (%(default)s)")
    demo.add_argument("--verbose", action="store_true", help="show what vLLM and other libraries print")
    demo.set_defaults(command=_demo)


def _demo(options: argparse.Namespace) -> int:
    from .demo.run import DemoOptions, run

    return run(DemoOptions(output=options.output, model=options.model, seed=options.seed, verbose=options.verbose))


def _add_doctor(commands: argparse._SubParsersAction[Parser]) -> None:
    about = "Check this installation, and say what is wrong and what to do about it."
    more = "Exit codes: 0 nothing is wrong, 1 there is a problem, 2 wrong usage."
    doctor = commands.add_parser("doctor", help=about, description=about, epilog=more)
    doctor.add_argument("--json", action="store_true", help="write JSON, for reports; it holds no secrets")
    doctor.add_argument("--quick", action="store_true", help="start no engine on the demo checkpoint")
    doctor.add_argument("--port", type=int, help="port that serve should use, which must be free (8000: only a note)")
    doctor.add_argument(
        "--model", metavar="NAME", help="model that should be found: a folder, in the cache, on the hub"
    )
    doctor.add_argument(
        "--server", metavar="URL", help="server that should answer, and serve --model where it is given"
    )
    doctor.add_argument("--api-key", help="key of the server")
    doctor.set_defaults(command=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from .doctor.command import Wanted, doctor

    names = ("quick", "port", "model", "server", "api_key")
    return doctor(Wanted(**{name: getattr(options, name) for name in names}), as_json=options.json)


def _add_serve(commands: argparse._SubParsersAction[Parser]) -> None:
    about = "Serve a checkpoint by vLLM's own OpenAI server, for JinaEmbedder.from_server and any OpenAI client."
    more = "Arguments after -- go to vllm serve: -- --tensor-parallel-size 2 --data-parallel-size 4"
    serve = commands.add_parser("serve", help=about, description=about, epilog=more)
    serve.add_argument("model", metavar="CHECKPOINT", help="demo, a hub repository, or a checkpoint's folder")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s: this machine only)")
    serve.add_argument("--port", type=int, default=8000, help="port to listen on (%(default)s)")
    serve.add_argument("--api-key", help="key that clients must send; also guards the paths that vLLM leaves open")
    serve.add_argument("--dtype", help="type of the weights, such as bfloat16 (the checkpoint's own)")
    serve.add_argument("--multi-vector", action="store_true", help="one vector per token, for embed_multi_vector")
    serve.add_argument("--task", help="a task of the checkpoint, such as retrieval (its first)")
    serve.add_argument("--revision", help="commit or tag of a hub repository")
    serve.add_argument("--row", help="description of the checkpoint: a name, or package.module:NAME of a Model")
    serve.add_argument("--min-pixels", type=int, help="smaller images are enlarged to this area (the reference's)")
    serve.add_argument("--max-pixels", type=int, help="larger images are reduced to this area (the reference's)")
    serve.add_argument("--metrics", action="store_true", help="tell of vLLM's engine at /metrics, for Prometheus")
    serve.add_argument("--health-port", type=int, help="port that tells at /ready and /health: starting, ready, broken")
    serve.set_defaults(command=_serve)


def _serve(options: argparse.Namespace) -> int:
    from .serve.command import serve

    names = ("host", "port", "api_key", "dtype", "multi_vector", "task", "revision", "min_pixels", "max_pixels", "row")
    named = {name: getattr(options, name) for name in (*names, "metrics", "health_port")}
    return serve(options.model, passed=options.passed, **named)


def _embed(options: argparse.Namespace) -> int:
    from .corpus.command import embed

    return embed(options)


def _search(options: argparse.Namespace) -> int:
    from .corpus.command import search

    return search(options)


def _index(options: argparse.Namespace) -> int:
    from .mcp.command import index

    return index(options)


def _mcp(options: argparse.Namespace) -> int:
    from .mcp.command import serve

    return serve(options)


def _ui(options: argparse.Namespace) -> int:
    from .ui.command import ui

    return ui(options)


if __name__ == "__main__":
    sys.exit(main())
