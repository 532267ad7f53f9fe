"""Rollouts of the past, for people and for scripts."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from pagoda.cli.fitted_table import Column, FittedTable
from pagoda.rollout.showing import duration
from pagoda.rollout.state.history import PastRollout

_COLOURS = {"promoted": "green", "rolled back": "red"}


def past_as_table(rollouts: Sequence[PastRollout]) -> FittedTable:
    """Past rollouts, one a line."""
    table = FittedTable(
        Column("rollout"),
        Column("candidate"),
        Column("against", gives_way=3),
        Column("began (UTC)"),
        Column("outcome"),
        Column("decided after", gives_way=2),
        Column("steps", right=True, gives_way=1),
        Column("why", prose=20),
    )
    for one in rollouts:
        seconds = one.seconds_to_decision
        table.add_row(
            one.id,
            one.candidate,
            one.previous or "",
            f"{one.steps[0].at:%Y-%m-%d %H:%M}",
            Text(one.outcome, style=_COLOURS.get(one.outcome, "yellow")),
            "" if seconds is None else duration(seconds),
            str(sum(step.kind == "stepped" for step in one.steps)),
            one.reason,
        )
    return table
