"""How vLLM's processes are started: bound to their thread, without the main module, without the terminal's Ctrl-C."""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import spawn
from pathlib import Path
from typing import Any

import pytest

from vllm_jina_embed.engine.config import LocalConfig
from vllm_jina_embed.engine.local.arguments import environment, variables
from vllm_jina_embed.engine.local.engine import LocalEngine
from vllm_jina_embed.engine.local.processes import (
    MAIN,
    PARENT_VARIABLE,
    SOCKETS_VARIABLE,
    check_process,
    engine_processes,
    guard_advice,
    make_folder,
)
from vllm_jina_embed.engine.plugin_contract import OWNER_VARIABLE
from vllm_jina_embed.errors import ConfigError, EngineError, ForkedError

pytestmark = [
    pytest.mark.fire,
    pytest.mark.skipif(sys.platform != "linux", reason="vLLM's processes are bound to their parent on Linux"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


PR_GET_PDEATHSIG = 2  # <linux/prctl.h>
FOLDER = "/tmp/folder of an engine"


def state() -> dict[str, Any]:
    """Return what a process knows about its birth."""
    main = sys.modules["__main__"]
    blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    spec = getattr(main, "__spec__", None)
    return {
        "main": spec and spec.name,
        "blocked": blocked,
        "bound": bound(),
        "owner": os.environ.get(OWNER_VARIABLE),
        "folders": [tempfile.gettempdir() == FOLDER, os.environ.get(SOCKETS_VARIABLE) == FOLDER],
    }


def bound() -> bool:
    """Return whether the kernel is to kill this process with its parent's thread."""
    number = ctypes.c_int()
    ctypes.CDLL(None).prctl(PR_GET_PDEATHSIG, ctypes.byref(number))
    return number.value == signal.SIGKILL


def tell(pipe: Any) -> None:
    """Send what this process knows, and what a process of its own does; wait until told to end."""
    own = multiprocessing.get_context("spawn")
    reader, writer = own.Pipe(duplex=False)
    if multiprocessing.parent_process() is not None and "-deeper" not in multiprocessing.current_process().name:
        child = own.Process(target=tell, args=(writer,), name="worker-deeper")
        child.start()
        below = reader.recv()
        child.terminate()
        child.join()
    else:
        below = None
    pipe.send({**state(), "below": below})
    threading.Event().wait(60)


def started_in(thread: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the state of a spawned process that ``thread`` started."""
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=tell, args=(writer,))
    with ThreadPoolExecutor(1) as threads:  # the thread lives as long as the process is looked at
        threads.submit(thread, process).result(60)
        try:
            assert reader.poll(60)
            found: dict[str, Any] = reader.recv()
            return found
        finally:
            process.kill()
            process.join()


def as_vllm(process: Any) -> None:
    """Start ``process`` as an engine's."""
    with engine_processes(FOLDER):
        process.start()


class TestEngineProcesses:
    """Only what the starting thread starts."""

    def test_an_engines_process_and_its_own_are_bound_deaf_to_the_terminal_and_without_our_main(self) -> None:
        """From the first code on: no variable of the environment says so."""
        found = started_in(as_vllm)
        expected = {"main": MAIN, "blocked": True, "bound": True, "owner": None, "folders": [True, True]}
        assert found == {**expected, "below": {**expected, "below": None}}

    def test_other_threads_start_theirs_as_ever(self) -> None:
        """While an engine starts in another thread, such as a data loader's."""
        begun, done = threading.Event(), threading.Event()

        def start_an_engine() -> None:
            with engine_processes():
                begun.set()
                done.wait(60)

        starting = threading.Thread(target=start_an_engine)
        starting.start()
        assert begun.wait(10)
        try:
            found = started_in(lambda process: process.start())
        finally:
            done.set()
            starting.join()
        assert (found["blocked"], found["bound"], found["main"] == MAIN) == (False, False, False)

    def test_afterwards_everything_is_as_before(self) -> None:
        """The module that prepares processes, and the thread's signals; two engines may start at once."""
        before = spawn.get_preparation_data
        gate = threading.Barrier(2)

        def start(_: int) -> bool:
            with engine_processes():
                gate.wait(10)
                gate.wait(10)
            return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])

        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(start, range(2))) == [False, False]
        assert spawn.get_preparation_data is before
        assert {OWNER_VARIABLE, PARENT_VARIABLE}.isdisjoint(os.environ)

    def test_a_process_whose_parent_ended_before_its_first_code_ends_there(self, tmp_path: Path) -> None:
        """Long before vLLM is imported; a parent that is killed while it starts its process leaves it alone."""
        program = (
            "import multiprocessing, os, sys\n"
            "from vllm_jina_embed.engine.local.processes import engine_processes\n"
            "child = multiprocessing.get_context('spawn').Process(target=open, args=(sys.argv[1], 'w'))\n"
            "with engine_processes():\n"
            "    child.start()\n"
            "print(child.pid, flush=True)\n"
            "os.kill(os.getpid(), 9)\n"
        )
        command = [sys.executable, "-c", program, str(tmp_path / "began")]
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=60)
        end = time.monotonic() + 30
        while Path(f"/proc/{int(done.stdout)}").exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert not Path(f"/proc/{int(done.stdout)}").exists()
        assert not (tmp_path / "began").exists()

    def test_a_fork_by_the_starting_thread_is_bound_and_others_are_not(self) -> None:
        """vLLM forks where a GPU is not yet in use."""

        def fork() -> bytes:
            reader, writer = os.pipe()
            if (child := os.fork()) == 0:
                os.write(writer, json.dumps(state()).encode())
                os._exit(0)
            os.close(writer)
            os.waitpid(child, 0)
            with os.fdopen(reader, "rb") as answer:
                return answer.read()

        with ThreadPoolExecutor(1) as threads:
            threads.submit(str).result(30)  # it exists before
            with engine_processes():
                mine = json.loads(fork())
                other = json.loads(threads.submit(fork).result(30))
        assert (mine["bound"], mine["blocked"]) == (True, True)
        assert (other["bound"], other["blocked"]) == (False, False)


