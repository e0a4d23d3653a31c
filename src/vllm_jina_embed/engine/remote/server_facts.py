"""What a server says about its checkpoint to clients, who have none of its files.

The JSON of ``GET /jina/checkpoint``: ``serve/`` writes it, ``server.py`` reads it.
What is read has the right types and lies within bounds, whatever the server says.
"""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeGuard, get_type_hints

from ...checkpoints.checkpoint import Checkpoint
from ...checkpoints.description import TASKS, Model
from ...checkpoints.registry import ROWS
from ...checkpoints.values import is_name
from ...errors import ConfigError

FACTS_PATH, TOKENIZER_PATH = "/jina/checkpoint", "/jina/tokenizer.json"
FINGERPRINT_HEADER = "x-jina-checkpoint"
"""Stands in every answer of a server, so that none is taken for another checkpoint's."""
WIRE_NAMES = {"matryoshka_sizes": "dimensions", "row": "family"}
"""Fields that have another name in the JSON: the one of version 0.1, so that servers and clients may be updated one by
one; a row is its name there. Remove when no 0.1 is left to talk to."""
NOT_TOLD = ("options", "architecture")
"""Fields of a checkpoint that clients need not know."""
MAY_BE_MISSING = ("decoder",)
"""Facts that version 0.1 did not tell."""
DIGEST = "row_digest"
"""Key beside ``family``, only of rows that version 0.1 did not have: equal names must mean equal rows."""
LONGEST_LIST = 100
"""Entries of a list that are believed."""
MOST_TOKENS = 10_000_000
"""Tokens of a prompt that are believed."""
MOST = {
    "hidden_size": 65_536,
    "dimensions": 65_536,
    "token_dimensions": 65_536,
    "min_pixels": 10**9,
    "max_pixels": 10**9,
    "max_length": MOST_TOKENS,
    "max_tokens": MOST_TOKENS,
}
"""The largest value of each whole number that is believed; the smallest is 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What one server serves.

    Attributes:
        checkpoint: Its facts; pixel bounds as the server uses them, and its name for a location.
        revision: Commit of a hub repository.
        files: State of the files in a folder, as in ``LocalConfig``.
        dtype: Type of the weights, such as ``bfloat16``.
        pooler_task: ``embed`` for one vector per item, ``token_embed`` for one per token.
        projected: Whether ``token_embed`` gives projected multi-vectors, never the token states.
        max_tokens: Longest prompt in tokens, images expanded.
        priority: Whether requests may have a priority.
        models: The request's model name for each task, where tasks differ by it.
        version: Version of this package on the server.
        decoder: What decides the pixels of image files there (``inputs.decoder``); empty if it does not tell that, as
            a server of version 0.1.
    """

    checkpoint: Checkpoint
    revision: str | None
    files: str
    dtype: str
    pooler_task: str
    projected: bool
    max_tokens: int
    priority: bool
    models: Mapping[str, str]
    version: str
    decoder: str = ""

    @property
    def location(self) -> str:
        """What stands for the checkpoint's place in a ``RemoteConfig``: its name and dtype, as no path is told."""
        return f"{self.checkpoint.name} in {self.dtype}"

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the vectors, by name; a server keeps it when it is started anew, or is another one."""
        return self._of_checkpoint | {"revision": self.revision, "files": self.files, "dtype": self.dtype}

    @property
    def fingerprint(self) -> str:
        """The identity as one short string."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return what a server answers."""
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        own = {name: value for name, value in own.items() if value or name not in MAY_BE_MISSING}
        return own | {"checkpoint": self._of_checkpoint, "models": dict(self.models)}

    @property
    def _of_checkpoint(self) -> dict[str, Any]:
        """The checkpoint's facts as JSON has them; of its row, the name and the digest alone."""
        names = [one.name for one in fields(Checkpoint) if one.name not in NOT_TOLD]
        values = {WIRE_NAMES.get(name, name): getattr(self.checkpoint, name) for name in names}
        return values | _row_facts(self.checkpoint.row)

    @classmethod
    def from_json(cls, told: Any, url: str, own: Model | None = None) -> ServerFacts:
        """Return what a server told; fields that this version does not know are left out.

        Args:
            told: The JSON that it answered.
            url: The server.
            own: A row of the caller's own, beside the registered ones.

        Raises:
            ConfigError: A fact is missing, of another type, or out of bounds, or the server's row is not known here.
        """
        try:
            known = _known(cls, told, without=("checkpoint", *MAY_BE_MISSING))
            known |= {name: told[name] for name in MAY_BE_MISSING if is_name(told.get(name))}
            values = _known(Checkpoint, told.get("checkpoint"), without=(*NOT_TOLD, "row"))
            checkpoint = Checkpoint(**values, row=_row(told["checkpoint"], own, url))
            facts = cls(checkpoint=checkpoint, **known)
            _check(facts)
        except ValueError as error:
            raise ConfigError(
                f"{url}{FACTS_PATH}: the server's facts cannot be read: {error}. Is it another version of this package?"
            ) from None
        return facts


