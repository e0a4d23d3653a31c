"""A PostgreSQL server for a test, from pgserver's wheel."""

from __future__ import annotations

import tempfile
from typing import Any


def postgres_server() -> Any:
    """Return a server with data of its own, which are deleted when the tests end.

    Not in pytest's folder: run as root, the server is another user, and each run of pytest that starts on the machine
    takes the rights of others away from the folder that holds all of them.
    """
    import pgserver

    return pgserver.get_server(tempfile.mkdtemp(prefix="postgres-"), cleanup_mode="delete")
