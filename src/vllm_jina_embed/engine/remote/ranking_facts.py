"""What a server says about its reranker to clients, who have none of its files; ``server_facts`` has the others'.

The JSON of ``GET /jina/checkpoint``: ``serve/`` writes it, ``ranking_server.py`` reads it.
"""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...checkpoints.rankers import RANKERS
from ...checkpoints.ranking import RankingCheckpoint, RankingModel
from ...checkpoints.values import is_name
from ...errors import ConfigError
from .server_facts import CLASSIFY, DIGEST, FACTS_PATH, _known

NOT_TOLD = ("architecture", "row")
"""Fields of a checkpoint that JSON has otherwise, or that clients need not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingFacts:
    """What one server serves; see ``ServerFacts`` for each name. ``pooler_task`` is ``classify``."""

    checkpoint: RankingCheckpoint
    revision: str | None
    files: str
    dtype: str
    pooler_task: str
    max_tokens: int
    priority: bool
    version: str
    decoder: str

    @property
    def location(self) -> str:
        """As in ``ServerFacts``."""
        return f"{self.checkpoint.name} in {self.dtype}"

    @property
    def tasks(self) -> int:
        """As in ``ServerFacts``; a reranker has one."""
        return 1

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the scores, by name; a server keeps it when it is started anew, or is another one."""
        return self._of_checkpoint | {"revision": self.revision, "files": self.files, "dtype": self.dtype}

    @property
    def fingerprint(self) -> str:
        """The identity as one short string."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return what a server answers."""
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        return own | {"checkpoint": self._of_checkpoint}

    @property
    def _of_checkpoint(self) -> dict[str, Any]:
        """The checkpoint's facts as JSON has them; of its row, the name and the digest alone."""
        names = [one.name for one in fields(RankingCheckpoint) if one.name not in NOT_TOLD]
        row = self.checkpoint.row
        return {name: getattr(self.checkpoint, name) for name in names} | {"family": row.name, DIGEST: row.digest}

    @classmethod
    def from_json(cls, told: Any, url: str, own: RankingModel | None = None) -> RankingFacts:
        """Return what a server told; fields that this version does not know are left out.

        Args:
            told: The JSON that it answered.
            url: The server.
            own: A row of the caller's own, beside the registered ones.

        Raises:
            ConfigError: It serves no reranker, a fact is missing, of another type, or out of bounds, or its row is not
                known here.
        """
        if isinstance(told, Mapping) and told.get("pooler_task", CLASSIFY) != CLASSIFY:
            raise ConfigError(
                f"{url}: the server there embeds items one by one and judges no pairs. Use JinaEmbedder.from_server."
            )
        try:
            known = _known(cls, told, without=("checkpoint",))
            values = _known(RankingCheckpoint, told.get("checkpoint"), without=NOT_TOLD)
            checkpoint = RankingCheckpoint(**values, row=_row(told["checkpoint"], own, url))
            if checkpoint.min_pixels > checkpoint.max_pixels:
                raise ValueError(f"min_pixels: got {checkpoint.min_pixels}, more than max_pixels")
        except ValueError as error:
            raise ConfigError(
                f"{url}{FACTS_PATH}: the server's facts cannot be read: {error}. Is it another version of this package?"
            ) from None
        return cls(checkpoint=checkpoint, **known)


def _row(told: Mapping[str, Any], own: RankingModel | None, url: str) -> RankingModel:
    """Return the row that a server named.

    Raises:
        ValueError: It named none.
        ConfigError: There is no such row here, or it is another one.
    """
    name, digest = told.get("family"), told.get(DIGEST)
    if not (is_name(name) and is_name(digest)):
        raise ValueError(f"family: got {reprlib.repr(name)}, with {DIGEST} {reprlib.repr(digest)}; expected two names")
    rows = dict(RANKERS) | ({} if own is None else {own.name: own})
    if name not in rows:
        raise ConfigError(
            f"{url}: the server's row {reprlib.repr(name)} is unknown here; {len(rows)} others are known. Pass its "
            "description as row=, or register it."
        )
    if rows[name].digest != digest:
        raise ConfigError(
            f"{url}: the server's row {name!r} has digest {reprlib.repr(digest)}; expected {rows[name].digest!r}, as "
            "the row of this name has here. Describe the model alike on both sides, or use the same version of this "
            "package."
        )
    return rows[name]