def _row_facts(row: Model) -> dict[str, str]:
    """Return what tells a row: its name, and its digest unless version 0.1 had the row too."""
    digest = row.digest
    return {"family": row.name} | ({} if digest in row.vectors_before else {DIGEST: digest})


def _row(told: Mapping[str, Any], own: Model | None, url: str) -> Model:
    """Return the row that a server named.

    Raises:
        ValueError: It named none.
        ConfigError: There is no row of this name here, or it is another row.
    """
    name, digest = told.get("family", ""), told.get(DIGEST)
    if "family" not in told or not (is_name(name) and (digest is None or is_name(digest))):
        raise ValueError(
            "family is missing"
            if "family" not in told
            else f"family: got {reprlib.repr(name)}, with {DIGEST} {reprlib.repr(digest)}; expected two names"
        )
    rows = dict(ROWS) | ({} if own is None else {own.name: own})
    if name not in rows:
        raise ConfigError(
            f"{url}{FACTS_PATH}: the server's facts cannot be read: family {reprlib.repr(name)} is a row that is "
            f"unknown here; {len(rows)} others are known. Pass its description as row=, or register it."
        )
    if _row_facts(rows[name]).get(DIGEST) != digest:
        told_digest = "no digest, as in version 0.1" if digest is None else f"digest {reprlib.repr(digest)}"
        raise ConfigError(
            f"{url}: the server's row {name!r} has {told_digest}; expected {rows[name].digest!r}, as the row of this "
            "name has here. Describe the model alike on both sides, or use the same version of this package."
        )
    return rows[name]


def is_within(value: Any, most: int) -> TypeGuard[int]:
    """Tell whether ``value`` is a whole number from 1 to ``most``."""
    return type(value) is int and 1 <= value <= most


def _known(kind: type[Any], told: Any, *, without: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields of ``kind`` that were told, each of its type and within its bounds.

    Raises:
        ValueError: Names the field and what was told.
    """
    if not isinstance(told, dict):
        raise ValueError(f"got {reprlib.repr(told)}; expected {kind.__name__}'s fields")
    hints = get_type_hints(kind)
    found: dict[str, Any] = {}
    for one in fields(kind):
        if one.name in without:
            continue
        name = WIRE_NAMES.get(one.name, one.name)
        if name not in told:
            raise ValueError(f"{name} is missing")
        value = told[name]
        most = MOST.get(name, 0)
        if not _IS[hints[one.name]](value, most):
            bounds = f", from 1 to {most}" if most else ""
            raise ValueError(f"{name}: got {reprlib.repr(value)}; expected {hints[one.name]}{bounds}")
        found[one.name] = _READ.get(hints[one.name], _unchanged)(value)
    return found


def _unchanged(value: Any) -> Any:
    return value


_READ: dict[Any, Callable[[Any], Any]] = {tuple[int, ...]: tuple, tuple[str, ...]: tuple}

_IS: dict[Any, Callable[[Any, int], bool]] = {
    int: is_within,
    bool: lambda value, most: isinstance(value, bool),
    str: lambda value, most: is_name(value),
    str | None: lambda value, most: value is None or is_name(value),
    tuple[int, ...]: lambda value, most: _is_list(value) and all(is_within(one, most) for one in value),
    tuple[str, ...]: lambda value, most: _is_list(value) and all(is_name(one) for one in value),
    Mapping[str, str]: lambda value, most: (
        isinstance(value, dict) and len(value) <= LONGEST_LIST and all(map(is_name, (*value, *value.values())))
    ),
}


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and 0 < len(value) <= LONGEST_LIST


def _check(facts: ServerFacts) -> None:
    """Check what more than one fact decides, and what only some values mean anything.

    Raises:
        ValueError: Names the fact and what was told.
    """
    checkpoint = facts.checkpoint
    sizes = checkpoint.matryoshka_sizes
    rules = {
        "tasks": (checkpoint.tasks, set(checkpoint.tasks) <= set(TASKS)),
        "dimensions": (sizes, sizes == tuple(sorted({*sizes})) and sizes[-1] == checkpoint.hidden_size),
        "min_pixels": (checkpoint.min_pixels, checkpoint.min_pixels <= checkpoint.max_pixels),
        "pooler_task": (facts.pooler_task, facts.pooler_task in {"embed", "token_embed"}),
    }
    for name, (value, is_right) in rules.items():
        if not is_right:
            raise ValueError(f"{name}: got {reprlib.repr(value)}, which means nothing to this version")
