"""The curves of gates, for people, for scripts and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.text import Text

from pagoda.cli.fitted_table import Column, FittedTable
from pagoda.cli.releases.rollout.tables import COLOURS, interval_cell, number_cell, told
from pagoda.rollout.curves.reading import FIGURES, GateCurve, RolloutCurves, known, numpy_moments
from pagoda.rollout.gate_results import Verdict
from pagoda.rollout.showing import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 16
"""Columns of a curve on the terminal."""
_DOTS = {Verdict.PASSED: "C2", Verdict.HELD: "C1", Verdict.FAILED: "C3"}


def curves_as_tables(curves: RolloutCurves) -> Group:
    """What became of the rollout, its stages, and each gate from its first value to its last."""
    past = curves.rollout
    against = f" against {past.previous}" if past.previous else ""
    decided = past.seconds_to_decision
    after = "" if decided is None else f" after {duration(decided)}"
    headline = f"Rollout {past.id} of {past.candidate}{against}: {past.outcome}{after}"
    parts: list[RenderableType] = [Text(headline, "bold")]
    parts += [told("why:", past.reason)] if past.reason else []
    for stage in curves.stages:
        share = f", {stage.percent} % of the users" if stage.percent else ""
        parts.append(Text(f"{stage.since:%Y-%m-%d %H:%M:%S} UTC  {stage.name.replace('_', ' ')}{share}", style="dim"))
    if not curves.gates:
        return Group(*parts, Text("No gate was measured yet; where a driver runs, it does that next."))
    return Group(*parts, _gates(curves))


def _gates(curves: RolloutCurves) -> FittedTable:
    table = FittedTable(
        Column("gate"),
        Column(""),
        Column("first", right=True),
        Column("last", right=True),
        Column("interval", gives_way=1),
        Column("limit", right=True),
        Column("over time"),
    )
    ends = min(curve.at[0] for curve in curves.gates), max(curve.at[-1] for curve in curves.gates)
    for curve in curves.gates:
        last = {name: known(getattr(curve, name)[-1]) for name in FIGURES}
        table.add_row(
            curve.gate,
            Text(curve.verdict[-1].value, style=COLOURS[curve.verdict[-1]]),
            number_cell(known(curve.value[0])),
            number_cell(last["value"]),
            interval_cell(last["low"], last["high"]),
            number_cell(last["limit"]),
            sparkline(curve.at, curve.value, *ends),
        )
    return table


def sparkline(at: NDArray[np.datetime64], value: NDArray[np.float64], begin: np.datetime64, end: np.datetime64) -> str:
    """A curve in one line: its lowest value as the lowest block, its highest as the highest, nothing where none is.

    Args:
        at: datetime64 [n], ascending.
        value: float64 [n], NaN where there is none.
        begin: Of the line.
        end: Of the line; of several values in one of its columns the last is shown.
    """
    there = ~np.isnan(value)
    if not there.any():
        return ""
    span = max((end - begin).astype(float), 1.0)
    columns = np.minimum((at[there] - begin).astype(float) / span * _WIDTH, _WIDTH - 1).astype(int)
    lowest, highest = value[there].min(), value[there].max()
    part = (value[there] - lowest) / (highest - lowest) if highest > lowest else np.zeros(there.sum())
    line = [" "] * _WIDTH
    for column, height in zip(columns, np.rint(part * (len(_BLOCKS) - 1)).astype(int), strict=True):
        line[column] = _BLOCKS[height]
    return "".join(line)


def plot(curves: RolloutCurves, path: Path) -> None:
    """Draw each gate's value with its interval and limit into `path`; its suffix chooses the format.

    Gates without figures are left out.
    """
    # The canvas of the object interface: no display and no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = [curve for curve in curves.gates if not np.isnan(curve.value).all()]
    rows = max(1, len(drawn))
    figure = Figure(figsize=(10, 1 + 1.8 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    past = curves.rollout
    figure.suptitle(f"{past.id} of {past.candidate}: {past.outcome}")
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    for each, curve in zip(axes, drawn, strict=False):
        _draw(each, curve, curves)
    axes[-1].set_xlabel("UTC")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _draw(axes: Axes, curve: GateCurve, curves: RolloutCurves) -> None:
    begins = numpy_moments(stage.since for stage in curves.stages)
    axes.vlines(begins, 0, 1, transform=axes.get_xaxis_transform(), color="0.8", linewidth=0.8, zorder=0)
    for stage in curves.stages:  # Each measures anew: no line leads from one to the next.
        rows = np.array([name == stage.name for name in curve.stage])
        at = curve.at[rows]
        axes.plot(at, curve.value[rows], color="C0", linewidth=1.2)
        axes.fill_between(at, curve.low[rows], curve.high[rows], color="C0", alpha=0.15, linewidth=0)
        axes.plot(at, curve.limit[rows], color="0.4", linestyle="--", linewidth=1, marker="_", markersize=4)
        colours = [_DOTS[verdict] for verdict, chosen in zip(curve.verdict, rows, strict=True) if chosen]
        axes.scatter(at, curve.value[rows], c=colours, s=8, zorder=3)
    axes.set_title(curve.gate, loc="left", fontsize="medium")
    axes.grid(alpha=0.3)
