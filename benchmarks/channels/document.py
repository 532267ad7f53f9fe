"""Figures of all sets as the benchmark's document and as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group

from benchmarks.channels.rule import K
from pagoda.evaluation.rendering.mixture import CAPTION, beside_towers, channel_tables
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
    """Of each set, its answers and its channels."""
    sets = [part for name, one in found.items() for part in (beside_towers(name, [one]), "", *channel_tables(one))]
    return Group(*sets, f"[dim]{CAPTION}[/]")
