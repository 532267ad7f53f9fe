"""The results as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.table import Table

_NAMES = ("requests", "errors_5xx", "shed", "degraded", "events", "events_lost", "fault_seconds", "recovery_seconds")


def as_tables(results: Sequence[dict[str, Any]], rate: float) -> Group:
    """All faults, and what the answers to those of channels had."""
    faults = _table(f"Faults under {rate:g} requests a second", _NAMES)
    for result in results:
        faults.add_row(result["fault"], *("-" if result[name] is None else str(result[name]) for name in _NAMES))
    if not (of_channels := [result for result in results if "items_by_channel" in result]):
        return Group(faults)
    kinds, quantiles = tuple(of_channels[0]["items_by_channel"]), tuple(of_channels[0]["latency_ms"])
    items = _table(
        "Items of an answer by each channel that has them, answers too short, and milliseconds",
        (*kinds, "short", *quantiles),
    )
    for result in of_channels:
        found, took = result["items_by_channel"].values(), result["latency_ms"].values()
        items.add_row(result["fault"], *map(str, found), str(result["short"]), *(f"{one:.0f}" for one in took))
    return Group(faults, "", items)


def _table(title: str, names: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("fault")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    return table
