"""A Chroma server of a test: the library's own command, a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.servers import free_port


@contextmanager
def chroma_server(folder: Path) -> Iterator[str]:
    """Give the host and port of a server with data in ``folder``; at the end it is gone."""
    import chromadb

    port = free_port()
    command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", str(folder), "--port", str(port)]
    with (folder.parent / "chroma.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 200
        while True:
            assert process.poll() is None, (folder.parent / "chroma.log").read_text()
            with suppress(Exception):
                chromadb.HttpClient("localhost", port).heartbeat()
                break
            assert time.monotonic() < end
            time.sleep(0.2)
        yield f"localhost:{port}"
    finally:
        process.terminate()
        process.wait(60)
