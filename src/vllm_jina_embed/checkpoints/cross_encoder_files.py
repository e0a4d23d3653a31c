"""Read what sentence-transformers writes beside a reranker: its modules, the words of its head and its prompt.

A folder that was trained further there may say otherwise than its row, and nothing else in it does.
Source: sentence-transformers 6.2, cross_encoder/model.py and cross_encoder/modules/logit_score.py.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import ConfigError
from . import values
from .files import Location, optional_json
from .heads import Head, YesNo
from .ranking import RankingModel
from .sentence_files import SETTINGS

MODULES = "modules.json"
WORDS = "LogitScore"
"""The module that compares two words of the head that gives words."""


def check_modules(name: str, location: Location, row: RankingModel) -> None:
    """Check that modules.json, if there is one, lists no more than the model and its head.

    Raises:
        ConfigError: It lists another module, which is not computed here.
    """
    expected = ("Transformer", WORDS) if isinstance(row.head, YesNo) else ("Transformer",)
    if others := [kind for kind, _ in _modules(str(name), location) if kind not in expected]:
        raise ConfigError(
            f"model={name!r}: {MODULES} has {', '.join(others)}, which is not computed here; expected "
            f"{', '.join(expected)}, as {row.label} has. Its scores would be wrong here."
        )


def check_words(location: Location, head: Head, token_id: Callable[[str], int]) -> None:
    """Check that the words which sentence-transformers compares are those of the row's head.

    Args:
        location: Folder or repository of the checkpoint.
        head: What the row says.
        token_id: Returns the id of a token of the vocabulary.

    Raises:
        ConfigError: They are others, or one alone; or the vocabulary lacks a token of ``head``.
    """
    if not isinstance(head, YesNo):
        return
    for kind, path in _modules(str(location), location):
        file = f"{path}/config.json"
        told = optional_json(location, file) if kind == WORDS and path else None
        if told is None:
            continue
        settings = values.as_mapping(f"{str(location)!r}: {file} is ", told)
        got = tuple(settings.get(key) for key in ("true_token_id", "false_token_id"))
        if got != (right := (token_id(head.yes), token_id(head.no))):
            raise ConfigError(
                f"{str(location)!r}: {file} compares the tokens {got[0]} and {got[1]}; expected {right[0]} and "
                f"{right[1]} ({head.yes!r} and {head.no!r}). Pass row= with a description of this model "
                "(vllm_jina_embed.RankingModel), whose head names its words."
            )


def check_prompt(name: str, location: Location, row: RankingModel) -> None:
    """Check that the prompt which sentence-transformers takes by default, if it does, is the row's instruction.

    Raises:
        ConfigError: It is another; shows both.
    """
    where = f"model={name!r}: {SETTINGS}"
    settings = values.as_mapping(f"{where} is ", optional_json(location, SETTINGS))
    default = values.text(where, settings, "default_prompt_name")
    prompt = values.text(where, values.mapping(where, settings, "prompts"), default) if default else ""
    if prompt.strip() in ("", row.instruction):
        return
    advice = "instruction= with the one that you want" if row.takes_instruction else "row= with its template"
    raise ConfigError(
        f"{where} has the default prompt {values.short(prompt)}; {row.label} has "
        f"{values.short(row.instruction) if row.takes_instruction else 'none'}. Other prompts give other scores: pass "
        f"{advice}{', or row= with a copy of the row that has it' if row.takes_instruction else ''}."
    )


def _modules(name: str, location: Location) -> list[tuple[str, str]]:
    """Return the kinds of the modules in modules.json, by the last part of their types, and their folders."""
    where = f"{name!r}: {MODULES}"
    modules = values.as_mappings(f"{where} is ", optional_json(location, MODULES))
    return [(values.text(where, one, "type").rpartition(".")[2], values.text(where, one, "path")) for one in modules]
