"""Checks of the model hub and of the port of ``serve``; none of them waits long."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass

from .._secrets import Secret, basic, split_login
from ..checkpoints.files import Hub
from ..errors import ConfigError
from ..serve.command import check_port
from .finding import Finding, Status, Surroundings

SECONDS = 4.0
"""How long the hub may take to answer, name and connection included."""
HOST, PORT = "127.0.0.1", 8000
"""Defaults of ``serve``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubAnswer:
    """What the hub answered, asked once.

    Attributes:
        hub: The hub as huggingface_hub has it.
        endpoint: Its address without a login; "" where it is not a URL.
        reason: Why it does not answer; "" where it does, or was not asked.
        error: What is wrong with its address.
    """

    hub: Hub
    endpoint: str
    reason: str = ""
    error: str = ""

    @property
    def is_silent(self) -> bool:
        """Whether nothing can be downloaded."""
        return bool(self.hub.is_offline or self.reason or self.error)


def ask_hub(hub: Hub, *, seconds: float = SECONDS) -> HubAnswer:
    """Ask the hub, unless it is switched off.

    Args:
        hub: The hub as huggingface_hub has it.
        seconds: How long it may take to answer.
    """
    try:
        endpoint, login = split_login(hub.endpoint)
    except ConfigError as error:
        return HubAnswer(hub=hub, endpoint="", error=str(error))
    reason = "" if hub.is_offline else unreachable(endpoint, login, seconds)
    return HubAnswer(hub=hub, endpoint=endpoint, reason=reason)


def check_hub(around: Surroundings, answer: HubAnswer, *, is_needed: bool = False) -> Finding:
    """Say whether models can be had from the hub: a problem only where one is needed that nothing else has.

    Args:
        around: What to look at.
        answer: What the hub answered.
        is_needed: Whether a model was named that only the hub has.
    """
    hub = answer.hub
    cached = len(hub.cached())
    held = f"{cached} model{'' if cached == 1 else 's'} in {hub.folder}"
    if answer.error:
        summary = f"HF_ENDPOINT: {answer.error}"
        return Finding(check="hub", status="problem", summary=summary, command="unset HF_ENDPOINT")
    details = {"endpoint": answer.endpoint, "is_offline": hub.is_offline, "cached": cached}
    if not answer.is_silent:
        return Finding(check="hub", status="ok", summary=f"{answer.endpoint} answers; {held}.", details=details)
    if hub.is_offline:
        summary, command = f"switched off by HF_HUB_OFFLINE; {held}.", "unset HF_HUB_OFFLINE"
        ways = "allow downloads"
    else:
        summary = f"{answer.endpoint} cannot be reached: {answer.reason}; {held}."
        command = f"curl -sSI --max-time 10 {answer.endpoint}"
        ways = "set HTTPS_PROXY, or HF_ENDPOINT for a mirror"
    status: Status = "problem" if is_needed else "note"
    mend = f"Only the demo, folders and what is in the cache work so: {ways}, or copy models into the cache."
    if cached and not is_needed:
        mend, command = "What is in the cache works; doctor --model NAME says whether yours is there.", ""
        if not hub.is_offline:
            mend, command = f"{mend} This spares each start the wait for the hub.", "export HF_HUB_OFFLINE=1"
    return Finding(check="hub", status=status, summary=summary, mend=mend, command=command, details=details)


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
