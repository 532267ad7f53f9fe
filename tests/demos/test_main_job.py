"""What the main job promises beside its results: enough requests, errors for people, how to go on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from demos import latency, showing
from pagoda.errors import UnavailableError
from pagoda.settings import RecallSettings, Settings
from tests.load_test.server import prediction, service


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds in which a few requests are answered at most."""
    monkeypatch.setattr(latency, "WARM_UP_SECONDS", 0.01)
    monkeypatch.setattr(latency, "MEASURED_SECONDS", 0.01)


def test_latency_is_measured_over_the_promised_number_of_answers() -> None:
    with service(lambda _: (200, prediction())) as url:
        measured = latency.measure(url, [1, 2, 3])
    assert measured["requests"] >= latency.MEASURED_REQUESTS
    assert 0 < measured["p50"] <= measured["p99"]


def test_a_failed_request_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    with service(lambda _: (500, {})) as url, pytest.raises(UnavailableError, match=r"0 of \d+ requests were answered"):
        latency.measure(url, [1, 2, 3])


def test_too_few_answers_fail_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "PATIENCE_SECONDS", 0.01)
    with service(lambda _: (200, prediction())) as url, pytest.raises(UnavailableError, match="requests were answered"):
        latency.measure(url, [1, 2, 3])


def test_an_error_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "demos.main_job", "--folder", str(tmp_path / "demo")]
    ended = subprocess.run(
        command, env={**os.environ, "PAGODA_LOGS": "loud"}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("ConfigError: settings: logs: ")


def test_the_end_says_how_to_go_on_while_the_platform_is_up() -> None:
    settings = Settings(recall=RecallSettings(url="http://127.0.0.1:1234"))
    kept = showing.ending(Path("elsewhere"), settings, kept=True)
    assert "export PAGODA_HOME=elsewhere/home\n" in kept and "http://127.0.0.1:1234/docs" in kept
    ended = showing.ending(Path("elsewhere"), settings, kept=False)
    assert "elsewhere/report.json" in ended and "KEEP=1" in ended and "export" not in ended
