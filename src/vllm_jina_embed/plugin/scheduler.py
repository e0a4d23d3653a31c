"""vLLM's scheduler, with small steps while questions come.

Symptom: priority alone puts a question before waiting documents, but it still waits for the running step, and shares
the next one with as many documents as fit: on a CPU about two steps of 0.1 to 0.2 s. Always taking small steps would
cost throughput. So steps are small only for a moment after a question, and only while many tokens wait: bulk indexing
without questions runs at full speed, and so do many single callers.
"""

from __future__ import annotations

import time
from itertools import chain
from typing import TYPE_CHECKING, Any

from vllm.v1.core.sched.scheduler import Scheduler

from ..engine.plugin_contract import QUESTION_SECONDS, URGENT

if TYPE_CHECKING:
    from vllm.v1.request import Request

SMALL_STEP = 256
"""Tokens of a small step, or a sixteenth of a full one where that is more."""
MUCH = 2
"""Full steps of waiting tokens of documents from which steps are made small; less is computed soon anyway."""


class QuestionsFirst(Scheduler):
    """Keeps steps small while questions come; needs ``scheduling_policy="priority"``."""

    max_num_scheduled_tokens: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._full_step: int = self.max_num_scheduled_tokens
        self._last_question = float("-inf")

    def add_request(self, request: Request) -> None:
        """Add a request, and note the time of a question."""
        if request.priority == URGENT:
            self._last_question = time.monotonic()
        super().add_request(request)

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """Plan a step, a small one shortly after a question."""
        recent_question = time.monotonic() - self._last_question < QUESTION_SECONDS
        small = min(self._full_step, max(SMALL_STEP, self._full_step // 16))
        is_small = recent_question and self._waiting_documents() > MUCH * self._full_step
        self.max_num_scheduled_tokens = small if is_small else self._full_step
        return super().schedule(*args, **kwargs)

    def _waiting_documents(self) -> int:
        """Return how many tokens of documents are still to be computed; many questions alone are best in full steps."""
        return sum(
            request.num_tokens - request.num_computed_tokens
            for request in chain(self.waiting, self.running)
            if request.priority != URGENT
        )
