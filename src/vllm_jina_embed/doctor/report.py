"""Findings as lines, as a table on a terminal that rich draws, and as JSON without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO

from .._secrets import HIDDEN, Hider
from .finding import Finding

FORMAT = 1
"""Of the JSON; raised where a field is renamed or taken away."""
SECRET_NAME = re.compile(r"TOKEN|SECRET|PASS|CREDENTIAL|(API|ACCESS|PRIVATE)_?KEY", re.IGNORECASE)
"""Environment variables whose values are shown nowhere."""
LEAST_SECRET = 8
"""Characters of the shortest value that is hidden: shorter ones are switches, and would match other text."""
LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
"""User name and password of a URL."""
MARKS = {"ok": ("ok", "green"), "absent": ("-", "dim"), "note": ("note", "yellow"), "problem": ("PROBLEM", "bold red")}


def write(findings: Sequence[Finding], out: TextIO, *, as_json: bool = False) -> None:
    """Write findings: JSON, or a table where ``out`` is a terminal and rich is installed, or plain lines."""
    if as_json:
        out.write(as_document(findings) + "\n")
    elif out.isatty() and find_spec("rich") is not None:
        _draw(findings, out)
    else:
        encoding = out.encoding or "utf-8"
        out.write(plain(findings).encode(encoding, "backslashreplace").decode(encoding) + "\n")


def as_document(findings: Sequence[Finding]) -> str:
    """Return findings as a JSON object; ``cleaned`` has taken secrets out of them."""
    entries = [
        {
            "check": finding.check,
            "status": finding.status,
            "summary": finding.summary,
            "mend": finding.mend,
            "command": finding.command,
            "details": dict(finding.details),
        }
        for finding in findings
    ]
    document = {"format": FORMAT, "ok": count(findings, "problem") == 0, "findings": entries}
    return json.dumps(document, indent=2, ensure_ascii=False)


def plain(findings: Sequence[Finding]) -> str:
    """Return findings as lines, what to do below each, and a last line that counts them."""
    width = max((len(finding.check) for finding in findings), default=0)
    lines = []
    for finding in findings:
        lines.append(f"{MARKS[finding.status][0]:<8} {finding.check:<{width}}  {finding.summary}")
        lines += [f"{'':<8} {'':<{width}}  {line}" for line in advice(finding)]
    return "\n".join([*lines, "", verdict(findings)])


def advice(finding: Finding) -> list[str]:
    """Return what to do as lines: the sentence, and the command after ``Run:``."""
    if finding.status == "absent":
        return []
    return [line for line in (finding.mend, f"Run: {finding.command}" if finding.command else "") if line]


def verdict(findings: Sequence[Finding]) -> str:
    """Return the last line."""
    problems, notes = count(findings, "problem"), count(findings, "note")
    noted = f"{notes} note{'' if notes == 1 else 's'}"
    found = f"{problems} problem{'' if problems == 1 else 's'}" if problems else "No problem found"
    return f"{found}, {noted}."


def count(findings: Sequence[Finding], status: str) -> int:
    """Return how many findings have a status."""
    return sum(finding.status == status for finding in findings)


def cleaned(finding: Finding, environment: Mapping[str, str], home: Path | None = None) -> Finding:
    """Return a finding without secrets: values of variables, logins in URLs, and the name of the home folder.

    Args:
        finding: What a check found.
        environment: Environment variables; those with the names of secrets are hidden.
        home: The user's folder, written as ``~``; None for this user's.
    """
    values = [value for name, value in environment.items() if SECRET_NAME.search(name) and len(value) >= LEAST_SECRET]
    hide, own = Hider(values), str(home or Path.home())

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            text = LOGIN.sub(HIDDEN, hide(value))
            return re.sub(rf"{re.escape(own)}(?=/|\W|$)", "~", text) if len(own) > 1 else text
        if isinstance(value, Mapping):
            return {name: clean(one) for name, one in value.items()}
        return [clean(one) for one in value] if isinstance(value, list | tuple) else value

    return Finding(**{name: clean(getattr(finding, name)) for name in Finding.__slots__})


def _draw(findings: Sequence[Finding], out: TextIO) -> None:
    """Draw lines by rich, with no markup in what the checks say; a command is one line, so that it can be copied."""
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    console = Console(file=out, highlight=False)
    width = max((len(finding.check) for finding in findings), default=0)
    for finding in findings:
        mark, style = MARKS[finding.status]
        cell = Text(finding.summary, style="dim" if finding.status == "absent" else "")
        shown = finding.status != "absent"
        if finding.mend and shown:
            cell.append(f"\n{finding.mend}", style="italic")
        row = Table.grid(Column(width=8), Column(width=width + 2), Column(overflow="fold"))
        row.add_row(Text(mark, style=style), Text(finding.check, style="bold"), cell)
        console.print(row)
        if finding.command and shown:
            console.print(Text(f"{'':<{width + 10}}Run: {finding.command}", style="cyan"), soft_wrap=True)
    console.print(Text(f"\n{verdict(findings)}", style="bold red" if count(findings, "problem") else "bold green"))
