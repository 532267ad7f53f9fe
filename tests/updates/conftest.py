"""An installation in this process, for whole ways from a log to answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.recall.servers import in_process_tower
from serving.tower.program import load_program

from .homes import Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    # tests/serving/tower/test_program.py has it done in a process of its own, which imports PyTorch each time.
    monkeypatch.setattr(in_process_tower, "load_small", load_program)
    made = Home(tmp_path)
    yield made
    made.follower.close()
