"""A recall service as tables: arms side by side, so that a terminal of 80 columns holds all of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pagoda.telemetry.service_state import STAGES, ArmFigures, ServiceState, StageFigures

_COLOURS = {
    "ok": "green",
    "refused": "yellow",
    "shed": "yellow",
    "unavailable": "red",
    "failed": "red",
    "closed": "green",
    "half open": "yellow",
    "open": "red",
}
_SHOWN_AS_AGE = timedelta(hours=10)


def as_tables(state: ServiceState) -> Group:
    """Requests, arms with their stages, and where there are any, degraded answers and breakers."""
    parts: list[RenderableType] = [Text(state.url, style="bold"), _requests(state), "", _arms(state.arms)]
    if state.stood_in:
        parts += ["", _stood_in(state)]
    if state.breakers:
        cells = [Text(f"{server} ").append(one, _COLOURS[one]) for server, one in state.breakers.items()]
        parts += ["", Text("breakers", style="bold"), Columns(cells, padding=(0, 3))]
    return Group(*parts)


def _requests(state: ServiceState) -> Table:
    table = _table(*state.requests_per_second, "in flight", "events/s", left="")
    cells = [Text(f"{rate:,.1f}", _COLOURS[outcome]) for outcome, rate in state.requests_per_second.items()]
    table.add_row("requests/s", *cells, f"{state.in_flight:,}", f"{state.events_per_second:,.1f}")
    return table


def _arms(arms: tuple[ArmFigures, ...]) -> RenderableType:
    if not arms:
        return "No arm has answered yet."
    table = _table(*(arm.arm for arm in arms), left="arm")
    for name, cell in _ROWS.items():
        table.add_row(name, *(cell(arm) for arm in arms))
    for stage in STAGES:
        table.add_row(f"{stage} p50 / p99, ms", *(_stage(arm.stages[stage]) for arm in arms))
    return table


_ROWS: dict[str, Callable[[ArmFigures], str]] = {
    "generation": lambda arm: arm.generation,
    "share of users": lambda arm: f"{arm.share:.0%}",
    "users/s": lambda arm: f"{arm.users_per_second:,.1f}",
    "unknown": lambda arm: _share(arm.unknown),
    "short": lambda arm: _share(arm.short),
    "degraded": lambda arm: _share(arm.degraded),
    "failed": lambda arm: _share(arm.failed),
    "data until": lambda arm: _until(arm.learned_until),
}


def _stood_in(state: ServiceState) -> Table:
    table = _table("users/s", "since the start", left="stood in")
    for step, figures in state.stood_in.items():
        table.add_row(step, f"{figures.per_second:,.1f}", f"{figures.total:,}")
    return table


def _until(moment: datetime | None) -> str:
    if moment is None:
        return ""
    age = datetime.now(UTC) - moment
    return f"{age / timedelta(minutes=1):,.0f} min ago" if age < _SHOWN_AS_AGE else f"{moment:%Y-%m-%d}"


def _share(part: float | None) -> str:
    return "" if part is None else f"{part:.1%}"


def _stage(stage: StageFigures) -> str:
    if stage.p50_ms is None or stage.p99_ms is None:
        return ""
    return f"{stage.p50_ms:,.1f} / {stage.p99_ms:,.1f}"


def _table(*columns: str, left: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(left, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table
