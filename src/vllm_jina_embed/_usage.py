"""A parser of command lines that names the nearest command or option in its errors, and prints shell completions."""

from __future__ import annotations

import argparse
import re
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from ._extras import require

SHELLS = ("bash", "zsh", "fish", "tcsh")
_FILES = {"FILE", "SOURCE", "DEST", "CORPUS", "CHECKPOINT"}  # metavars of arguments that may be files


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose errors suggest what may have been meant.

    Python's own ``suggest_on_error`` (3.14) does it for commands and choices, and not for options.
    """

    def error(self, message: str) -> NoReturn:
        """Print the usage and ``message`` with a suggestion, and exit with 2."""
        super().error(message + suggestion(message, self.format_help()))


def suggestion(message: str, text: str) -> str:
    """Return a sentence that names the nearest of what is allowed, or "".

    Args:
        message: An error of argparse.
        text: The help of the parser, which holds its options.
    """
    if choice := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message, re.DOTALL):
        typed, allowed = choice[1], re.findall(r"[\w-]+", choice[2])
    elif option := re.search(r"unrecognized arguments: .*?(?<!\S)(--[\w-]+)", message):
        typed, allowed = option[1], re.findall(r"(?<!\S)--[\w-]+", text)
    else:
        return ""
    nearest = get_close_matches(typed, allowed, n=1)
    return f". Did you mean {nearest[0]}?" if nearest else ""


class PrintCompletion(argparse.Action):
    """Prints the completion script of a shell, by shtab, and exits."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: str | None = None
    ) -> None:
        """Print it.

        Raises:
            MissingExtraError: shtab is not installed.
        """
        require("cli", "shtab")
        import shtab

        _mark_files(parser, shtab.FILE)
        sys.stdout.write(shtab.complete(parser, shell=values) + "\n")
        parser.exit()


def _mark_files(parser: argparse.ArgumentParser, files: Any) -> None:
    """Let shtab complete names of files for the arguments that take them, here and in sub-commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                _mark_files(child, files)
        elif action.type is Path or action.metavar in _FILES:
            action.complete = files  # type: ignore[attr-defined]
