"""Run ``probe`` in a process of its own, and say how it ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

COMMAND = (sys.executable, "-P", "-m", "vllm_jina_embed.doctor.probe")
SECONDS = 900.0
"""How long all imports may take: 10 to 20 s on an idle machine, minutes on a busy one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a probe said.

    Attributes:
        answers: Stage -> what it printed; a stage that failed has an ``error``.
        broken: The stage in which the process ended or was stopped; "" where it ran to its end.
        ending: How it ended there, for example ``ended by SIGILL``.
    """

    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    broken: str = ""
    ending: str = ""

    def of(self, stage: str) -> Mapping[str, Any]:
        """Return what a stage printed; empty where it did not run."""
        return self.answers.get(stage, {})

    def error(self, stage: str) -> str:
        """Return why a stage failed, without its last full stop; "" where it did not fail or did not run."""
        if stage == self.broken:
            return f"the process {self.ending}"
        return str(self.of(stage).get("error", "")).strip().rstrip(".")

    def failed_before(self, stage: str) -> str:
        """Return the first stage that failed in the same way as ``stage``, or kept it from running; "" for none."""
        for name in self.answers:
            if name != stage and self.error(name) and self.error(name) == self.error(stage):
                return name
        return self.broken if self.broken != stage and stage not in self.answers else ""


def probe(stages: Sequence[str], *, command: Sequence[str] = COMMAND, seconds: float = SECONDS) -> Probe:
    """Run stages in a process; stop it where it takes longer than ``seconds``."""
    if not stages:
        return Probe()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [*command, *stages], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            output, ending = process.communicate(timeout=seconds)[0], ended(process.returncode)
        except subprocess.TimeoutExpired:
            process.kill()
            output, ending = process.communicate()[0], f"did not end within {seconds:.0f} s"
        finally:
            process.kill()
    answers = {}
    for line in output.splitlines():
        answer = json.loads(line)
        answers[str(answer.pop("stage"))] = answer
    rest = [stage for stage in stages if stage not in answers]
    return Probe(answers=answers, broken=rest[0] if rest else "", ending=ending if rest else "")


def ended(code: int) -> str:
    """Return how a process ended, by its exit code as ``subprocess`` gives it."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
