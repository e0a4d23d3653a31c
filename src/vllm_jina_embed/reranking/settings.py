"""A reranker's settings: what a user wrote, checked, with every default filled in. Starts and asks nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from .._keywords import choice, positive
from ..checkpoints.cross_encoder_files import check_prompt
from ..checkpoints.files import locate
from ..checkpoints.rankers import PUBLISHED_RANKERS, ranker_given
from ..checkpoints.ranking import RankingCheckpoint, RankingModel
from ..checkpoints.resolve_ranker import resolve_ranker
from ..engine.config import EngineConfig, LocalConfig
from ..engine.remote.discover import Remote
from ..errors import ConfigError, InputError
from ..inputs.items import checked_text
from ..inputs.policy import MediaPolicy
from ..prompts.base import Spelling, Truncate, spelled
from ..settings import OnError, check_on_error, pixel_bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingSettings:
    """What a reranker was asked to do; see ``JinaReranker`` for each name."""

    checkpoint: RankingCheckpoint
    instruction: str
    truncate: Truncate
    max_length: int
    media: MediaPolicy
    show_progress: bool
    on_error: OnError
    engine: EngineConfig

    @property
    def fingerprint(self) -> str:
        """What decides a score, as one string: equal ones give equal scores for equal pairs."""
        engine, row = self.engine, self.checkpoint.row
        parts = (
            f"vllm-jina-embed/scores/{row.digest}",
            engine.location,
            engine.revision,
            engine.files,
            self.instruction,
            engine.min_pixels,
            engine.max_pixels,
            self.truncate,
            self.max_length,
            engine.options_key,
        )
        return "|".join(map(str, parts))


def check(
    *,
    model: str | os.PathLike[str] = "",
    instruction: str | None = None,
    truncate: Spelling = "end",
    max_length: int | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    media: MediaPolicy | None = None,
    show_progress: bool = False,
    on_error: OnError = "raise",
    engine_kwargs: Mapping[str, Any] | None = None,
    revision: str | None = None,
    row: RankingModel | str | None = None,
    remote: Remote | None = None,
) -> RankingSettings:
    """Return the settings with every default filled in.

    Raises:
        ConfigError: Names the setting, what was got and what is allowed.
    """
    own = ranker_given(row)
    if remote is not None and remote.facts is not None:
        told = remote.facts.checkpoint
        assert isinstance(told, RankingCheckpoint)  # of servers that were asked for scores
        checkpoint = told
        _check_row(checkpoint, own)
    else:
        checkpoint = resolve_ranker(os.fspath(model), revision, own)
        if instruction is None and checkpoint.name not in PUBLISHED_RANKERS:
            check_prompt(checkpoint.name, locate(checkpoint.location, revision), checkpoint.row)
    low, high = pixel_bounds(checkpoint, min_pixels, max_pixels)
    return RankingSettings(
        checkpoint=checkpoint,
        instruction=check_instruction(checkpoint, instruction),
        truncate=choice("truncate", spelled(truncate), get_args(Truncate)),
        max_length=positive("max_length", max_length, checkpoint.max_length),
        media=media or MediaPolicy(),
        show_progress=show_progress,
        on_error=check_on_error(on_error),
        engine=(
            LocalConfig(
                location=checkpoint.location,
                revision=revision,
                min_pixels=low,
                max_pixels=high,
                files=locate(checkpoint.location).state(),
                row=checkpoint.row,
                architecture=checkpoint.architecture,
                max_tokens=checkpoint.max_length,
                options=dict(engine_kwargs or {}),
            )
            if remote is None
            else remote.config(checkpoint, revision=revision, min_pixels=low, max_pixels=high)
        ),
    )


def _check_row(checkpoint: RankingCheckpoint, row: RankingModel | None) -> None:
    """Check that servers serve the row that the caller named."""
    if row is not None and row != (served := checkpoint.row):
        raise ConfigError(
            f"row={row.name!r} (digest {row.digest}), but the servers serve {checkpoint.name} as {served.name!r} "
            f"(digest {served.digest}). Leave row= out, or start them with this row."
        )


def check_instruction(checkpoint: RankingCheckpoint, instruction: str | None) -> str:
    """Return the instruction to use: ``instruction`` itself, or the row's where it is None.

    Raises:
        ConfigError: It is not a text, or the model's prompt has no place for one.
    """
    row = checkpoint.row
    if instruction is None:
        return row.instruction
    if not row.takes_instruction:
        raise ConfigError(f"instruction={instruction!r}: {checkpoint.name} takes no instruction. Leave it out.")
    try:
        return checked_text(instruction, name="instruction")
    except InputError as error:
        raise ConfigError(str(error)) from None


def keywords(settings: RankingSettings) -> dict[str, Any]:
    """Return the keywords (``model`` and those of ``JinaReranker``) that make a reranker with equal settings."""
    engine, row = settings.engine, settings.checkpoint.row
    has_pixels = settings.checkpoint.has_pixel_bounds  # of texts, the settings have bounds that nobody may pass
    return {
        "model": settings.checkpoint.name,
        "instruction": settings.instruction if row.takes_instruction else None,
        "truncate": settings.truncate,
        "max_length": settings.max_length,
        "min_pixels": engine.min_pixels if has_pixels else None,
        "max_pixels": engine.max_pixels if has_pixels else None,
        "media": settings.media,
        "show_progress": settings.show_progress,
        "on_error": settings.on_error,
        "engine_kwargs": dict(engine.options) if isinstance(engine, LocalConfig) else {},
        "revision": engine.revision,
        "row": row,
    }
