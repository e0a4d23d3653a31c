"""What is known about a checkpoint before any engine starts.

Enters: a model name (``demo``, a hub repository, a folder). Leaves: a frozen ``Checkpoint``.
This file refuses to know prompts, vLLM and weights; it reads at most ``config.json``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from . import checkpoint_values as values
from . import recognition
from .errors import ConfigError

logger = logging.getLogger(__name__)

TASKS = ("retrieval", "text-matching", "code")

JINA_V4, XLM_ROBERTA = "jina-v4", "xlm-roberta"
"""Families: checkpoints with one way to make prompts, to start vLLM and to pool."""

# Source: config.json `matryoshka_dims` of jinaai/jina-embeddings-v4; paper arXiv:2506.18902, section 4.
JINA_V4_DIMENSIONS = (128, 256, 512, 1024, 2048)
# Source: config.json `multi_vector_projector_dim` of jinaai/jina-embeddings-v4.
JINA_V4_TOKEN_DIMENSIONS = 128
# Source: preprocessor_config.json of jinaai/jina-embeddings-v4: 602112 = 768 * 28 * 28, at most 768 image tokens.
# The merged vLLM checkpoints ship 12845056, which gives other vectors for larger pictures.
JINA_V4_MIN_PIXELS = 3136
JINA_V4_MAX_PIXELS = 602112
# Source: modeling_jina_embeddings_v4.py, encode_text(max_length=32768).
JINA_V4_MAX_LENGTH = 32768

# What decides vectors in a checkpoint's folder: weights, configuration, tokenizer.
_DECIDING = (".safetensors", ".bin", ".json", ".txt", ".model")

DEMO = "demo"
DEMO_FOLDER = Path(__file__).parent / "demo" / "checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Facts about one checkpoint.

    Attributes:
        name: What the user wrote.
        location: Folder or hub repository that the engine loads.
        tasks: Tasks whose vectors these weights give; the first is the default.
        hidden_size: Length of a full embedding.
        dimensions: Matryoshka sizes that were trained, ascending; the last is ``hidden_size``.
        token_dimensions: Length of one row of a multi-vector; ``hidden_size`` where no projector was trained for them.
        has_adapters: Whether one engine serves every task by adapters, rather than weights merged for one.
        min_pixels: Smallest picture area in pixels; smaller pictures are enlarged to it.
        max_pixels: Largest picture area in pixels; larger pictures are reduced to it.
        max_length: Longest text in tokens, prefix included.
        options: Engine arguments that this checkpoint wants where the user gives none.
        family: Decides prompts, engine arguments and pooling.
    """

    name: str
    location: str
    tasks: tuple[str, ...]
    hidden_size: int
    dimensions: tuple[int, ...]
    token_dimensions: int
    has_adapters: bool = False
    min_pixels: int = JINA_V4_MIN_PIXELS
    max_pixels: int = JINA_V4_MAX_PIXELS
    max_length: int = JINA_V4_MAX_LENGTH
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)
    family: str = JINA_V4

    @property
    def sees_pictures(self) -> bool:
        """Whether pictures have vectors too."""
        return self.family == JINA_V4

    @property
    def label(self) -> str:
        """The name without the path to it: what observers and stores may see."""
        path = Path(self.location)
        return path.name if path.is_absolute() and self.name != DEMO else self.name


def _xlm_roberta(name: str, location: str, *, hidden_size: int, positions: int, padding: int) -> Checkpoint:
    """Return the facts of an XLM-RoBERTa checkpoint: texts only, one size, no roles.

    Positions are counted from ``padding + 1``, so that many rows of the position table are never used.
    Source: transformers, modeling_xlm_roberta.py, create_position_ids_from_input_ids.
    """
    return Checkpoint(
        name=name,
        location=location,
        tasks=("retrieval",),
        hidden_size=hidden_size,
        dimensions=(hidden_size,),
        token_dimensions=hidden_size,
        max_length=positions - padding - 1,
        family=XLM_ROBERTA,
    )