def test_a_folder_whose_sockets_could_not_be_named_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path of a socket has at most 107 characters; vLLM then takes its own place."""
    deep = tmp_path / ("x" * 60)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    assert make_folder() is None
    assert list(deep.iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    folder = make_folder()
    assert folder is not None
    Path(folder).rmdir()


class TestWhereAnEngineCannotStart:
    """Told at once, before vLLM is imported, with what to do."""

    def test_a_daemonic_process_is_told_at_once(self) -> None:
        """A worker of multiprocessing.Pool."""
        with multiprocessing.get_context("fork").Pool(1) as pool:
            told = pool.apply_async(start_local).get(30)
        assert told.startswith("EngineError: an engine cannot start in 'ForkPoolWorker-")
        assert "daemonic" in told
        assert "from_server" in told

    def test_a_spawned_process_that_imports_the_main_module_names_the_guard(self, tmp_path: Path) -> None:
        """The application's own: each runs its script again."""
        script = tmp_path / "script.py"
        script.write_text(
            "import multiprocessing, sys\n"
            "from vllm_jina_embed import JinaEmbedder\n"
            "if __name__ == '__mp_main__':\n"
            "    JinaEmbedder('demo').embed_queries(['x'])\n"
            "child = multiprocessing.get_context('spawn').Process(target=print)\n"
            "child.start()\n"
            "child.join()\n"
            "sys.exit(child.exitcode)\n"
        )
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "EngineError: an engine cannot start while" in done.stderr
        assert 'if __name__ == "__main__":' in done.stderr

    def test_a_failed_start_names_the_guard_where_the_main_module_may_have_run_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another library replaced the function that leaves it out; nothing is said where none did."""
        with engine_processes():
            assert guard_advice() == ""
            monkeypatch.setattr(spawn, "get_preparation_data", lambda name: {})
            told = guard_advice()
        assert 'under `if __name__ == "__main__":`' in told
        assert __name__ in told

    def test_an_object_of_the_main_module_is_refused_by_its_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """vLLM's processes could not find it."""
        own = type("Own", (), {"__module__": "__main__"})
        monkeypatch.setattr(sys.modules["__main__"], "Own", own, raising=False)
        with pytest.raises(ConfigError, match="engine_kwargs: scheduler_cls refers to the main module"):
            check_process({"dtype": "float32", "scheduler_cls": own})
        check_process({"dtype": "float32", "not to be pickled": threading.Lock()})

    def test_a_child_forked_during_a_start_is_told(self) -> None:
        """vLLM is half imported there; a later fork may start its own."""
        with engine_processes(), ThreadPoolExecutor(1) as threads:
            assert threads.submit(in_a_fork, start_local).result(30).startswith("ForkedError: this process was forked")
        check_process({})
        assert in_a_fork(checked) == "fine"

    def test_a_closed_engine_in_a_forked_child_does_nothing(self) -> None:
        """It is the parent's."""
        engine = LocalEngine.__new__(LocalEngine)
        engine._pid = os.getpid() + 1
        engine.close()


