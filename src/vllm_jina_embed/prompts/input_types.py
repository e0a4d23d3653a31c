"""What an ``input_type`` means to a checkpoint: a role, and perhaps a task.

The names are Cohere's, and those of prompts in sentence-transformers' files. vLLM's ``/v2/embed`` puts the prompt of a
file in front of a text; here a name chooses the row's own prompt.
Source: docs.cohere.com/reference/embed; vLLM 0.32, entrypoints/pooling/embed/io_processor.py, _validate_input_type.
"""

from __future__ import annotations

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.description import Model
from ..errors import ConfigError
from .base import PromptName

ROLES: dict[str, PromptName] = {"query": "query", "passage": "passage", "document": "passage"}
"""The names of roles in sentence-transformers' files; a task may stand in front: ``retrieval.query``."""
COHERE: dict[str, PromptName] = {"search_query": "query", "search_document": "passage"}


def input_types(checkpoint: Checkpoint) -> dict[str, tuple[PromptName, str | None]]:
    """Return by its name the role and the task of each input type that a checkpoint has; no task is the caller's.

    A task other than ``retrieval`` in which a role changes nothing is an input type by itself, such as
    ``text-matching``, or Cohere's ``classification`` and ``clustering``.
    """
    found: dict[str, tuple[PromptName, str | None]] = {name: (role, None) for name, role in (ROLES | COHERE).items()}
    for task in checkpoint.tasks:
        if task != "retrieval" and _is_one_for_both(checkpoint.row, task):
            found[task] = ("query", task)
        else:
            found |= {f"{task}.{name}": (role, task) for name, role in ROLES.items()}
    return found


def _is_one_for_both(row: Model, task: str) -> bool:
    """Tell whether queries and passages have the same prompts in a task, and the same adapter."""
    modalities = {modality for _, modality in row.templates}
    same = all(row.template(one, "query", task) == row.template(one, "passage", task) for one in modalities)
    return same and row.adapter("query", task) == row.adapter("passage", task)


def role_and_task(
    checkpoint: Checkpoint, prompt_name: str | None, input_type: str | None, task: str | None
) -> tuple[str, str | None]:
    """Return the role and the task of a call, which may name an input type instead of its role.

    Raises:
        ConfigError: It names both, the checkpoint does not have the input type, or that is of another task.
    """
    if input_type is None:
        return "passage" if prompt_name is None else prompt_name, task
    if prompt_name is not None:
        raise ConfigError(f"input_type={input_type!r} and prompt_name={prompt_name!r} both choose a role; pass one.")
    known = input_types(checkpoint)
    if not isinstance(input_type, str) or input_type not in known:
        raise ConfigError(
            f"input_type={input_type!r} means nothing to {checkpoint.name}; choose one of {', '.join(known)}."
        )
    role, own = known[input_type]
    if own is not None and task not in (None, own):
        raise ConfigError(f"input_type={input_type!r} is of the task {own!r}, and task={task!r} is another; pass one.")
    return role, own or task
