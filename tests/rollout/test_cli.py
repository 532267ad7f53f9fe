"""`pagoda rollout …` as people and scripts use it, on a log alone: no server answers."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.cli.releases.rollout import promotion
from pagoda.errors import ConfigError, ConflictError, GateError, RequestError
from pagoda.generations.release_log import ReleaseLog
from pagoda.rollout.gate_results import GateResult, Verdict
from pagoda.rollout.state import events as ev
from pagoda.rollout.state.held_gates import Held
from pagoda.rollout.state.log_reading import draft_of, rollout_of

from .worlds import add_full


class Home:
    """A log with a stable generation and a candidate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = ReleaseLog(str(folder / "log"))
        for version in (1, 2):
            add_full(self.log, version)
        self.log.append("released", {"arms": {"stable": "g1"}, "reason": "the first"})

    def run(self, *words: str, answer: str | None = None) -> Result:
        command = ["rollout", *words, "--home", str(self.folder)]
        return CliRunner().invoke(app, command, input=answer, env={"COLUMNS": "160"})

    def read(self, *words: str) -> Any:
        result = self.run(*words, "--output", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def happen(self, event: ev.Event) -> None:
        state = self.log.state()
        draft = draft_of(state, event, self.log.now())
        self.log.append(draft.kind, draft.body)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("PAGODA_HOME", raising=False)
    return Home(tmp_path)


def test_before_the_first_rollout(home: Home) -> None:
    assert "no rollout yet" in home.run("status").output and "no rollout yet" in home.run("history").output
    assert home.read("status")["rollout"] is None and home.read("history") == []
    assert isinstance(home.run("abort").exception, ConflictError)


def test_a_rollout_is_started_operated_and_told_of(home: Home) -> None:
    started = home.read("start", "g2")
    assert (started["candidate"], started["previous"], started["phase"]) == ("g2", "g1", "registered")
    assert "is paused" in home.run("pause", "--reason", "lunch").output
    assert home.read("status")["rollout"]["paused"]
    assert "goes on" in home.run("resume").output
    assert "promoted as soon as" in home.run("promote", "--yes").output
    home.run("abort", "--reason", "second thoughts")
    told = home.run("watch")
    assert told.exit_code == 1 and "second thoughts" in told.output
    past = home.read("history")[0]
    assert past["outcome"] == "rolled back" and past["reason"] == "second thoughts"
    assert [record["kind"] for record in past["records"]] == ["started", "paused", "resumed", "forced", "rolled_back"]


def test_a_rollout_by_hand_has_the_policy_of_the_installation(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGODA_ROLLOUT__FULL_POLICY", '{"steps": [{"percent": 25}], "grace_seconds": 86400}')
    home.run("start", "g2")
    rollout = rollout_of(home.log.state())
    assert rollout and [step.percent for step in rollout.policy.steps] == [25]
    assert rollout.policy.grace_seconds == 86_400


def test_status_says_when_nobody_has_measured_the_offline_gates(home: Home) -> None:
    home.run("start", "g2")
    (wait,) = home.read("status")["waits"]
    assert "have not been measured yet" in wait and wait in home.run("status").output


def test_status_names_what_held_gates_wait_for_as_the_driver_found_it(home: Home) -> None:
    home.run("start", "g2")
    rollout = rollout_of(home.log.state())
    assert rollout is not None
    wait = "3 rows were evaluated, 100 are needed"
    gates = (
        GateResult(gate="recall", verdict=Verdict.HELD, detail=wait),
        GateResult(gate="item_count", verdict=Verdict.PASSED, detail="as many"),
    )
    draft = Held(rollout=rollout.id, candidate="g2", held=gates).draft()
    home.log.append(draft.kind, draft.body)
    seen = home.read("status")
    assert seen["waits"] == [f"recall: {wait}"] and [gate["verdict"] for gate in seen["gates"]] == ["hold", "pass"]
    assert f"waits: recall: {wait}" in home.run("status").output


def test_status_and_history_warn_of_a_version_that_is_worth_little(tmp_path: Path) -> None:
    log = ReleaseLog(str(tmp_path / "log"))
    add_full(log, 1, tags={"warning": "Worse than popularity: Recall@50 is 0.80"})
    home = Home.__new__(Home)
    home.folder, home.log = tmp_path, log
    home.run("start", "g1")
    assert home.read("status")["warning"] == "g1: Worse than popularity: Recall@50 is 0.80"
    assert "Worse than popularity" in home.run("status").output
    assert log.state().others[0].body["reason"] == "Worse than popularity: Recall@50 is 0.80"


def test_status_shows_arms_traffic_gates_and_what_comes_next(home: Home) -> None:
    home.run("start", "g2")
    gate = GateResult(
        gate="recall", verdict=Verdict.PASSED, detail="recall 0.31 [0.29", value=0.02, low=-0.01, high=0.05, limit=-0.1
    )
    home.happen(ev.Verified(gates=(gate,)))
    home.happen(ev.Stepped(step=0, limit_ms=30.0))
    seen = home.read("status")
    assert seen["arms"] == {"stable": "g1", "canary": "g2"} and seen["traffic"] == {"stable": 99, "canary": 1}
    assert seen["rollout"]["steps"] == [1, 10, 50] and "step 2, 10 %" in seen["next"]
    assert "the rollout driver: set milvus.uri" in seen["trouble"][0]
    shown = home.run("status").output
    assert "canary, step 1 of 3" in shown and "99 %" in shown and "step 2, 10 % of the users" in shown
    home.happen(ev.Promoted(reason="all gates passed"))
    assert home.run("watch").exit_code == 0
    assert "promoted" in home.run("history").output


def test_gates_of_the_last_record_are_shown_where_nothing_is_measured(home: Home) -> None:
    home.run("start", "g2")
    gate = GateResult(
        gate="recall", verdict=Verdict.PASSED, detail="fine", value=0.02, low=-0.01, high=0.05, limit=-0.1
    )
    home.happen(ev.Verified(gates=(gate,)))
    assert home.read("status")["gates"][0]["high"] == 0.05
    assert "[-0.01, 0.05]" in home.run("status").output


def test_gates_of_an_earlier_rollout_are_not_shown_as_those_of_the_next(home: Home) -> None:
    home.run("start", "g2")
    home.happen(ev.Verified(gates=(GateResult(gate="recall", verdict=Verdict.PASSED, detail="fine"),)))
    home.run("abort")
    home.happen(ev.Finished())
    assert [gate["gate"] for gate in home.read("status")["gates"]] == ["recall"]
    home.run("start", "g2")
    assert home.read("status")["gates"] == []


def in_canary(home: Home) -> None:
    home.run("start", "g2")
    home.happen(ev.Verified())
    home.happen(ev.Stepped(step=0, limit_ms=30.0))


def is_forced(home: Home) -> bool:
    rollout = rollout_of(home.log.state())
    return rollout is not None and rollout.forced


def test_promote_says_what_it_overrules_and_asks(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    in_canary(home)
    monkeypatch.setattr(promotion, "_at_terminal", lambda: True)
    asked = home.run("promote", answer="n\n")
    assert asked.exit_code == 1 and not is_forced(home)
    assert "overrules: requests, which says hold: stable 0, canary 0 requests; each needs 1000" in asked.output
    assert "skips: step 2 (10 % of the users), step 3 (50 % of the users)" in asked.output
    assert "overrules: errors" not in asked.output and "Promote g2 to all users?" in asked.output
    assert "promoted as soon as" in home.run("promote", answer="y\n").output and is_forced(home)


def test_promote_without_a_terminal_says_the_command_that_does_it(home: Home) -> None:
    in_canary(home)
    refused = home.run("promote", "--reason", "ticket 42", answer="y\n")
    command = f"pagoda rollout promote --reason 'ticket 42' --home {home.folder} --yes"
    assert isinstance(refused.exception, RequestError) and not is_forced(home)
    assert "overrules requests, short_answers, fallbacks, clicks for g2" in str(
        refused.exception
    ) and f"`{command}`" in str(refused.exception)
    assert home.read(*shlex.split(command)[2:])["forced"]


def test_promote_with_nothing_to_promote_says_so_before_it_asks(home: Home) -> None:
    assert isinstance(home.run("promote").exception, ConflictError)


def test_a_policy_file_is_read_and_refused(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("steps: [{percent: 50}, {percent: 10}]\n")
    result = home.run("start", "g2", "--policy", str(path))
    assert isinstance(result.exception, ConfigError) and "percents must rise" in str(result.exception)
    path.write_text("steps: [{percent: 5}]\n")
    home.run("start", "g2", "--policy", str(path))
    assert home.read("status")["rollout"]["steps"] == [5]


def test_what_serves_already_needs_no_rollout(home: Home) -> None:
    assert isinstance(home.run("start", "g1").exception, GateError)


def test_a_driver_says_what_it_lacks(home: Home) -> None:
    result = home.run("drive")
    assert isinstance(result.exception, ConfigError) and "redis.url" in str(result.exception)


@pytest.mark.parametrize("reason", ["see [ticket 42]", "closed [/ticket]"])
def test_reasons_are_shown_as_they_were_written(home: Home, reason: str) -> None:
    home.run("start", "g2")
    home.run("abort", "--reason", reason)
    assert reason in home.run("history").output and reason in home.run("status").output
    home.log.append("released", {"arms": {"stable": "g2"}, "reason": reason})
    told = CliRunner().invoke(app, ["history", "--home", str(home.folder)], env={"COLUMNS": "160"})
    assert reason in told.output
