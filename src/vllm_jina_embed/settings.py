"""An embedder's settings: what a user wrote, checked, with every default filled in. Starts and asks nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Literal, get_args

from ._keywords import choice, positive
from .checkpoints import description, resolve
from .checkpoints.checkpoint import Checkpoint
from .checkpoints.description import TASKS, Model
from .checkpoints.files import locate
from .checkpoints.ranking import RankingCheckpoint
from .checkpoints.registry import row_given, serving
from .checkpoints.weights.token_layers import layer_files
from .engine.config import EngineConfig, LocalConfig
from .engine.remote.discover import Remote
from .errors import ConfigError
from .inputs.images import MediaPolicy
from .pooling.output_type import FLOAT32, OutputType
from .prompts.base import Spelling, Truncate, spelled

OnError = Literal["raise", "skip"]
Fusion = Literal["mean"]
LongText = Literal["chunks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an embedder was asked to do; see ``JinaEmbedder`` for each name."""

    checkpoint: Checkpoint
    task: str
    dimensions: int
    truncate: Truncate
    max_length: int
    media: MediaPolicy
    show_progress: bool
    on_error: OnError
    engine: EngineConfig
    fusion: Fusion | None = None
    normalize: bool = True
    long_text: LongText | None = None
    output: OutputType = FLOAT32

    def for_call(
        self, *, dimensions: int | None = None, task: str | None = None, normalize: bool | None = None
    ) -> Settings:
        """Return the settings of one call, which may have its own ``dimensions``, ``task`` and ``normalize``.

        Raises:
            ConfigError: No Matryoshka size of this checkpoint, a task that it does not serve, or vectors that are not
                normalised although ``fusion`` is set.
        """
        changes: dict[str, Any] = {}
        if dimensions is not None:
            changes["dimensions"] = check_dimensions(self.checkpoint, dimensions)
        if task is not None:
            changes["task"] = check_task(self.checkpoint, task)
        if normalize is not None:
            changes["normalize"] = _check_normalize(normalize, self.fusion)
        return replace(self, **changes) if changes else self

    @property
    def takes_both(self) -> bool:
        """Whether a text with its images, as one item, gets an embedding."""
        return self.checkpoint.row.takes_both or self.fusion is not None

    @property
    def fingerprint(self) -> str:
        """What decides a vector, as one string: equal ones give equal vectors for equal inputs and roles."""
        engine = self.engine
        parts = (
            self.checkpoint.row.vectors,
            engine.location,
            engine.revision,
            engine.files,
            self.task,
            self.dimensions,
            engine.min_pixels,
            engine.max_pixels,
            self.truncate,
            self.max_length,
            engine.options_key,
            # Not at their defaults: vectors that were cached before them are kept.
            *(() if self.fusion is None else (f"fusion={self.fusion}",)),
            *(() if self.normalize else ("normalize=False",)),
            *(() if self.long_text is None else (f"long_text={self.long_text}",)),
            *self.output.decides,
        )
        return "|".join(map(str, parts))


def check(
    *,
    model: str | os.PathLike[str] | None,
    revision: str | None = None,
    task: str | None = None,
    dimensions: int | None = None,
    truncate: Spelling = "end",
    max_length: int | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    media: MediaPolicy | None = None,
    show_progress: bool = False,
    on_error: OnError = "raise",
    engine_kwargs: Mapping[str, Any] | None = None,
    row: Model | str | None = None,
    fusion: Fusion | None = None,
    normalize: bool = True,
    long_text: LongText | None = None,
    output_dtype: str = "float32",
    ranges: Any = None,
    remote: Remote | None = None,
) -> Settings:
    """Return the settings with every default filled in.

    Raises:
        ConfigError: Names the setting, what was got and what is allowed.
    """
    if remote is not None and remote.facts is not None:
        checkpoint = _served(remote.facts.checkpoint, row_given(row))
    else:
        checkpoint = resolve.resolve(os.fspath(model or description.DEMO), revision, row_given(row), warns=True)
    low, high = pixel_bounds(checkpoint, min_pixels, max_pixels)
    _check_embeddings(checkpoint, fusion=fusion, normalize=normalize, long_text=long_text, output_dtype=output_dtype)
    if remote is None:
        engine: EngineConfig = LocalConfig(
            location=checkpoint.location,
            revision=revision,
            min_pixels=low,
            max_pixels=high,
            files=locate(checkpoint.location).state(layer_files(checkpoint.row)),
            row=checkpoint.row,
            architecture=checkpoint.architecture,
            embedding_size=checkpoint.hidden_size if checkpoint.row.size_key else None,
            max_tokens=checkpoint.max_length,
            tasks=checkpoint.tasks if checkpoint.has_adapters else (),
            options={**checkpoint.options, **(engine_kwargs or {})},
        )
    else:
        engine = remote.config(checkpoint, revision=revision, min_pixels=low, max_pixels=high)
    length = check_dimensions(checkpoint, dimensions)
    return Settings(
        checkpoint=checkpoint,
        task=check_task(checkpoint, task),
        dimensions=length,
        truncate=choice("truncate", spelled(truncate), get_args(Truncate)),
        max_length=positive("max_length", max_length, checkpoint.max_length),
        media=media if media is not None else MediaPolicy(),
        show_progress=show_progress,
        on_error=check_on_error(on_error),
        engine=engine,
        fusion=_check_fusion(checkpoint, fusion),
        normalize=_check_normalize(normalize, fusion),
        long_text=None if long_text is None else choice("long_text", long_text, get_args(LongText)),
        output=OutputType.checked(output_dtype, ranges, dimensions=length, normalize=normalize, on_error=on_error),
    )


