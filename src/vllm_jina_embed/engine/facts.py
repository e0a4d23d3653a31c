"""What a served engine tells its clients, who have none of the checkpoint's files.

Enters and leaves: the JSON of ``GET /jina/checkpoint``. ``plugin/`` writes it,
``served.py`` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args, get_origin, get_type_hints

from ..checkpoints import Checkpoint
from ..errors import ConfigError

FACTS_PATH, TOKENIZER_PATH = "/jina/checkpoint", "/jina/tokenizer.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What one server serves.

    Attributes:
        checkpoint: Its facts; pixel bounds as the server uses them, and its name for a location.
        revision: Commit of a hub repository.
        files: State of the files in a folder, as in ``EngineConfig``.
        dtype: Type of the weights, such as ``bfloat16``.
        pooler_task: ``embed`` for one vector per item, ``token_embed`` for one per token.
        projected: Whether ``token_embed`` gives projected multi-vectors, never the token states.
        max_tokens: Longest prompt in tokens, pictures expanded.
        priority: Whether requests may have a priority.
        models: The request's model name for each task, where tasks differ by it.
        version: Version of this package on the server.
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

    def to_json(self) -> dict[str, Any]:
        """Return what a server answers."""
        told = asdict(self)
        del told["checkpoint"]["options"]
        return told

    @classmethod
    def from_json(cls, told: Any, url: str) -> ServerFacts:
        """Return what a server told; fields that this version does not know are left out.

        Raises:
            ConfigError: A fact is missing, or of another type.
        """
        try:
            checkpoint = Checkpoint(**_known(Checkpoint, told["checkpoint"], without=("options",)))
            return cls(checkpoint=checkpoint, **_known(cls, told, without=("checkpoint",)))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{url}{FACTS_PATH}: the server's facts cannot be read ({error!r}). Is it another version of "
                "this package?"
            ) from None


def _known(kind: type[Any], told: Any, *, without: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields of ``kind`` that were told, each of its type."""
    hints = get_type_hints(kind)
    found: dict[str, Any] = {}
    for one in fields(kind):
        if one.name in without:
            continue
        value, hint = told[one.name], hints[one.name]
        if get_origin(hint) is tuple:
            value = tuple(value)
            right = all(isinstance(entry, get_args(hint)[0]) for entry in value)
        else:
            right = isinstance(value, Mapping if get_origin(hint) is Mapping else hint)
        if not right:
            raise TypeError(f"{one.name}={value!r}")
        found[one.name] = value
    return found
