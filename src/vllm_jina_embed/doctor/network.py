"""Checks of the model hub and of the port of ``serve``; none of them waits long."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request

from .._secrets import Secret, basic, split_login
from ..checkpoints.files import Hub
from ..errors import ConfigError
from ..serve.command import check_port
from .finding import Finding, Surroundings

SECONDS = 4.0
"""How long the hub may take to answer, name and connection included."""
HOST, PORT = "127.0.0.1", 8000
"""Defaults of ``serve``."""


def check_hub(around: Surroundings, hub: Hub, *, seconds: float = SECONDS) -> Finding:
    """Check that models can be had from the hub, or are in its cache.

    Args:
        around: What to look at.
        hub: The hub as huggingface_hub has it.
        seconds: How long it may take to answer.
    """
    cached = len(hub.cached())
    held = f"{cached} model{'' if cached == 1 else 's'} in {hub.folder}"
    try:
        endpoint, login = split_login(hub.endpoint)
    except ConfigError as error:
        return Finding(check="hub", status="problem", summary=f"HF_ENDPOINT: {error}", command="unset HF_ENDPOINT")
    details = {"endpoint": endpoint, "is_offline": hub.is_offline, "cached": cached}
    if hub.is_offline:
        summary = f"switched off by HF_HUB_OFFLINE; {held}."
        command = "" if cached else "unset HF_HUB_OFFLINE"
        mend = "" if cached else "Only the demo and folders work so: allow downloads, or copy models into the cache."
        return Finding(
            check="hub", status="note" if cached else "problem", summary=summary, mend=mend, command=command,
            details=details,
        )  # fmt: skip
    reason = unreachable(endpoint, login, seconds)
    if not reason:
        return Finding(check="hub", status="ok", summary=f"{endpoint} answers; {held}.", details=details)
    summary = f"{endpoint} cannot be reached: {reason}; {held}."
    if cached:
        mend = "What is in the cache works; this spares each start the wait for the hub."
        command = "export HF_HUB_OFFLINE=1"
        return Finding(check="hub", status="note", summary=summary, mend=mend, command=command, details=details)
    mend = "Only the demo and folders work so: set HTTPS_PROXY, or HF_ENDPOINT for a mirror, or copy models there."
    command = f"curl -sSI --max-time 10 {endpoint}"
    return Finding(check="hub", status="problem", summary=summary, mend=mend, command=command, details=details)


def unreachable(url: str, login: Secret | None, seconds: float) -> str:
    """Return why a URL gives no answer within ``seconds``; "" if it does, whatever the answer is."""
    answer: list[str] = []
    request = urllib.request.Request(url, method="HEAD")
    if login is not None:
        request.add_header("Authorization", f"Basic {basic(login)}")

    def ask() -> None:
        try:
            with urllib.request.urlopen(request, timeout=seconds):
                answer.append("")
        except urllib.error.HTTPError as error:
            answer.append(f"HTTP {error.code}" if error.code in (407, 502, 503, 504) else "")
        except urllib.error.URLError as error:
            answer.append(getattr(error.reason, "strerror", None) or str(error.reason))
        except Exception as error:  # a URL that is none, a server that speaks no HTTP
            answer.append(f"{type(error).__name__}: {error}")

    # A thread, because no timeout ends the look-up of a name.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[0] if answer else f"no answer within {seconds:g} s"


def check_serve_port(around: Surroundings, port: int | None) -> Finding:
    """Check that ``serve`` can listen on a port; its default counts only as a note."""
    number = PORT if port is None else port
    details = {"host": HOST, "port": number}
    try:
        check_port(HOST, number)
    except ConfigError as error:
        summary = str(error).removesuffix(" Choose another --port.")
        mend = "End the program that listens there, or choose another port."
        command = f"vllm-jina-embed serve CHECKPOINT --port {_free_port()}"
        return Finding(
            check="port", status="note" if port is None else "problem", summary=summary, mend=mend, command=command,
            details=details,
        )  # fmt: skip
    return Finding(check="port", status="ok", summary=f"{number} is free for serve.", details=details)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
