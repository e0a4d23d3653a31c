"""Asks one server of a reranker, started by ``vllm-jina-embed serve``, for the logits of whole prompts.

vLLM's own ``/score`` and ``/rerank`` take strings alone: it makes their prompt by a template that it tells nobody,
finds special tokens in users' texts, and cuts whatever stands at the end. So prompts travel as token ids to
``/pooling``, which gives the model's own numbers too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..._arrays import Floats
from ..._telemetry import add_tokens
from ...checkpoints.ranking import RankingModel
from ...errors import ConfigError, EngineError
from ...inputs.decoder import decoder
from ...prompts.base import Prompt
from ..config import RemoteConfig
from ..plugin_contract import PATIENT, URGENT
from . import messages
from .any_server import AnyServer, bytes_of
from .http import Connection
from .messages import Question, VectorRequest
from .ranking_facts import RankingFacts
from .server_checks import compare_starts

PATH = "/pooling"


class RankingServer(AnyServer):
    """One server of a reranker.

    A plain vLLM server is refused: nothing that it answers shows whether its head compares the right words, in the
    right order, and no client has the weights to find out.
    """

    def __init__(self, url: str, config: RemoteConfig, connection: Connection) -> None:
        super().__init__(url, config, connection)
        self.peers: Sequence[RankingServer] = ()
        self.facts: RankingFacts | None = None

    @property
    def known(self) -> bool:
        """Whether it is known what it serves."""
        return self.facts is not None

    def can(self, request: VectorRequest) -> bool:
        """Tell whether it gives what is requested."""
        return request.kind == "logit"

    async def answer(self, request: VectorRequest, prompts: Sequence[Prompt], question: Question) -> list[Floats]:
        """Return the logit of each prompt, ``(1,)``; see ``Server.answer``."""
        await self.meet()
        assert self.facts is not None
        made = await question.body(as_files=self.facts.decoder == decoder())
        body: dict[str, Any] = {"task": "classify", "use_activation": False, **made, **messages.ENCODING}
        if self.facts.priority:
            body["priority"] = URGENT if request.urgent else PATIENT
        told = await self._ask("POST", PATH, body, most=bytes_of(len(prompts)), urgent=request.urgent)
        where = f"{self.url}{PATH}"
        logits = messages.answers(told, "data", len(prompts), where=where)
        if sizes := [len(one) for one in logits if len(one) != 1]:
            raise EngineError(f"{where}: the server gave {sizes[0]} numbers for a pair; expected its score alone.")
        add_tokens(messages.image_prompt_tokens(told, prompts))
        return logits

    def _learn(self, told: Any) -> None:
        own = self._config.row if isinstance(self._config.row, RankingModel) else None
        facts = RankingFacts.from_json(told, self.url, own)
        self._compare_checkpoint(facts)
        if self.facts is not None:
            compare_starts(self.facts, facts, self.url)
        for peer in self.peers:
            if peer is not self and peer.facts is not None:
                _compare_peers(facts, self.url, peer.facts, peer.url)
        self.facts, self.max_tokens = facts, facts.max_tokens

    def _compare_checkpoint(self, facts: RankingFacts) -> None:
        """Check that it serves the row and the pixel bounds that were asked for."""
        config, served = self._config, facts.checkpoint
        if config.checkpoint is None:
            return
        asked = {"row": config.row, "min_pixels": config.min_pixels, "max_pixels": config.max_pixels}
        for name, value in asked.items():
            if value != (got := getattr(served, name)):
                raise ConfigError(
                    f"{self.url}: the server has {name}={got!r} ({served.name}); expected {value!r} "
                    f"({config.checkpoint.name}). Ask for what it serves, or start it otherwise."
                )

    async def _meet_untold(self) -> None:
        if self.facts is not None:
            raise ConfigError(f"{self.url}: it served {self.facts.checkpoint.name}, and tells nothing any more.")
        raise ConfigError(
            f"{self.url}: a plain vLLM server does not tell which tokens its reranker compares, nor its prompt, so its "
            "scores may be others without a sign. Start it by 'vllm-jina-embed serve CHECKPOINT'."
        )


def _compare_peers(facts: RankingFacts, url: str, peer: RankingFacts, peer_url: str) -> None:
    """Check that two servers give equal scores. Times of files are not compared: copies on two machines have others."""
    mine, other = facts.checkpoint, peer.checkpoint
    told = {"row": (mine.row, other.row), "dtype": (facts.dtype, peer.dtype)}
    told |= {name: (getattr(mine, name), getattr(other, name)) for name in ("min_pixels", "max_pixels")}
    if mine.name == other.name or None not in (facts.revision, peer.revision):
        told["revision"] = (facts.revision, peer.revision)
    for name, (got, known) in told.items():
        if got != known:
            raise ConfigError(
                f"{url}: the server has {name}={got!r} ({mine.name}), and {peer_url} has {known!r} ({other.name}); "
                "expected servers that give equal scores. Start them alike, or pass one of them."
            )
