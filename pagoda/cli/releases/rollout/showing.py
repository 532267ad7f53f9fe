"""What a person or a script sees of rollouts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pagoda.errors import ConfigError, IntegrityError, UnavailableError
from pagoda.generations.release_log import open_log
from pagoda.generations.state import ReleaseState
from pagoda.rollout.decide import View, decide
from pagoda.rollout.driver import Look
from pagoda.rollout.factory import open_driver
from pagoda.rollout.gate_results import GateResult, Verdict
from pagoda.rollout.state.events import event_of
from pagoda.rollout.state.history import PastRollout
from pagoda.rollout.state.log_reading import rollout_of, split_of
from pagoda.rollout.state.machine import Phase, Rollout
from pagoda.rollout.state.split import Split
from pagoda.settings import Settings

_COLOURS = {Verdict.PASSED: "green", Verdict.HELD: "yellow", Verdict.FAILED: "bold red"}
_DECIDED = (Phase.PROMOTED, Phase.ROLLED_BACK, Phase.FINISHED)
_ALL = 100


@dataclass(frozen=True)
class Seen:
    """An installation's latest rollout, as it is now."""

    state: ReleaseState
    split: Split | None
    look: Look
    now: datetime

    @property
    def rollout(self) -> Rollout | None:
        """The latest one."""
        return self.look.rollout

    @property
    def gates(self) -> Sequence[GateResult]:
        """As measured now; where nothing is measured, as the last record has them."""
        return self.look.decision.gates or _recorded(self.state)

    @property
    def traffic(self) -> dict[str, int]:
        """Share of the users by arm, in percent."""
        canary = self.split.percent if self.split and self.split.canary and not self.split.shadow else 0
        return {"stable": _ALL - canary, "canary": canary}


def see(settings: Settings) -> Seen:
    """Look at the log and, as far as they answer, at servers and measures. Nothing is changed.

    Raises:
        UnavailableError: The log does not answer.
    """
    log = open_log(settings)
    try:
        look = open_driver(settings).preview()
    except (ConfigError, UnavailableError, IntegrityError) as error:
        state = log.state()
        look = Look(rollout_of(state), decide(state, View(), log.now()), trouble=(str(error),))
    state = log.state()
    return Seen(state, split_of(state), look, log.now())


def follow(settings: Settings, every_seconds: float, console: Console) -> bool:
    """Show the status until the rollout is decided; returns whether it was promoted."""
    with Live(console=console, auto_refresh=False) as live:
        while True:
            seen = see(settings)
            live.update(as_tables(seen), refresh=True)
            rollout = seen.rollout
            if rollout is None or rollout.phase in _DECIDED:
                return rollout is not None and seen.state.stable == rollout.candidate
            time.sleep(every_seconds)


def as_json(seen: Seen) -> dict[str, Any]:
    """The status for scripts."""
    rollout, decision = seen.rollout, seen.look.decision
    about = rollout.model_dump(mode="json", exclude={"policy"}) if rollout else None
    if about and rollout:
        about |= {"steps": [step.percent for step in rollout.policy.steps], "percent": rollout.percent}
    return {
        "rollout": about,
        "warning": _warning(seen),
        "arms": seen.state.arms.model_dump(),
        "traffic": seen.traffic,
        "gates": [gate.model_dump(mode="json") for gate in seen.gates],
        "readiness": asdict(seen.look.readiness) if seen.look.readiness else None,
        "next": next_of(seen),
        "due": decision.due.isoformat() if decision.due else None,
        "waits": list(decision.waits),
        "trouble": list(seen.look.trouble),
    }


def as_tables(seen: Seen) -> Group:
    """The status for people."""
    rollout = seen.rollout
    if rollout is None:
        none = Text("There was no rollout yet; `pagoda rollout start` makes one.", style="dim")
        return Group(_arms(seen), *_warned(seen), none)
    parts: list[Any] = [Text(_headline(seen, rollout), style="bold"), _arms(seen), *_warned(seen)]
    if seen.gates:
        parts.append(_gates(seen.gates))
    parts.append(Text(next_of(seen)))
    parts += [Text(f"  waits: {wait}", style="dim") for wait in seen.look.decision.waits]
    parts += [Text(f"  {trouble}", style="yellow") for trouble in seen.look.trouble]
    return Group(*parts)


def _warning(seen: Seen) -> str:
    """What is bad of what the candidate, or else the stable generation, was found to be worth."""
    rollout = seen.rollout
    about = rollout.candidate if rollout and rollout.phase not in _DECIDED else seen.state.stable
    return f"{about}: {warning}" if about and (warning := seen.state.warning_of(about)) else ""


def _warned(seen: Seen) -> list[Text]:
    warning = _warning(seen)
    return [Text(f"{warning}.", style="yellow")] if warning else []


