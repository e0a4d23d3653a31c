"""``vllm-jina-embed demo``: text and images in one ranking, in LangChain and LlamaIndex, on one vLLM engine.

It writes a table to the terminal, and ``report.html`` and ``results.json`` to a folder.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vllm_jina_embed._extras import require
from vllm_jina_embed.checkpoints import resolve
from vllm_jina_embed.checkpoints.description import DEMO
from vllm_jina_embed.demo import machine
from vllm_jina_embed.demo.corpus import DemoCorpus, demo_corpus
from vllm_jina_embed.demo.interrupt import children_stop_first
from vllm_jina_embed.demo.looks import looks
from vllm_jina_embed.demo.report import report
from vllm_jina_embed.demo.result import Answer, DemoResult, Hit
from vllm_jina_embed.demo.summary import LOOKS, shortfalls, summary
from vllm_jina_embed.demo.terminal import Advance, Terminal, set_aside
from vllm_jina_embed.embedder import JinaEmbedder
from vllm_jina_embed.engine.pool import running_engines
from vllm_jina_embed.errors import MissingExtraError, VllmJinaError

if TYPE_CHECKING:
    from vllm_jina_embed.demo.frameworks import Search

Value = TypeVar("Value")
_NEEDED = (("langchain", "langchain_core"), ("llama-index", "llama_index.core"), ("vllm", "vllm"))
_STAGES = 9
_LOG_LINES = 15
_AT_A_TIME = 33  # items per call while indexing, so that the bar moves


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """The options of the command line.

    Attributes:
        output: Folder for the report, created where it is missing.
        model: The model to embed with.
        seed: Choice of images and sentences.
        verbose: Whether vLLM and other libraries may write to the terminal.
    """

    output: Path
    model: str = DEMO
    seed: int = 0
    verbose: bool = False

    @property
    def log(self) -> Path:
        """The file that takes the output of vLLM and other libraries."""
        return self.output / "vllm.log"


def run(options: DemoOptions) -> int:
    """Run the demo; unless ``verbose``, stdout and stderr of this process go to the log from now on.

    Returns:
        0; 1 where a recall@1 is too low or the demo failed; 130 after Ctrl-C.

    Raises:
        MissingExtraError: vLLM or a framework is not installed.
        ConfigError: The model does not exist.
    """
    _check_installed()
    resolve.resolve(options.model)
    options.output.mkdir(parents=True, exist_ok=True)
    # By default the engine lets vLLM log errors only; here the log goes to a file.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "INFO")
    out = set_aside(None if options.verbose else options.log)
    terminal = Terminal(out, stages=_STAGES, lively=False if options.verbose else None)
    try:
        with children_stop_first(terminal.say):
            result = _show(options, terminal)
    except KeyboardInterrupt:
        terminal.say("Stopped.")
        return 130
    except Exception as error:
        if options.verbose:
            raise
        terminal.say(_failure(error, options.log))
        return 1
    if result.shortfalls:
        terminal.say(f"\n{shortfalls(result)}")
        return 1
    return 0


def _check_installed() -> None:
    missing = []
    for extra, module in _NEEDED:
        try:
            require(extra, module)
        except MissingExtraError as error:
            missing.append(error)
    if len(missing) > 1:
        raise MissingExtraError(",".join(error.extra for error in missing), str(missing[0].name))
    if missing:
        raise missing[0]


def _show(options: DemoOptions, terminal: Terminal) -> DemoResult:
    terminal.say(
        "Images and passages in one index, asked in five languages and by image, on one vLLM engine.\n"
        "This takes one to two minutes on 2 cores, 20 to 40 s of it for vLLM to start.\n"
    )
    with terminal.stage("corpus", "Drawing images, writing sentences"):
        corpus = demo_corpus(options.seed)
    with terminal.stage("imports", "Loading LangChain and LlamaIndex"):
        from vllm_jina_embed.demo.frameworks import LangChainSearch, LlamaIndexSearch

        first = LangChainSearch(options.model)
        searches: list[Search] = [first, LlamaIndexSearch(options.model)]
    with ExitStack() as stack:
        for search in searches:
            stack.callback(search.close)
        with terminal.stage("engine_start", "Starting vLLM"):
            searches[0].start()
        for search in searches:
            _index(search, corpus, terminal)
        answers = {search.key: _answers(search, corpus, terminal) for search in searches}
        with terminal.stage("looks", "Looking twice at some questions"), JinaEmbedder(options.model) as embedder:
            seen = looks(embedder, corpus, first.vectors(), LOOKS)
        engines = running_engines()
        with terminal.stage("engine_stop", "Stopping vLLM"):
            stack.close()
    result = DemoResult(
        model=options.model,
        answers=answers,
        engines=engines,
        looks=seen,
        seconds=terminal.seconds,
        versions=machine.versions(),
        machine=machine.describe(),
        finished=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    )
    _write(options.output, result)
    terminal.say(summary(result, options.output))
    return result


def _index(search: Search, corpus: DemoCorpus, terminal: Terminal) -> None:
    title = f"{search.name}: indexing {len(corpus.items)} images and passages"
    with terminal.stage(f"{search.key}_index", title, len(corpus.items)) as advance:
        for items in _batches(corpus.items, _AT_A_TIME):
            search.add(items)
            advance(len(items))


def _answers(search: Search, corpus: DemoCorpus, terminal: Terminal) -> list[Answer]:
    title = f"{search.name}: asking {len(corpus.queries)} questions"
    with terminal.stage(f"{search.key}_ask", title, len(corpus.queries)) as advance:
        return asyncio.run(_ask(search, corpus, advance))


async def _ask(search: Search, corpus: DemoCorpus, advance: Advance) -> list[Answer]:
    """Ask all questions at once; vLLM batches them."""
    items = {item.name: item for item in corpus.items}

    async def ask_one(index: int) -> Answer:
        query = corpus.queries[index]
        ranking = await search.ask(query, len(items))
        advance(1)
        return Answer(query=query, hits=tuple(Hit(item=items[name], score=score) for name, score in ranking))

    return list(await asyncio.gather(*map(ask_one, range(len(corpus.queries)))))


def _batches(values: Sequence[Value], size: int) -> Iterator[tuple[Value, ...]]:
    rest = iter(values)
    while batch := tuple(islice(rest, size)):
        yield batch


def _write(folder: Path, result: DemoResult) -> None:
    text = json.dumps(result.to_json(), indent=2, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    (folder / "report.html").write_text(report(result), encoding="utf-8")


def _failure(error: Exception, log: Path) -> str:
    message = str(error) if isinstance(error, VllmJinaError) else f"{type(error).__name__}: {error}"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    tail = "".join(f"\n  | {line}" for line in lines)
    return f"The demo failed: {message}\nThe last lines of {log}:{tail or ' (empty)'}\nSee all output with --verbose."
