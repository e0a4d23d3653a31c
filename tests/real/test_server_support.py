"""The servers that tests start: none stays behind, whatever failed."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.support.servers import RealServer, free_port

pytestmark = pytest.mark.wide

GOOD = """
import http.server, sys
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Health).serve_forever()
"""
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + GOOD
NEVER_READY = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
BROKEN = "raise SystemExit('no weights')"


def server(code: str, log: Path, *, start_limit: float = 60, end_limit: float = 60) -> RealServer:
    port = free_port()
    return RealServer(["-c", code, str(port)], port, log, start_limit=start_limit, end_limit=end_limit)


@pytest.mark.fire
@pytest.mark.parametrize(("failing", "why"), [(BROKEN, "no weights"), (NEVER_READY, "did not start")])
def test_one_that_does_not_start_takes_the_others_along(failing: str, why: str, tmp_path: Path) -> None:
    """Those that started before it end, one that hears no SIGTERM is killed, and of itself nothing is left."""
    began: list[psutil.Process] = []

    def start_three(stack: ExitStack) -> None:
        for code in (GOOD, DEAF, failing):
            last = server(code, tmp_path / "log", start_limit=3 if code == NEVER_READY else 60, end_limit=2)
            started = stack.enter_context(last)
            began.extend(started.processes())

    with pytest.raises((AssertionError, subprocess.TimeoutExpired)) as caught, ExitStack() as stack:
        start_three(stack)
    assert len(began) == 2
    causes = [caught.value, caught.value.__context__]
    assert any(why in str(error) for error in causes)
    assert not any(process.is_running() for process in began)
    assert not any("time.sleep(600)" in line_of(one) for one in psutil.Process().children(recursive=True))


def line_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it ended, and waits for somebody to read its exit status
        return ""