def _check_normalize(normalize: bool, fusion: Fusion | None) -> bool:
    """Return ``normalize`` itself.

    Raises:
        ConfigError: It is neither True nor False, or False with a fusion, which is a mean of unit vectors.
    """
    if not isinstance(normalize, bool):
        raise ConfigError(f"normalize={normalize!r} must be True or False.")
    if fusion is not None and not normalize:
        raise ConfigError(f"normalize=False: fusion={fusion!r} joins two vectors of norm 1. Leave one of them out.")
    return normalize


def _check_embeddings(checkpoint: Checkpoint, **options: Any) -> None:
    """Check that nothing is asked of the embeddings of a checkpoint that has none."""
    plain = {"normalize": True, "output_dtype": "float32"}
    given = [f"{name}={value!r}" for name, value in options.items() if value != plain.get(name)]
    if given and checkpoint.row.pooling is None:
        raise ConfigError(
            f"{', '.join(given)}: {checkpoint.name} has no embedding of an item, which this is about, but a vector of "
            "each token (embed_multi_vector). Leave it out."
        )


def _check_fusion(checkpoint: Checkpoint, fusion: Fusion | None) -> Fusion | None:
    """Return ``fusion`` itself.

    Raises:
        ConfigError: It is unknown, or the model has a vector for a text with its images itself, or for no image.
    """
    if fusion is None:
        return None
    checked: Fusion = choice("fusion", fusion, get_args(Fusion))
    if checkpoint.row.takes_both:
        raise ConfigError(
            f"fusion={fusion!r}: {checkpoint.name} was trained with text and image together, and its own vector is "
            "better than a mean of two. Leave fusion out."
        )
    if not checkpoint.supports_images:
        raise ConfigError(f"fusion={fusion!r} means nothing to {checkpoint.name}, which takes texts only.")
    return checked


def _served(checkpoint: Checkpoint | RankingCheckpoint, row: Model | None) -> Checkpoint:
    """Return what servers of embeddings serve.

    Raises:
        ConfigError: It is not of the row that the caller named.
    """
    assert isinstance(checkpoint, Checkpoint)
    if row is not None and row.vectors != (served := checkpoint.row).vectors:
        raise ConfigError(
            f"row={row.name!r} (digest {row.digest}), but the servers serve {checkpoint.name} as {served.name!r} "
            f"(digest {served.digest}). Leave row= out, or start them with this row."
        )
    return checkpoint


def check_on_error(on_error: str) -> OnError:
    """Return ``on_error`` itself.

    Raises:
        ConfigError: It is neither ``raise`` nor ``skip``.
    """
    checked: OnError = choice("on_error", on_error, get_args(OnError))
    return checked


def pixel_bounds(
    checkpoint: Checkpoint | RankingCheckpoint, min_pixels: int | None, max_pixels: int | None
) -> tuple[int, int]:
    """Return the smallest and the largest area of an image."""
    if not checkpoint.has_pixel_bounds and (min_pixels, max_pixels) != (None, None):
        why = "whose images have a fixed size" if checkpoint.supports_images else "which takes texts only"
        raise ConfigError(f"min_pixels and max_pixels mean nothing to {checkpoint.name}, {why}.")
    low = positive("min_pixels", min_pixels, checkpoint.min_pixels)
    high = positive("max_pixels", max_pixels, checkpoint.max_pixels)
    if low > high:
        raise ConfigError(f"min_pixels={low} is larger than max_pixels={high}.")
    return low, high


def check_task(checkpoint: Checkpoint, task: str | None) -> str:
    """Return the task to use: ``task`` itself, or the checkpoint's first where it is None.

    Raises:
        ConfigError: These weights do not serve ``task``; the message names the checkpoint that does.
    """
    if task is None:
        return checkpoint.tasks[0]
    if task not in TASKS:
        raise ConfigError(f"task={task!r} is unknown; choose one of {', '.join(TASKS)}.")
    if task not in checkpoint.tasks:
        raise ConfigError(
            f"task={task!r} is not served by {checkpoint.name}, only {', '.join(checkpoint.tasks)}. It is served by "
            f"{' and '.join(serving(task))}."
        )
    return task


def check_dimensions(checkpoint: Checkpoint, dimensions: int | None) -> int:
    """Return the length of the embeddings: ``dimensions``, or the full length where it is None.

    Raises:
        ConfigError: The checkpoint was not trained for embeddings of this length; names it, and what is allowed.
    """
    if dimensions is None:
        return checkpoint.hidden_size
    is_whole = isinstance(dimensions, Integral) and not isinstance(dimensions, bool)  # numpy's are among them
    if is_whole and checkpoint.was_trained_for(dimensions):
        return int(dimensions)
    least, full = checkpoint.row.min_dimensions, checkpoint.hidden_size
    if least is not None and least < full:
        allowed = f"choose a whole number from {least} to {full}."
    elif len(checkpoint.matryoshka_sizes) > 1:
        allowed = f"choose one of {', '.join(map(str, checkpoint.matryoshka_sizes))}."
    else:
        allowed = f"it was trained for the full length alone. Leave dimensions out, or pass {full}."
    raise ConfigError(f"dimensions={dimensions!r} is not a Matryoshka size of {checkpoint.name}; {allowed}")
