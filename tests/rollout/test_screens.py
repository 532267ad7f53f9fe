"""What a person sees of rollouts on a terminal of 80 columns, and of 100: nothing that matters is cut off."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from io import StringIO

import numpy as np
import pytest
from rich.console import Console, RenderableType

from pagoda.cli.releases.rollout.past import past_as_table
from pagoda.cli.releases.rollout.promotion import what_it_overrules
from pagoda.cli.releases.rollout.tables import as_tables
from pagoda.rollout import commands
from pagoda.rollout.gate_results import held
from pagoda.rollout.measures.base import ArmMeasure, ChannelSums, UserSums
from pagoda.rollout.showing import Seen
from pagoda.rollout.state.history import PastRollout, PastStep
from pagoda.rollout.state.log_reading import split_of

from .worlds import START, Said, Stage, add_full, add_incremental, quick

STABLE, CANDIDATE = "g12.345", "g346.360"


class SaidOfChannels(Said):
    """Channels give a third of the items in either arm, to 40 users: too few."""

    def arm(self) -> ArmMeasure:
        answers = np.full(40, 25.0)
        sums = UserSums.of(answers, answers / 3)
        return replace(super().arm(), channels={one: ChannelSums(sums, sums) for one in ("item_to_item", "popular")})


def screen(shown: RenderableType, width: int) -> list[str]:
    """The lines of a terminal."""
    out = StringIO()
    Console(file=out, width=width).print(shown)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert max(map(len, lines)) <= width and not any("…" in line for line in lines)
    return lines


def seen(stage: Stage) -> Seen:
    look, state = stage.drive().preview(), stage.log.state()
    return Seen(state, split_of(state), look, stage.log.now())


@pytest.fixture
def canary() -> Stage:
    """In its first step, both arms' generations with long names; channels' gates hold."""
    stage = Stage()
    for version in (12, 346):
        add_full(stage.log, version)
    add_incremental(stage.log, 345, 12, "g12")
    add_incremental(stage.log, 360, 346, "g346")
    stage.log.append("released", {"arms": {"stable": STABLE}, "reason": "before"})
    stage.metrics = SaidOfChannels(requests=20_000, users=1_000, click_rate=0.11)
    stage.driver = stage.drive()
    commands.start(stage.log, CANDIDATE, policy=quick(), by="full update")
    stage.turn(5)
    return stage


@pytest.mark.parametrize("width", [80, 100])
def test_a_step_shows_what_it_waits_for_first_then_each_gate_on_a_line(canary: Stage, width: int) -> None:
    now = seen(canary)
    lines = screen(as_tables(now), width)
    whole = " ".join(" ".join(lines).split())
    assert f"of {CANDIDATE} against {STABLE}, by full update: canary, step 1 of 2" in whole
    held = [f"fallbacks.{channel}: 33.33% of the items against" for channel in ("item_to_item", "popular")]
    assert all(f"waits: {hold}" in whole for hold in held)
    waits, then, gates = (
        min(n for n, line in enumerate(lines) if line.startswith(x)) for x in ("waits:", "Next:", "gate")
    )
    assert waits < then < gates
    assert any(line.split()[:4] == ["canary", CANDIDATE, "10", "%"] for line in lines)
    for gate, line in zip(now.gates, lines[gates + 1 :], strict=True):
        assert line.split()[:2] == [gate.gate, gate.verdict.value]
        assert gate.limit is None or f"{gate.limit + 0.0:,.4g}" in line
        assert gate.low is None or f"[{gate.low:.4g}, {gate.high:.4g}]" in line
    assert len(lines) <= 24, "a terminal has as many lines"


def test_a_wide_terminal_shows_the_evidence_of_gates_that_passed(canary: Stage) -> None:
    assert "requests that failed: 0.00% of the canary's" in " ".join(screen(as_tables(seen(canary)), 160))
    assert "requests that failed" not in " ".join(screen(as_tables(seen(canary)), 80))


@pytest.mark.parametrize("width", [80, 100])
def test_why_a_gate_fails_is_told_whole(canary: Stage, width: int) -> None:
    canary.metrics = Said(requests=20_000, click_rate=0.01)
    whole = " ".join(" ".join(screen(as_tables(seen(canary)), width)).split())
    assert "fails: clicks: click-through 1.000% against 10.000%" in whole and "of the 100 needed" in whole


def test_what_the_latency_limit_waits_for_names_its_gate() -> None:
    stage = Stage()
    stage.metrics.requests = 180
    commands.start(stage.log, "g2", policy=quick(), by="ann")
    stage.turn()
    (first, *_) = seen(stage).look.decision.waits
    assert first == "latency: the stable arm's p99 takes 1000 requests, there were 180"


@pytest.mark.parametrize("width", [80, 100])
def test_what_a_promotion_overrules_is_told_whole(canary: Stage, width: int) -> None:
    now = seen(canary)
    assert now.rollout is not None
    whole = " ".join(" ".join(screen(what_it_overrules(now, now.rollout), width)).split())
    for gate in held(now.gates):
        assert f"overrules: {gate.gate}, which says hold: {gate.detail}" in whole
    assert whole.endswith("skips: step 2 (50 % of the users)")


def test_what_is_damaged_is_not_overruled() -> None:
    stage = Stage()
    stage.servers.missing = ["no gateway is there"]
    commands.start(stage.log, "g2", policy=quick(), by="ann")
    stage.turn()
    now = seen(stage)
    assert now.rollout is not None
    lines = screen(what_it_overrules(now, now.rollout), 80)
    assert "does not overrule: preflight: no gateway is there" in lines
    assert not any(line.startswith("overrules: preflight") for line in lines)


@pytest.mark.parametrize("width", [80, 100])
def test_past_rollouts_say_of_what_how_and_why(width: int) -> None:
    why = "clicks: click-through 39.801% against 73.529%: -59.4% [-99.1%, -19.7%]; 172 users of the 100 needed"
    steps = (PastStep(1001, START, "started", "", "ann"), PastStep(1002, START, "rolled_back", why, "driver"))
    later = (replace(steps[0], at=START + timedelta(days=1)),)
    past = [PastRollout("r1001", CANDIDATE, STABLE, steps), PastRollout("r1015", "g361", STABLE, later)]
    lines = screen(past_as_table(past), width)
    assert lines[1].split()[:2] == ["r1001", CANDIDATE]
    assert f"{STABLE}  {START:%Y-%m-%d %H:%M}" in lines[1]
    assert "rolled back" in lines[1] and "in progress" in lines[-1]
    at = lines[0].index("why")
    assert " ".join(line[at:].strip() for line in lines[1:-1]) == why
    assert ("decided after" in lines[0]) == (width == 100)
