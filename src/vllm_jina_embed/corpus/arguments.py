"""Define the arguments of the commands embed and search; light to import."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

PAGES = ("image", "text", "both", "pieces")
VECTORS = ("embedding", "multi-vector", "both")
DTYPES = ("float32", "float16", "int8", "binary")


def add_embed(commands: Any) -> argparse.ArgumentParser:
    """Add the command embed and return its parser."""
    about = "Embed folders, tables and PDFs into a corpus; run it again and it goes on where it ended."
    more = (
        "Exit codes: 0 done, 1 failed (with --strict: or an item has no vector), 2 wrong usage, 130 stopped by Ctrl-C."
    )
    parser: argparse.ArgumentParser = commands.add_parser("embed", help=about, description=about, epilog=more)
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="folder, file or pattern ('docs/**/*.pdf')")
    parser.add_argument(
        "--out",
        required=True,
        metavar="DEST",
        help="folder, lancedb://DIR/TABLE, qdrant://HOST:PORT/NAME, chroma://DIR/NAME or postgresql://HOST/DATABASE/TABLE",
    )
    parser.add_argument("--journal", metavar="DIR", help="folder of a table's journal (DIR/TABLE.journal)")
    _add_model(parser)
    tables = parser.add_argument_group("tables (JSONL, CSV, TSV, Parquet)")
    tables.add_argument("--id", metavar="COLUMN", help="ids (id where there is one, else the row's number)")
    tables.add_argument("--text", default="text", metavar="COLUMN", help="texts (%(default)s)")
    tables.add_argument("--image", default="image", metavar="COLUMN", help="images: bytes, URIs or paths (%(default)s)")
    tables.add_argument("--image-root", metavar="DIR", help="folder of images that are named (the table's own)")
    tables.add_argument(
        "--keep", nargs="*", default=["text"], metavar="COLUMN", help="columns to keep, also text and image (text)"
    )
    pages = parser.add_argument_group("PDFs")
    pages.add_argument("--pages", choices=PAGES, default="image", help="what to embed of a page (%(default)s)")
    pages.add_argument("--dpi", type=float, default=144.0, help="pixels per inch of a page (%(default)s)")
    vectors = parser.add_argument_group("vectors")
    vectors.add_argument("--vectors", choices=VECTORS, help="what to compute (embedding, if the model has one)")
    vectors.add_argument("--pool-factor", type=int, default=1, metavar="N", help="tokens per row of a multi-vector (1)")
    vectors.add_argument("--dtype", choices=DTYPES, help="numbers of embeddings (float32); of multi-vectors float16")
    _add_run(parser)
    _add_ray(parser)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    run = parser.add_argument_group("the run")
    run.add_argument("--rows-per-file", type=int, metavar="N", help="items of a shard, which a crash may cost (8192)")
    run.add_argument("--shard", type=_shard, default=(1, 1), metavar="K/N", help="of N processes this is the K-th")
    run.add_argument("--limit", type=int, metavar="N", help="read only N items")
    run.add_argument("--resume", action="store_true", help="go on with what is there; always so")
    run.add_argument("--overwrite", action="store_true", help="begin anew where another corpus is")
    run.add_argument("--retry-errors", action="store_true", help="compute shards with errors again")
    run.add_argument("--strict", action="store_true", help="exit with 1 if an item has no vector")
    run.add_argument("--dry-run", action="store_true", help="count items, tokens, bytes and hours; compute nothing")
    run.add_argument("--rate", type=float, metavar="N", help="items a second that were measured, for --dry-run")


def add_search(commands: Any) -> argparse.ArgumentParser:
    """Add the command search and return its parser."""
    about = "Search a corpus by a text or an image; every vector is compared."
    parser: argparse.ArgumentParser = commands.add_parser("search", help=about, description=about)
    parser.add_argument("corpus", metavar="CORPUS", help="what the command embed was given as --out")
    parser.add_argument("query", nargs="?", metavar="QUERY", help="a text")
    parser.add_argument("--journal", metavar="DIR", help="folder of a table's journal, where embed was given one")
    parser.add_argument("--image", type=Path, metavar="FILE", help="an image in place of a text")
    parser.add_argument("-n", "--count", type=int, default=10, help="how many results (%(default)s)")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each result")
    parser.add_argument(
        "--no-images", action="store_true", help="show no images in a terminal that can (kitty, iTerm2)"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page with the results and their images")
    parser.add_argument("--server", action="append", default=[], metavar="URL", help="ask a server; start no engine")
    parser.add_argument("--api-key", help="key of the servers")
    parser.add_argument("--engine-kwargs", type=json_object, metavar="JSON", help="for vLLM (those of the corpus)")
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("the model")
    model.add_argument("--model", help="checkpoint to embed with (the embedded demo)")
    model.add_argument("--revision", help="commit or tag of a hub repository")
    model.add_argument("--task", help="a task of the checkpoint, such as retrieval (its first)")
    model.add_argument("--dimensions", type=int, help="Matryoshka size of the embeddings (full length)")
    model.add_argument("--max-pixels", type=int, help="larger images are reduced to this area (the model's)")
    model.add_argument("--max-length", type=int, metavar="N", help="longest text in tokens (the model's)")
    model.add_argument(
        "--truncate", choices=["end", "start", "error"], default="end", help="what is cut of longer ones (end)"
    )
    model.add_argument("--fusion", choices=["mean"], help="one vector for a text with its image, as their mean")
    model.add_argument("--long-text", choices=["chunks"], help="embed long texts in chunks, not cut")
    model.add_argument("--server", action="append", default=[], metavar="URL", help="ask servers; start no engine")
    model.add_argument("--api-key", help="key of the servers")
    model.add_argument("--engine-kwargs", type=json_object, metavar="JSON", help="for vLLM, such as '{\"dtype\": ...}'")


def _add_ray(parser: argparse.ArgumentParser) -> None:
    cluster = parser.add_argument_group("Ray (docs/scale.md)")
    cluster.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="compute the shards in actors of this cluster (RAY_ADDRESS, else this machine); after the SOURCEs",
    )
    cluster.add_argument("--actors", type=int, metavar="N", help="how many (one for each GPU)")
    cluster.add_argument("--actor-gpus", type=float, metavar="N", help="GPUs of each (1 where there are any)")
    cluster.add_argument("--actor-cpus", type=float, metavar="N", help="cores of each (1; on this machine a share)")


def json_object(text: str) -> dict[str, Any]:
    """Return the object that an argument holds.

    Raises:
        ArgumentTypeError: It is not JSON, or not an object.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"got {text!r}, which is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"got {text!r}; expected an object in braces")
    return value


def _shard(text: str) -> tuple[int, int]:
    own, _, processes = text.partition("/")
    try:
        return int(own), int(processes)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected K/N, such as 2/8") from None
