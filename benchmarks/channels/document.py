"""Figures of all sets as the benchmark's document and as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table

from benchmarks.channels.rule import K
from pagoda.evaluation.rendering.cells import difference_cell, mean_cell
from pagoda.evaluation.rendering.mixture import mixture_tables
from pagoda.evaluation.report import MixtureFigures


def document(found: Mapping[str, MixtureFigures]) -> list[dict[str, Any]]:
    """An object for each set, by name: flat, with what each channel finds alone and adds to the others."""
    return [_row(name, one) for name, one in found.items()]


def _row(name: str, one: MixtureFigures) -> dict[str, Any]:
    tail = one.tail_gain
    return {
        "set": name,
        f"recall@{K}_two_tower": one.recall_two_tower.value,
        f"recall@{K}_merged": one.recall.value,
        "gain": one.gain.value,
        "gain_low": one.gain.low,
        "gain_high": one.gain.high,
        "tail_gain": tail and tail.value,
        "tail_gain_low": tail and tail.low,
        "tail_gain_high": tail and tail.high,
        "coverage_two_tower": one.coverage_two_tower,
        "coverage_merged": one.coverage,
        "channels": {
            kind: {"recall": channel.recall.value, "adds": channel.adds.value, "had": channel.had}
            for kind, channel in one.channels.items()
        },
    }


def tables(found: Mapping[str, MixtureFigures]) -> Group:
    """All sets, then the channels of each."""
    table = Table(title=f"recall@{K}, 95 % intervals over users", title_justify="left", box=None, pad_edge=False)
    for column in ("", "merged", "two_tower", "gain", "gain in tail", "coverage", "two_tower's"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, one in found.items():
        tail = difference_cell(one.tail_gain) if one.tail_gain else ""
        means = (mean_cell(one.recall), mean_cell(one.recall_two_tower), difference_cell(one.gain), tail)
        table.add_row(name, *means, f"{one.coverage:.3f}", f"{one.coverage_two_tower:.3f}")
    channels = [part for name, one in found.items() for part in (f"[bold]{name}[/]", *mixture_tables([one])[2:])]
    return Group(table, "", *channels)
