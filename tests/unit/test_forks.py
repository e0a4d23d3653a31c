"""Locks in a forked child."""

from __future__ import annotations

import gc
import os
import threading
import time

import pytest

from tests.support.forks import in_child
from vllm_jina_embed import _forks
from vllm_jina_embed._forks import fork_safe_lock

pytestmark = [
    pytest.mark.fire,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


class Owner:
    def __init__(self):
        self._lock = fork_safe_lock(self)
        self._other = fork_safe_lock(self, "_other")


def test_a_child_takes_every_lock_that_another_thread_held():
    owner, held, done = Owner(), threading.Event(), threading.Event()

    def hold():
        with owner._lock, owner._other:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    try:
        assert in_child(lambda: owner._lock.acquire(timeout=5) and owner._other.acquire(timeout=5)) == 0
    finally:
        done.set()
        thread.join()


def test_a_thread_that_forks_while_it_holds_the_lock_leaves_it_in_both():
    owner = Owner()

    def leave():
        with owner._lock:
            child = os.fork()
        return child, owner._lock.acquire(timeout=5)

    child, free = leave()
    if not child:
        os._exit(0 if free else 1)
    assert free
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_owner_is_not_kept_alive():
    owner = Owner()
    before = len(_forks._OWNERS)
    del owner
    gc.collect()
    assert len(_forks._OWNERS) < before


class Awaited:
    def __init__(self):
        self._lock = _forks.awaited_lock(self)


def test_a_fork_waits_for_what_is_held_briefly():
    """So that nothing in C is half done in the child."""
    owner, held, states = Awaited(), threading.Event(), []

    def hold():
        with owner._lock:
            states.append("begun")
            held.set()
            time.sleep(0.3)
            states.append("done")

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    assert in_child(lambda: states == ["begun", "done"] and owner._lock.acquire(timeout=5)) == 0
    thread.join()
    assert owner._lock.acquire(timeout=5)


def test_a_fork_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(_forks, "PATIENCE", 0.2)
    owner, held, done = Awaited(), threading.Event(), threading.Event()

    def hold():
        with owner._lock:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    try:
        assert in_child(lambda: owner._lock.acquire(timeout=5)) == 0
    finally:
        done.set()
        thread.join()
    assert owner._lock.acquire(timeout=5)
