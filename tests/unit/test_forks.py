"""Locks in a forked child."""

import gc
import os
import signal
import threading
import time

import pytest

from vllm_jina_embed import _forks
from vllm_jina_embed._forks import fork_safe_lock

pytestmark = pytest.mark.fire


class Owner:
    def __init__(self):
        self._lock = fork_safe_lock(self)
        self._other = fork_safe_lock(self, "_other")


def in_child(check, limit=10.0):
    """Return what a forked child exits with after ``check``; it is killed after ``limit`` seconds."""
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if check() else 2
        finally:
            os._exit(code)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hung"


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
