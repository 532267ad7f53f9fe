"""The six candidates, and what becomes of each."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demos.rollout.checking import CheckedAnswers, check
from demos.rollout.stage import Stage, forget_items, shuffle
from pagoda.access.tokens import token_of
from pagoda.data.dataset import Dataset
from pagoda.generations.manifest import Manifest
from pagoda.rollout.state.history import PastRollout
from pagoda.rollout.state.log_reading import rollout_of
from pagoda.simulation.traffic import Played, Player, Script, Shown

RATE = 40.0
REQUESTS = 1_000
"""Asked at least in each scenario."""
SHOWN = 3
_LONGEST_SECONDS = 400
_TAIL_SECONDS = 4.0
"""Traffic goes on for so long after the decision."""
_GOOD_SECONDS = 3.0
"""A tower that breaks down has answered users for so long."""


@dataclass(frozen=True)
class Scenario:
    """One candidate."""

    name: str
    expected: str
    gates: tuple[str, ...]
    """Any of these decides."""
    hours_before_end: float
    """Its full update learns up to so many hours before the world's end."""
    fault: dict[str, Any] = field(default_factory=dict)
    """Of its tower, as the proxy knows it."""
    sudden: bool = False
    """The tower is well at first, and breaks down when users depend on it."""
    spoil_tables: Callable[[Path], None] | None = None
    spoil_vectors: Callable[[Path, Dataset], None] | None = None


SCENARIOS = (
    Scenario("good", "promoted", ("all gates passed",), 6),
    Scenario("damaged_items", "rolled_back", ("recall",), 5.5, spoil_vectors=shuffle),
    Scenario("fewer_clicks", "rolled_back", ("clicks",), 5, fault={"empty": ["history"]}),
    # On a busy machine many of its answers come later than the canary's deadline, which counts as an error.
    Scenario("slow", "rolled_back", ("latency", "errors"), 4.5, fault={"delay_ms": [120, 220]}, sudden=True),
    Scenario("failing", "rolled_back", ("errors",), 4, fault={"fail": 0.5}, sudden=True),
    Scenario(
        "stale_neighbours", "rolled_back", ("fallbacks", "fallbacks.item_to_item"), 3.5, spoil_tables=forget_items
    ),
)


@dataclass(frozen=True)
class ScenarioResult:
    """How a scenario went."""

    scenario: Scenario
    past: PastRollout
    played: Played
    checked: CheckedAnswers
    began: float
    """When traffic began, in seconds since the epoch."""
    broke: datetime | None
    """When its tower broke down, if it was well before."""

    @property
    def outcome(self) -> str:
        """`promoted` or `rolled_back`."""
        return self.past.outcome.replace(" ", "_")

    @property
    def gate(self) -> str:
        """The gate that decided; its measures are in the reason."""
        return self.past.reason.partition(":")[0]

    @property
    def seconds_at_risk(self) -> float | None:
        """From the first bad canary answers until the rollback; None where there were none."""
        at = {step.kind: step.at for step in reversed(self.past.steps)}
        if "stepped" not in at or "rolled_back" not in at:
            return None
        return (at["rolled_back"] - (self.broke or at["stepped"])).total_seconds()

    def as_json(self) -> dict[str, Any]:
        """Figures for the report."""
        found = self.played.summary()
        return {
            "outcome": self.outcome,
            "seconds_to_decision": self.past.seconds_to_decision,
            "seconds_at_risk": self.seconds_at_risk,
            "requests": found["requests"],
            "failed_requests": found["failed"],
            "failures": found["failures"],
            "mixed_answers": self.checked.mixed,
            "answers_checked": self.checked.answers,
            "answers_that_would_tell": self.checked.told_apart,
            "degraded_answers": found["degraded"],
            "lost_events": found["lost_events"],
            "latency_ms": found["latency_ms"],
            "arms": found["arms"],
            "generations": found["generations"],
            "reason": self.past.reason,
        }


def act(stage: Stage, scenario: Scenario, number: int, say: Callable[[str], None]) -> ScenarioResult:
    """Make the candidate, begin its rollout under traffic, wait for the decision, and check every answer."""
    stage.settle()
    begin = stage.asked.stat().st_size if stage.asked.exists() else 0
    script = Script(RATE, _LONGEST_SECONDS, shown=SHOWN, k=20, exclude_seen=False, seed=number)
    folder = stage.settings.tokens_folder
    tokens = Shown(ask=token_of(folder, "ask"), events=token_of(folder, "events"))
    with _Traffic(Player(stage.world, stage.recall_url, script, tokens)) as traffic:
        candidate = _begin(stage, scenario)
        say(f"rollout of {candidate.id} began")
        past, broke = _decided(stage, scenario, candidate, say)
        time.sleep(_TAIL_SECONDS)
        while len(traffic.player.played.answers) < REQUESTS:
            time.sleep(0.2)
    stage.settle()
    stage.set_faults({})
    played = traffic.player.played
    named = [id_ for id_ in (past.candidate, past.previous) if id_]
    return ScenarioResult(
        scenario, past, played, check(stage, played.answers, stage.asked, begin, named), traffic.began, broke
    )


def _begin(stage: Stage, scenario: Scenario) -> Manifest:
    """The full update, which ends by starting the rollout."""
    following = 1 + max(stage.log.state().versions)
    stage.set_faults({} if scenario.sudden else {following: scenario.fault})
    spoil = scenario.spoil_vectors
    return stage.learn(
        scenario.hours_before_end,
        spoil_tables=scenario.spoil_tables,
        spoil_vectors=(lambda vectors: spoil(vectors, stage.dataset)) if spoil else None,
    )


def _decided(
    stage: Stage, scenario: Scenario, candidate: Manifest, say: Callable[[str], None]
) -> tuple[PastRollout, datetime | None]:
    """Wait for the decision, telling each step; the rollout, and when the tower broke down."""
    told, broke = 1, None
    while True:
        past = stage.past()
        for step in past.steps[told:] if past else ():
            rollout = rollout_of(stage.log.state())
            users = f", {rollout.percent} % of the users" if rollout and step.kind == "stepped" else ""
            say(f"{_clock(step.at)} {step.kind.replace('_', ' ')}{users} {step.reason}".strip())
        if past:
            told = max(told, len(past.steps))
            if past.outcome != "in progress":
                return past, broke
            if scenario.sudden and broke is None and _seconds_with_users(past) >= _GOOD_SECONDS:
                stage.set_faults({candidate.full_version: scenario.fault})
                broke = datetime.now(UTC)
                say(f"{_clock(broke)} its tower breaks down")
        time.sleep(0.3)


def _seconds_with_users(past: PastRollout) -> float:
    """How long the candidate has answered users."""
    since = [step.at for step in past.steps if step.kind == "stepped"]
    return (datetime.now(UTC) - since[0]).total_seconds() if since else 0.0


class _Traffic:
    """Users who ask and click in a thread of its own."""

    def __init__(self, player: Player) -> None:
        self.player, self.began = player, time.time()
        self._thread = threading.Thread(target=lambda: asyncio.run(player.run()))

    def __enter__(self) -> _Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.player.stop()
        self._thread.join()


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone():%H:%M:%S}"
