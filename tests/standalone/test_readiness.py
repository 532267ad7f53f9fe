"""What `pagoda status` says of a recall service that does not answer yet."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from pagoda.generations.release_log import open_log
from pagoda.settings import load_settings
from pagoda.standalone.layout import Layout
from pagoda.standalone.servers import services
from tests.rollout.worlds import add_full


def test_a_released_generation_that_is_warmed_up_asks_for_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "http_health", lambda *_: lambda: "answers 503")
    recall = services.recall_service(Layout(tmp_path), defaultdict(int))
    log = open_log(load_settings(tmp_path))
    assert "pagoda update full" in str(recall.ready())
    add_full(log, 1)
    assert "pagoda update full" in str(recall.ready()), "registered is not released"
    log.append("released", {"arms": {"stable": "g1"}, "reason": "the first"})
    assert str(recall.ready()).startswith("g1 is being warmed up")


def test_a_damaged_log_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "http_health", lambda *_: lambda: "answers 503")
    recall = services.recall_service(Layout(tmp_path), defaultdict(int))
    add_full(open_log(load_settings(tmp_path)), 1)
    (next(path for path in (tmp_path / "log").iterdir())).write_text("{")
    assert "release log" in str(recall.ready())