def _published(task: str) -> Checkpoint:
    """Return the facts of one of Jina's merged vLLM checkpoints (source: their model cards)."""
    name = f"{NATIVE}-vllm-{task}"
    return Checkpoint(
        name=name,
        location=name,
        tasks=(task,),
        hidden_size=JINA_V4_DIMENSIONS[-1],
        dimensions=JINA_V4_DIMENSIONS,
        token_dimensions=JINA_V4_DIMENSIONS[-1],
    )


NATIVE = "jinaai/jina-embeddings-v4"
NATIVE_ARCHITECTURE = recognition.NATIVE_ARCHITECTURE
BGE_M3 = "BAAI/bge-m3"
MERGED = {checkpoint.name: checkpoint for checkpoint in map(_published, TASKS)}
PUBLISHED = {
    NATIVE: Checkpoint(
        name=NATIVE,
        location=NATIVE,
        tasks=TASKS,
        hidden_size=JINA_V4_DIMENSIONS[-1],
        dimensions=JINA_V4_DIMENSIONS,
        token_dimensions=JINA_V4_TOKEN_DIMENSIONS,
        has_adapters=True,
    ),
    **MERGED,
    # Source: config.json of BAAI/bge-m3; 8192 tokens are left, which is also its tokenizer's model_max_length.
    BGE_M3: _xlm_roberta(BGE_M3, BGE_M3, hidden_size=1024, positions=8194, padding=1),
}


def resolve(model: str, revision: str | None = None) -> Checkpoint:
    """Return the facts of ``model``.

    Args:
        model: ``demo``, a published repository, or the path of a folder with a Qwen2.5-VL or XLM-RoBERTa checkpoint.
        revision: Commit or tag of a hub repository; meaningless for folders.

    Returns:
        The frozen facts; nothing is downloaded for published names.

    Raises:
        ConfigError: The name is neither known nor a folder, or the folder holds another architecture.
    """
    if model in PUBLISHED:
        return PUBLISHED[model]
    folder = DEMO_FOLDER if model == DEMO else Path(os.path.expanduser(model))  # noqa: PTH111 - never raises
    if _is_folder(folder, model):
        # The demo is tiny, so it can afford the reference's exact arithmetic.
        options = {"dtype": "float32"} if model == DEMO else {}
        return _from_config(model, str(folder.resolve()), read_json(folder / "config.json"), options)
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise ConfigError(f"model={model!r}: no such folder. Known names: {DEMO}, {', '.join(sorted(PUBLISHED))}.")
    return _from_config(model, model, _hub_config(model, revision), revision=revision)


def _is_folder(folder: Path, model: str) -> bool:
    """Tell whether ``model`` is a folder.

    Raises:
        ConfigError: The system cannot tell: the name is longer than a path can be, or lies where nobody may look.
    """
    try:
        return folder.is_dir()
    except OSError as error:
        raise ConfigError(
            f"model={values.short(model)} cannot be looked for as a folder ({error.strerror}). "
            f"Known names: {DEMO}, {', '.join(sorted(PUBLISHED))}; or give the path of a checkpoint folder."
        ) from None


def warn_if_assumed(checkpoint: Checkpoint) -> None:
    """Log, once for each place, that a plain Qwen2.5-VL checkpoint is taken for one of jina-embeddings-v4.

    Nothing in its files says so; in a folder or repository that carries the name, that is enough.
    """
    assumed = checkpoint.family == JINA_V4 and not checkpoint.has_adapters
    ours = checkpoint.name == DEMO or checkpoint.location == str(DEMO_FOLDER.resolve())
    if assumed and not ours and NATIVE.partition("/")[2] not in checkpoint.location.lower():
        _warn_once(checkpoint.name)


@lru_cache(maxsize=256)
def _warn_once(name: str) -> None:
    logger.warning(
        "model=%r is a %s checkpoint, served as jina-embeddings-v4 merged for vLLM; the vectors of any other "
        "Qwen2.5-VL model are wrong.",
        name,
        recognition.MERGED_ARCHITECTURE,
    )


