"""What changed, as tables."""

from __future__ import annotations

import time

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from pagoda.telemetry.scrape import MetricChange

_STAGES = ("store", "tower", "index", "total")
_STAGE_SECONDS = "pagoda_recall_stage_seconds"
_BREAKERS = {0.0: "[green]closed[/]", 1.0: "[yellow]half open[/]", 2.0: "[red]open[/]"}
_OUTCOMES = {"ok": "green", "refused": "yellow", "shed": "yellow", "unavailable": "red", "failed": "red"}


def as_tables(change: MetricChange, url: str) -> Group:
    """Requests, arms, stages, and where there are any, degraded answers and breakers."""
    parts: list[RenderableType] = [_requests(change, url), "", _arms(change), "", _stages(change)]
    if (degraded := _degraded(change)) is not None:
        parts += ["", degraded]
    if breakers := change.now.of("pagoda_recall_breaker_state"):
        named = sorted((dict(key)["server"], state) for key, state in breakers.items())
        parts += ["", "breakers  " + "   ".join(f"{server} {_BREAKERS[state]}" for server, state in named)]
    return Group(*parts)


def _requests(change: MetricChange, url: str) -> str:
    outcomes = {dict(key)["outcome"] for key in change.now.of("pagoda_recall_requests_total")}
    counted = [
        f"[{colour}]{outcome} {change.rate('pagoda_recall_requests_total', outcome=outcome):,.1f}/s[/]"
        for outcome, colour in _OUTCOMES.items()
        if outcome in outcomes
    ]
    in_flight = change.now.total("pagoda_recall_requests_in_flight")
    events = change.rate("pagoda_events_total")
    return f"[bold]{escape(url)}[/]  {'  '.join(counted)}  in flight {in_flight:.0f}  events {events:,.1f}/s"


def _arms(change: MetricChange) -> Table:
    columns = ("arm", "generation", "share", "users/s", "p50 ms", "p99 ms", "unknown", "short", "degraded", "failed")
    table = _table(*columns, "data until")
    for key, answers in sorted(change.now.of("pagoda_recall_answers_total").items()):
        labels = dict(key)
        arm, generation = labels["arm"], labels["generation"]
        if arm == "warm-up" or not answers:
            continue
        shares = change.now.of("pagoda_recall_arm_share", arm=arm, generation=generation)
        if not shares:
            continue
        answered = change.growth("pagoda_recall_answers_total", **labels)
        quantiles = [change.quantile(share, _STAGE_SECONDS, arm=arm, stage="total") for share in (0.5, 0.99)]
        parts = ("unknown_users", "short_answers", "degraded_answers", "arm_errors")
        rates = [_share(change.growth(f"pagoda_recall_{part}_total", **labels), answered) for part in parts]
        numbers = (f"{sum(shares.values()):.0%}", f"{answered / change.seconds:,.1f}", *map(_ms, quantiles), *rates)
        table.add_row(arm, generation, *numbers, _until(change, arm))
    return table


def _stages(change: MetricChange) -> Table:
    arms = sorted({dict(key)["arm"] for key in change.now.of("pagoda_recall_arm_share")}) or ["stable"]
    table = _table("stage", *(f"{arm} {name}" for arm in arms for name in ("p50 ms", "p99 ms")))
    for stage in _STAGES:
        found = [change.quantile(share, _STAGE_SECONDS, arm=arm, stage=stage) for arm in arms for share in (0.5, 0.99)]
        table.add_row(stage, *map(_ms, found))
    return table


def _degraded(change: MetricChange) -> Table | None:
    steps = sorted({dict(key)["step"] for key in change.now.of("pagoda_recall_degraded_answers_total")})
    if not steps:
        return None
    table = _table("stood in", "users/s", "since the start")
    for step in steps:
        name = "pagoda_recall_degraded_answers_total"
        table.add_row(step, f"{change.rate(name, step=step):,.1f}", f"{change.now.total(name, step=step):,.0f}")
    return table


def _until(change: MetricChange, arm: str) -> str:
    moment = change.now.total("pagoda_recall_generation_window_end_timestamp_seconds", arm=arm)
    if not moment:
        return ""
    minutes = (time.time() - moment) / 60
    return f"{minutes:,.0f} min ago" if minutes < 600 else time.strftime("%Y-%m-%d", time.gmtime(moment))  # noqa: PLR2004


def _share(count: float, of: float) -> str:
    return f"{count / of:.1%}" if of else ""


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e3:.1f}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if not place or name == "generation" else "right", no_wrap=True)
    return table