def start_local() -> str:
    """Return what starting an engine says."""
    config = LocalConfig(location="no such place", revision=None, min_pixels=1, max_pixels=2)
    try:
        LocalEngine(config)
    except (EngineError, ForkedError) as error:
        return f"{type(error).__name__}: {error}"
    return "started"


def checked() -> str:
    check_process({})
    return "fine"


def in_a_fork(call: Callable[[], str]) -> str:
    """Return what ``call`` gives in a forked child."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(writer, call().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        told = answer.read().decode()
    os.waitpid(child, 0)
    return told


class TestVariables:
    """Ours stand only while they are needed; a user's are never touched."""

    @pytest.fixture
    def kept(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        for name in environment():
            monkeypatch.delenv(name, raising=False)
        before = set(os.environ)
        yield
        assert set(os.environ) == before

    @pytest.mark.usefixtures("kept")
    def test_they_are_taken_back(self) -> None:
        """After an error too."""
        inside = {}

        def fail() -> None:
            with variables(environment()):
                inside.update(os.environ)
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert inside["VLLM_LOGGING_LEVEL"] == "ERROR"

    def test_what_is_set_stays_and_what_somebody_changed_meanwhile_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """By value."""
        monkeypatch.setenv("VLLM_LOGGING_LEVEL", "INFO")
        monkeypatch.delenv("VLLM_NO_USAGE_STATS", raising=False)
        with variables(environment()):
            assert os.environ["VLLM_LOGGING_LEVEL"] == "INFO"
            os.environ["VLLM_NO_USAGE_STATS"] = "0"
        assert (os.environ["VLLM_LOGGING_LEVEL"], os.environ["VLLM_NO_USAGE_STATS"]) == ("INFO", "0")
        monkeypatch.delenv("VLLM_NO_USAGE_STATS")


@pytest.mark.parametrize(("value", "lives"), [("1", True), ("mine", False)])
def test_a_process_that_a_thread_starts_ends_with_it_only_where_the_variable_names_its_parent(
    value: str, lives: bool
) -> None:
    """An application's other vLLM loads our plugin too, and may be started by a thread that ends."""
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_registered, args=(writer, str(os.getpid()) if value == "mine" else value))
    thread = threading.Thread(target=lambda: (process.start(), reader.recv()))
    thread.start()
    thread.join(60)
    process.join(1 if lives else 30)
    try:
        assert process.is_alive() == lives
    finally:
        process.kill()
        process.join()


def _registered(pipe: Any, owner: str) -> None:
    from vllm_jina_embed.plugin.end_with_parent import end_with_parent

    os.environ[OWNER_VARIABLE] = owner
    end_with_parent()
    end_with_parent()  # vLLM calls it more than once
    pipe.send("registered")
    threading.Event().wait(60)
