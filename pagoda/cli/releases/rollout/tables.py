"""What a person sees of a rollout: what it waits for first, then where it stands, then what every gate says."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pagoda.cli.fitted_table import Column, FittedTable
from pagoda.rollout.gate_results import GateResult, Verdict, failed
from pagoda.rollout.showing import DECIDED, Seen, duration, next_of, see, warning_of
from pagoda.rollout.state.machine import Phase, Rollout
from pagoda.settings import Settings

COLOURS = {Verdict.PASSED: "green", Verdict.HELD: "yellow", Verdict.FAILED: "bold red"}
_WHOLE = 1_000
"""From where on a figure, a count then, is shown without decimals."""


def follow(settings: Settings, every_seconds: float, console: Console) -> bool:
    """Show the status until the rollout is decided; returns whether it was promoted."""
    with Live(console=console, auto_refresh=False) as live:
        while True:
            seen = see(settings)
            live.update(as_tables(seen), refresh=True)
            rollout = seen.rollout
            if rollout is None or rollout.phase in DECIDED:
                return rollout is not None and seen.state.stable == rollout.candidate
            time.sleep(every_seconds)


def as_tables(seen: Seen) -> Group:
    """The status, what matters most at the top: a low terminal cuts off the end of what is shown live."""
    rollout = seen.rollout
    if rollout is None:
        none = Text("There was no rollout yet; `pagoda rollout start` makes one.", style="dim")
        return Group(_arms(seen), *_warned(seen), none)
    parts: list[RenderableType] = [Text(headline(seen, rollout), style="bold")]
    parts += [told("waits:", wait) for wait in seen.look.decision.waits]
    if rollout.phase not in DECIDED:  # Then its reason says which.
        parts += [told("fails:", gate.told, "bold red") for gate in failed(seen.gates)]
    parts += [Text(trouble, style="yellow") for trouble in seen.look.trouble]
    parts += [Text(next_of(seen)), *_warned(seen), _arms(seen)]
    return Group(*parts, *([_gates(seen.gates)] if seen.gates else []))


def told(label: str, what: str, style: str = "bold yellow") -> Table:
    """A labelled line; where it wraps, it goes on below its beginning."""
    line = Table.grid(padding=(0, 1))
    line.add_column(no_wrap=True)
    line.add_column(overflow="fold")
    line.add_row(Text(label, style=style), Text(what))
    return line


def _warned(seen: Seen) -> list[Text]:
    warning = warning_of(seen)
    return [Text(f"{warning}.", style="yellow")] if warning else []


def headline(seen: Seen, rollout: Rollout) -> str:
    """Which rollout, by whom, where it is and since when."""
    against = f" against {rollout.previous}" if rollout.previous else ""
    where = str(rollout.phase).replace("_", " ")
    if rollout.phase is Phase.CANARY:
        where += f", step {rollout.step + 1} of {len(rollout.policy.steps)}"
    paused = " (paused)" if rollout.paused else ""
    since = f"for {duration((seen.now - rollout.since).total_seconds())}"
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


def _gates(gates: Sequence[GateResult]) -> FittedTable:
    table = FittedTable(
        Column("gate"),
        Column(""),
        Column("value", right=True),
        Column("interval"),
        Column("limit", right=True),
        Column("evidence", prose=40, gives_way=1),
    )
    for gate in gates:
        verdict = Text(gate.verdict.value, style=COLOURS[gate.verdict])
        table.add_row(
            gate.gate,
            verdict,
            number_cell(gate.value),
            interval_cell(gate.low, gate.high),
            number_cell(gate.limit),
            gate.detail,
        )
    return table


def interval_cell(low: float | None, high: float | None) -> str:
    """The ends of an interval; nothing where there is none."""
    return "" if low is None or high is None else f"[{number_cell(low)}, {number_cell(high)}]"


def number_cell(value: float | None) -> str:
    """A figure of a gate; nothing where it has none."""
    if value is None:
        return ""
    # 0.0 is added so that a limit of -0.0 is shown as 0.
    return f"{value:,.0f}" if abs(value) >= _WHOLE else f"{value + 0.0:.4g}"