def _from_config(
    name: str,
    location: str,
    config: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    revision: str | None = None,
) -> Checkpoint:
    if config.get("model_type") == "xlm-roberta":
        return _from_xlm_roberta(name, location, config, revision)
    if config.get("model_type") != "qwen2_5_vl":
        raise ConfigError(
            f"model={name!r}: got architectures={values.short(config.get('architectures') or [])}; "
            f"{recognition.EXPECTED}."
        )
    architecture = recognition.check_architecture(name, config, NATIVE_ARCHITECTURE, recognition.MERGED_ARCHITECTURE)
    has_adapters = architecture == NATIVE_ARCHITECTURE or (Path(location) / "adapters").is_dir()
    if not has_adapters:
        recognition.check_merged(name, location, config, revision)
    where, most = f"model={name!r}: config.json", values.LARGEST_SIZE
    text_config = values.mapping(where, config, "text_config") or config
    hidden_size = values.whole(where, text_config, "hidden_size", most=most)
    positions = values.whole(where, text_config, "max_position_embeddings", JINA_V4_MAX_LENGTH, most=values.MOST_TOKENS)
    sizes = values.wholes(where, config, "matryoshka_dims", JINA_V4_DIMENSIONS, most=most)
    tasks = values.choices(where, config, "task_names", TASKS, allowed=TASKS)
    token_dimensions = values.whole(where, config, "multi_vector_projector_dim", JINA_V4_TOKEN_DIMENSIONS, most=most)
    dimensions = tuple(sorted({size for size in sizes if 0 < size < hidden_size} | {hidden_size}))
    return Checkpoint(
        name=name,
        location=location,
        tasks=tasks,
        hidden_size=hidden_size,
        dimensions=dimensions,
        token_dimensions=token_dimensions if has_adapters else hidden_size,
        has_adapters=has_adapters,
        max_length=min(JINA_V4_MAX_LENGTH, positions),
        options=options or {},
    )


def _from_xlm_roberta(name: str, location: str, config: Mapping[str, Any], revision: str | None) -> Checkpoint:
    recognition.check_architecture(name, config, recognition.XLM_ROBERTA_ARCHITECTURE)
    if (kind := config.get("position_embedding_type", "absolute")) != "absolute":
        raise ConfigError(
            f"model={name!r}: got position_embedding_type={values.short(kind)}; expected absolute, as {BGE_M3} has."
        )
    recognition.check_text_model(name, location, revision)
    where = f"model={name!r}: config.json"
    hidden_size = values.whole(where, config, "hidden_size", most=values.LARGEST_SIZE)
    padding = values.whole(where, config, "pad_token_id", 1, least=0, most=values.MOST_TOKENS)  # XLMRobertaConfig's
    least = padding + 1 + 3  # room for both special tokens and one of a text
    positions = values.whole(where, config, "max_position_embeddings", least=least, most=2 * values.MOST_TOKENS)
    return _xlm_roberta(name, location, hidden_size=hidden_size, positions=positions, padding=padding)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a checkpoint's JSON file.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(loaded, dict):
            raise ValueError(f"got a {type(loaded).__name__}, expected an object")
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read ({error}); a checkpoint folder holds a config.json.") from None
    return loaded


@lru_cache(maxsize=64)
def _hub_config(repository: str, revision: str | None) -> dict[str, Any]:
    from huggingface_hub import hf_hub_download

    try:
        return read_json(Path(hf_hub_download(repository, "config.json", revision=revision)))
    except Exception as error:  # the hub raises OSError, HTTP errors and its own
        raise ConfigError(
            f"model={repository!r}: config.json could not be fetched ({type(error).__name__}: {error}). "
            f"Known names: {DEMO}, {', '.join(sorted(PUBLISHED))}; or give the path of a checkpoint folder."
        ) from None


def files_state(location: str) -> str:
    """Return what tells the files of a checkpoint's folder from others put in their place; nothing for a repository.

    Names, sizes and times of change: reading gigabytes of weights would take too long.
    """
    folder = Path(location)
    if not folder.is_dir():
        return ""
    files = [*sorted(folder.iterdir()), *sorted(folder.glob("adapters/*"))]
    stats = [
        (path.relative_to(folder).as_posix(), path.stat())
        for path in files
        if path.suffix in _DECIDING and path.is_file()
    ]
    facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
