"""Steps are small while somebody asks, and full again soon after."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine.async_llm import AsyncLLM

from vllm_jina_embed.engine.plugin_contract import PATIENT, URGENT
from vllm_jina_embed.plugin import scheduler
from vllm_jina_embed.plugin.scheduler import QuestionsFirst


class Planned(QuestionsFirst):
    """The scheduler without an engine around it: notes the size of each planned step."""

    def __init__(self) -> None:
        self.max_num_scheduled_tokens = self._full_step = 4096
        self._last_question = float("-inf")
        self.added: list[Any] = []
        self.running: list[Any] = [SimpleNamespace(num_tokens=3000, num_computed_tokens=1000, priority=PATIENT)]
        self.waiting: list[Any] = [SimpleNamespace(num_tokens=15000, num_computed_tokens=0, priority=PATIENT)]


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Planned:
    """A scheduler whose base class only takes note."""
    monkeypatch.setattr(Scheduler, "add_request", lambda self, request: self.added.append(request))
    monkeypatch.setattr(Scheduler, "schedule", lambda self: self.max_num_scheduled_tokens)
    return Planned()


def test_documents_get_full_steps(planned: Planned) -> None:
    """An index that nobody disturbs runs at full speed, also that of a client which sends no priority."""
    planned.add_request(SimpleNamespace(priority=PATIENT))
    unsaid = inspect.signature(AsyncLLM.encode).parameters["priority"].default
    planned.add_request(SimpleNamespace(priority=unsaid))
    assert planned.schedule() == 4096


def test_a_question_makes_steps_small_for_a_moment(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then they are full again."""
    planned.add_request(SimpleNamespace(priority=URGENT))
    assert planned.schedule() == 256
    now = scheduler.time.monotonic()
    monkeypatch.setattr(scheduler.time, "monotonic", lambda: now + scheduler.QUESTION_SECONDS)
    assert planned.schedule() == 4096


def test_little_work_is_done_in_full_steps(planned: Planned) -> None:
    """Many single callers are as fast as one call; a question waits for one step at most."""
    planned.waiting[0].num_tokens = 6000
    planned.add_request(SimpleNamespace(priority=URGENT))
    assert planned.schedule() == 4096
    planned.waiting[0].num_tokens = 6400
    assert planned.schedule() == 256


def test_many_questions_alone_are_done_in_full_steps(planned: Planned) -> None:
    """Small steps would make all of them wait longer."""
    planned.waiting[0].priority = URGENT
    planned.add_request(SimpleNamespace(priority=URGENT))
    assert planned.schedule() == 4096


def test_a_small_step_is_never_larger_than_a_full_one(planned: Planned) -> None:
    """Where the user chose small steps anyway."""
    planned._full_step = 64
    planned.add_request(SimpleNamespace(priority=URGENT))
    assert planned.schedule() == 64
