"""The command ``vllm-jina-embed``.

Light to import, because vLLM's processes import this module again.
Exit codes: 0 done, 1 failed, 2 wrong usage or something is not installed, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from . import __version__
from .corpus.arguments import add_embed, add_search, json_object
from .errors import ConfigError, EngineError, InputError, MissingExtraError, WriteError

BOUNDS = {
    "max_images": "images shown per answer (4)",
    "max_side": "longest side of a shown image in pixels (768)",
    "max_bytes": "most bytes of a shown image (200000)",
    "max_characters": "characters given of a text (2000)",
}
"""What one answer of the command mcp may cost a chat model, as ``server_of`` takes it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command and return its exit code."""
    line = list(sys.argv[1:] if arguments is None else arguments)
    end = line.index("--") if line[:1] == ["serve"] and "--" in line else len(line)
    options = _parser().parse_args(line[:end])
    options.passed = line[end + 1 :]
    try:
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vllm-jina-embed", description="jina-embeddings-v4 on vLLM for LangChain and LlamaIndex."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_demo(commands)
    add_embed(commands).set_defaults(command=_embed)
    add_search(commands).set_defaults(command=_search)
    _add_index(commands)
    _add_mcp(commands)
    _add_serve(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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


def _add_index(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "Index the images, texts and PDFs of a folder, for the command mcp."
    index = commands.add_parser("index", help=about, description=about)
    index.add_argument("folder", type=Path, metavar="FOLDER", help="folder to read, with its subfolders")
    index.add_argument("index", type=Path, metavar="INDEX", help="folder to write; an existing index is replaced")
    index.add_argument("--model", default="demo", help="checkpoint to embed with (the embedded one)")
    index.add_argument("--revision", help="commit or tag of a hub repository")
    index.add_argument("--task", help="a task of the checkpoint, such as retrieval (its first)")
    index.add_argument("--dimensions", type=int, help="Matryoshka size of the embeddings (full length)")
    _add_engine_kwargs(index)
    index.set_defaults(command=_index)


def _add_mcp(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "Serve an index to agents by the Model Context Protocol, on stdin and stdout."
    mcp = commands.add_parser("mcp", help=about, description=about)
    mcp.add_argument("index", type=Path, metavar="INDEX", help="folder that the command index wrote")
    for name, about in BOUNDS.items():
        mcp.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N", help=about)
    _add_engine_kwargs(mcp)
    mcp.set_defaults(command=_mcp)


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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


def _add_engine_kwargs(parser: argparse.ArgumentParser) -> None:
    about = "JSON for vLLM, such as '{\"gpu_memory_utilization\": 0.5}'"
    parser.add_argument("--engine-kwargs", type=json_object, metavar="JSON", help=about)


def _embed(options: argparse.Namespace) -> int:
    from .corpus.command import embed

    return embed(options)


def _search(options: argparse.Namespace) -> int:
    from .corpus.command import search

    return search(options)


def _index(options: argparse.Namespace) -> int:
    from .embedder import JinaEmbedder
    from .frameworks.shown_text import visible
    from .inputs.images import MediaPolicy
    from .mcp.index import build
    from .mcp.layout import IMAGE_BYTES
    from .mcp.reading import read_folder

    if not options.folder.is_dir():
        raise ConfigError(f"{str(options.folder)!r} is not a folder.")
    left_out: dict[str, str] = {}
    names = ("model", "revision", "task", "dimensions", "engine_kwargs")
    settings = {name: getattr(options, name) for name in names}
    # read_folder has checked the size of the files; their images here may be larger.
    media = MediaPolicy(allow_local_files=False, max_bytes=IMAGE_BYTES)
    with JinaEmbedder(**settings, media=media, show_progress=sys.stderr.isatty()) as embedder:
        try:
            places = read_folder(options.folder, left_out, skip=options.index)
            count = build(places, options.index, embedder, left_out)
        finally:
            for source, reason in left_out.items():
                _print(f"left out: {visible(source)}: {visible(reason)}", sys.stderr)
    index = visible(str(options.index))
    omitted = f" {len(left_out)} left out, named above." if left_out else ""
    _print(f"Indexed {count} places in {index}.{omitted} Serve it: vllm-jina-embed mcp {index}", sys.stdout)
    return 0


def _print(text: str, file: TextIO) -> None:
    """Print a line with file names; escape characters that the terminal cannot show."""
    encoding = file.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=file)


def _mcp(options: argparse.Namespace) -> int:
    from .mcp.server import server_of

    bounds = {name: getattr(options, name) for name in BOUNDS if getattr(options, name) is not None}
    server_of(options.index, engine_kwargs=options.engine_kwargs, **bounds).run("stdio")
    return 0


if __name__ == "__main__":
    sys.exit(main())
