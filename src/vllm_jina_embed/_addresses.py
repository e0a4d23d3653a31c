"""The addresses that a command listens on: which are this machine's own, and who needs a key."""

from __future__ import annotations

import ipaddress
import socket

from ._secrets import check_key
from .errors import ConfigError

LOCAL = ("127.0.0.1", "localhost", "[::1]")
"""This machine, as a URL names it."""


def is_local(host: str) -> bool:
    """Tell whether an address to listen on is this machine's own, which no other reaches."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, which leads wherever it leads
        return False


def check_address(host: str, api_key: str | None, variable: str) -> None:
    """Check that only this machine is served without a key.

    Args:
        host: The address to listen on.
        api_key: The key that clients must send.
        variable: Name of the environment's variable that holds it.

    Raises:
        ConfigError: Others would be, or the key cannot stand in a header.
    """
    if check_key(api_key) is None and not is_local(host):
        raise ConfigError(
            f"host={host!r} can be reached from other machines, which needs a key: pass --api-key, or set {variable}."
        )


def names_of(host: str, allow_hosts: tuple[str, ...] = ()) -> list[str]:
    """Return the names by which a server is asked, as URLs have them without a port."""
    return [*LOCAL, *allow_hosts, *([host] if is_local(host) and ":" not in host else [])]


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one.

    Raises:
        ConfigError: It cannot.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConfigError(f"host={host!r}, port={port} cannot be listened on ({error}).") from None


def url_of(host: str, port: int) -> str:
    """Return the URL of a server without a path."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
