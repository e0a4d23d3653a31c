"""What a check found, and what the checks look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .installed import Site
from .probing import Probe

Status = Literal["ok", "absent", "note", "problem"]
"""``absent``: not installed, and nothing needs it. ``note``: worth knowing. ``problem``: something will fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found.

    Attributes:
        check: Name of the check, for example ``torch``.
        status: How good or bad it is.
        summary: One or two sentences.
        mend: What to do about it; "" where there is nothing to do.
        command: The line of a shell that does it; "" where there is none.
        details: Further figures for ``--json``, of JSON's types.
    """

    check: str
    status: Status
    summary: str
    mend: str = ""
    command: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the checks look at.

    Attributes:
        site: The installed distributions.
        probe: What importing torch and vLLM gave.
        environment: Environment variables.
        has_gpu: Whether the machine seems to have a GPU, whatever torch says.
    """

    site: Site
    probe: Probe
    environment: Mapping[str, str]
    has_gpu: bool = False
