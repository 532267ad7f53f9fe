"""When Redis has written what it had yet to write; with a real one in tests/workers/test_sink_killed_redis.py."""

from __future__ import annotations

import pytest

from pagoda.errors import UnavailableError
from serving.users.append_only_file import Backlog


def test_what_others_write_meanwhile_is_not_waited_for() -> None:
    backlog = Backlog(b"run")
    assert not backlog.is_written([b"run", 1000, 50])
    assert not backlog.is_written([b"run", 1000, 90])
    assert backlog.is_written([b"run", 1050, 40])


def test_a_file_that_was_rewritten_is_measured_anew() -> None:
    backlog = Backlog(b"run")
    assert not backlog.is_written([b"run", 1000, 50])
    assert not backlog.is_written([b"run", 100, 20])
    assert backlog.is_written([b"run", 120, 7])


def test_a_redis_that_was_started_again_may_have_lost_it() -> None:
    with pytest.raises(UnavailableError, match="started again"):
        Backlog(b"run").is_written([b"another", 1000, 0])
