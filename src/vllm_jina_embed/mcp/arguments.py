"""Define the arguments of the commands index and mcp; light to import."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..corpus.arguments import json_object

BOUNDS = {
    "max_images": "images shown per answer (4)",
    "max_side": "longest side of a shown image in pixels (768)",
    "max_bytes": "most bytes of a shown image (200000)",
    "max_characters": "characters given of a text (2000)",
}
"""What one answer of the command mcp may cost a chat model, as ``server_of`` takes it."""
KEY_VARIABLE = "VLLM_JINA_EMBED_MCP_KEY"
"""Variable of the environment with the key of the server."""


def add_index(commands: Any) -> argparse.ArgumentParser:
    """Add the command index and return its parser."""
    about = "Index the images, texts and PDFs of folders, for the command mcp."
    index: argparse.ArgumentParser = commands.add_parser("index", help=about, description=about)
    index.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="folder to read, with its subfolders")
    index.add_argument("index", type=Path, metavar="INDEX", help="folder to write; an existing index is replaced")
    index.add_argument("--model", default="demo", help="checkpoint to embed with (the embedded one)")
    index.add_argument("--revision", help="commit or tag of a hub repository")
    index.add_argument("--task", help="a task of the checkpoint, such as retrieval (its first)")
    index.add_argument("--dimensions", type=int, help="Matryoshka size of the embeddings (full length)")
    _add_engine_kwargs(index)
    return index


def add_mcp(commands: Any) -> argparse.ArgumentParser:
    """Add the command mcp and return its parser."""
    about = "Serve an index or a corpus to agents by the Model Context Protocol, on stdin and stdout or over HTTP."
    mcp: argparse.ArgumentParser = commands.add_parser("mcp", help=about, description=about)
    mcp.add_argument("corpus", metavar="CORPUS", help="what the command index wrote, or embed was given as --out")
    mcp.add_argument("--journal", metavar="DIR", help="folder of a table's journal, where embed was given one")
    for name, about in BOUNDS.items():
        mcp.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N", help=about)
    about = "show images that the corpus does not keep, from the files that it was made of"
    mcp.add_argument("--read-files", action="store_true", help=about)
    _add_engine_kwargs(mcp)
    http = mcp.add_argument_group("HTTP")
    http.add_argument("--http", action="store_true", help="serve streamable HTTP at /mcp, not stdin and stdout")
    http.add_argument("--host", help="address to listen on (127.0.0.1: this machine only)")
    http.add_argument("--port", type=int, help="port to listen on (8000; 0 takes a free one)")
    http.add_argument("--api-key", help=f"key that clients must send; better in {KEY_VARIABLE}, which ps does not show")
    about = "a name by which clients ask, beside those of this machine; others are refused"
    http.add_argument("--allow-host", action="append", default=[], metavar="NAME", help=about)
    return mcp


def _add_engine_kwargs(parser: argparse.ArgumentParser) -> None:
    about = "JSON for vLLM, such as '{\"gpu_memory_utilization\": 0.5}'"
    parser.add_argument("--engine-kwargs", type=json_object, metavar="JSON", help=about)