def next_of(seen: Seen) -> str:
    """What comes next, and when."""
    rollout, due = seen.rollout, seen.look.decision.due
    if rollout is None:
        return ""
    after = f", not before {_clock(due)}" if due else ""
    match rollout.phase:
        case Phase.FINISHED:
            return rollout.reason
        case Phase.PROMOTED | Phase.ROLLED_BACK:
            return f"{rollout.reason}\nNext: {_let_go(rollout)} is let go{after}."
        case Phase.REGISTERED:
            return "Next: the offline gates."
    return f"Next: {_further(rollout)}{after}."


def _further(rollout: Rollout) -> str:
    """What follows verification or a canary step."""
    policy, step = rollout.policy, rollout.step + 1
    if rollout.phase is Phase.VERIFIED and policy.shadow and rollout.previous and not rollout.forced:
        return f"shadow, requests of {policy.shadow.percent} % of the users are copied"
    if rollout.forced or rollout.previous is None or step == len(policy.steps):
        return "all users"
    return f"step {step + 1}, {policy.steps[step].percent} % of the users"


def past_as_table(rollouts: Sequence[PastRollout]) -> Table:
    """Past rollouts, one a line."""
    table = Table(box=None, pad_edge=False)
    for name in ("rollout", "candidate", "against", "began", "outcome", "decided after", "steps", "why"):
        table.add_column(name, overflow="fold" if name == "why" else "ellipsis", no_wrap=name != "why")
    for one in rollouts:
        seconds = one.seconds_to_decision
        table.add_row(
            one.id,
            one.candidate,
            one.previous or "",
            f"{one.steps[0].at:%Y-%m-%d %H:%M:%S}",
            Text(one.outcome, style={"promoted": "green", "rolled back": "red"}.get(one.outcome, "yellow")),
            "" if seconds is None else _duration(seconds),
            str(sum(step.kind == "stepped" for step in one.steps)),
            Text(one.reason),  # As an operator wrote it: brackets are no markup.
        )
    return table


def past_as_json(one: PastRollout) -> dict[str, Any]:
    """A past rollout as plain values."""
    steps = [{**asdict(step), "at": step.at.isoformat()} for step in one.steps]
    return {
        "rollout": one.id,
        "candidate": one.candidate,
        "previous": one.previous,
        "outcome": one.outcome,
        "reason": one.reason,
        "seconds_to_decision": one.seconds_to_decision,
        "records": steps,
    }


def _headline(seen: Seen, rollout: Rollout) -> str:
    against = f" against {rollout.previous}" if rollout.previous else ""
    where = str(rollout.phase).replace("_", " ")
    if rollout.phase is Phase.CANARY:
        where += f", step {rollout.step + 1} of {len(rollout.policy.steps)}"
    paused = " (paused)" if rollout.paused else ""
    since = f"for {_duration((seen.now - rollout.since).total_seconds())}"
    return f"Rollout {rollout.id} of {rollout.candidate}{against}, by {rollout.by}: {where}{paused}, {since}"


def _arms(seen: Seen) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("arm", "generation", "users", "full version", "learned up to"):
        table.add_column(name, justify="right" if name == "users" else "left")
    arms: Mapping[str, str | None] = {"stable": seen.state.arms.stable, "canary": seen.state.arms.canary}
    if seen.split and seen.split.shadow:
        arms = {**arms, "shadow": seen.split.canary}
    for arm, id_ in arms.items():
        if id_:
            manifest = seen.state.generations[id_]
            share = seen.traffic.get(arm, seen.split.percent if seen.split else 0)
            users = f"{share} %" + (" copied" if arm == "shadow" else "")
            table.add_row(arm, id_, users, str(manifest.full_version), f"{manifest.window.end:%Y-%m-%d %H:%M}")
    return table


def _gates(gates: Sequence[GateResult]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("gate", "", "value", "interval", "limit", "evidence"):
        table.add_column(name, justify="right" if name in ("value", "limit") else "left", overflow="fold")
    for gate in gates:
        interval = "" if gate.low is None or gate.high is None else f"[{_number(gate.low)}, {_number(gate.high)}]"
        table.add_row(
            gate.gate,
            Text(gate.verdict.value, style=_COLOURS[gate.verdict]),
            _number(gate.value),
            Text(interval),
            _number(gate.limit),
            Text(gate.detail),
        )
    return table


def _recorded(state: ReleaseState) -> Sequence[GateResult]:
    for record in reversed(state.others):
        if record.body.get("gates"):
            return tuple(getattr(event_of(record), "gates", ()))
    return ()


def _let_go(rollout: Rollout) -> str:
    return str(rollout.candidate if rollout.phase is Phase.ROLLED_BACK else rollout.previous or "nothing")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%H:%M:%S} UTC"


def _duration(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min" if whole < 7200 else f"{whole / 3600:.1f} h"  # noqa: PLR2004
