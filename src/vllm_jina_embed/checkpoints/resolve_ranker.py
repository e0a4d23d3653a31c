"""Turn a reranker's name (a folder, a hub repository) into its ``RankingCheckpoint``; no engine starts.

Configuration files are read, weights are not. Nothing is downloaded for the published names.
"""

from __future__ import annotations

from . import values
from .cross_encoder_files import check_modules
from .description import DEMO
from .kinds import EMBEDS, check_kind, check_published, of_other_kind
from .rankers import PUBLISHED_RANKERS, RANKERS
from .ranking import RankingCheckpoint, RankingModel
from .recognition import decide
from .registry import PUBLISHED, ROWS
from .resolve import longest, opened
from .row import Row

KNOWN = f"Known names: {', '.join(sorted(PUBLISHED_RANKERS))}"


def resolve_ranker(model: str, revision: str | None = None, row: RankingModel | None = None) -> RankingCheckpoint:
    """Return the description of a reranker.

    Args:
        model: A published repository, or a folder or repository with a checkpoint of a known row.
        revision: Commit or tag of a hub repository; ignored for folders.
        row: The row of the checkpoint; None decides by its files.

    Raises:
        ConfigError: The name is neither known nor a folder, or the files say that it is another model.
    """
    if model in PUBLISHED_RANKERS and row in (None, PUBLISHED_RANKERS[model].row):
        return PUBLISHED_RANKERS[model]
    if row is None:
        check_published(model, {DEMO, *PUBLISHED}, EMBEDS)
    location, config = opened(model, revision, KNOWN)
    if row is None:
        check_kind(model, location, config, tuple(RANKERS.values()), tuple(ROWS.values()), EMBEDS)
    rows = tuple(one for one in RANKERS.values() if not one.only_named) if row is None else (row,)
    decision = decide(model, location, config, rows, is_named=row is not None, advice=_how_to_describe)
    check_modules(model, location, decision.row)
    where = f"model={model!r}: config.json"
    text_config = {**decision.layout.defaults, **(values.mapping(where, config, "text_config") or config)}
    return RankingCheckpoint(
        name=model,
        location=str(location),
        row=decision.row,
        min_pixels=decision.row.min_pixels,
        max_pixels=decision.row.max_pixels,
        max_length=longest(model, location, text_config, decision),
        architecture=decision.layout.architecture,
    )


def is_ranker(model: str, revision: str | None = None, row: Row | None = None) -> bool:
    """Tell whether a checkpoint is a reranker rather than a model that embeds items, as ``resolve_ranker`` decides.

    Args:
        model: As in ``resolve_ranker``, or the demo.
        revision: As in ``resolve_ranker``.
        row: Its row, which decides where it is known.

    Raises:
        ConfigError: There is no such checkpoint.
    """
    if row is not None:
        return isinstance(row, RankingModel)
    if model in PUBLISHED_RANKERS or model in {DEMO, *PUBLISHED}:
        return model in PUBLISHED_RANKERS
    location, config = opened(model, revision, KNOWN)
    return bool(of_other_kind(model, location, config, tuple(ROWS.values()), tuple(RANKERS.values())))


def _how_to_describe(name: str, architecture: str) -> str:
    """Return the lines with which a user describes a reranker that no row does."""
    return (
        " If you know what it was trained with, pass a description of it: row=vllm_jina_embed.RankingModel(...) with "
        f"layouts=(Layout(architecture={architecture[:100]!r}, modules=()),), pooling, kind, template, head and "
        "max_length."
    )
