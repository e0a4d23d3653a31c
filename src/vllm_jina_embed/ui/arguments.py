"""Define the arguments of the command ui; light to import."""

from __future__ import annotations

import argparse
from typing import Any

from ..corpus.arguments import json_object

KEY_VARIABLE = "VLLM_JINA_EMBED_UI_KEY"
"""Variable of the environment with the key of the page."""
SERVER_KEY_VARIABLE = "VLLM_API_KEY"
"""Variable of the environment with the key of the servers, as ``vllm serve`` reads it too."""


def add_ui(commands: Any) -> argparse.ArgumentParser:
    """Add the command ui and return its parser."""
    about = "Try a model in the browser: search texts and images that you drop, or a corpus."
    ui: argparse.ArgumentParser = commands.add_parser("ui", help=about, description=about)
    ui.add_argument(
        "corpus", nargs="?", metavar="CORPUS", help="what the command embed was given as --out, or an index"
    )
    ui.add_argument("--journal", metavar="DIR", help="folder of a table's journal, where embed was given one")
    about = "show images that the corpus does not keep, from the files that it was made of"
    ui.add_argument("--read-files", action="store_true", help=about)
    model = ui.add_argument_group("the model (that of the CORPUS, where there is one)")
    model.add_argument("--model", help="checkpoint to embed with (the embedded demo)")
    model.add_argument("--revision", help="commit or tag of a hub repository")
    model.add_argument("--task", help="a task of the checkpoint, such as retrieval (its first)")
    model.add_argument("--dimensions", type=int, help="Matryoshka size of the embeddings (full length)")
    about = f"ask a server, with the key in {SERVER_KEY_VARIABLE}; start no engine"
    model.add_argument("--server", action="append", default=[], metavar="URL", help=about)
    about = "JSON for vLLM, such as '{\"gpu_memory_utilization\": 0.5}'"
    model.add_argument("--engine-kwargs", type=json_object, metavar="JSON", help=about)
    page = ui.add_argument_group("the page")
    page.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s: this machine only)")
    page.add_argument("--port", type=int, default=8080, help="port to listen on (%(default)s; 0 takes a free one)")
    about = f"key that people must type in first; better in {KEY_VARIABLE}, which ps does not show"
    page.add_argument("--api-key", help=about)
    about = "a name by which the page is opened, beside those of this machine; others are refused"
    page.add_argument("--allow-host", action="append", default=[], metavar="NAME", help=about)
    page.add_argument("--no-open", action="store_true", help="do not open the page in a browser")
    return ui
