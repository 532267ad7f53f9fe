"""A report as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pagoda.evaluation.rendering.tables import GROUPS, PLOTTED, TITLES
from pagoda.evaluation.report import Estimate, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot(report: Report, path: Path) -> None:
    """Draw the picture into `path` (its suffix chooses the format)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure(report).savefig(path, dpi=120)


def figure(report: Report, whose: str = "") -> Figure:
    """Recall against k, Recall@50 by group, and what the version finds for each that a baseline finds."""
    # The canvas of the object interface: no display and no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(14, 4.2), layout="constrained")
    FigureCanvasAgg(drawn)
    curve, bars, lifts = drawn.subplots(1, 3, width_ratios=(3, 4, 3))
    for key, method in report.methods.items():
        curve.plot(report.curve_at, method.curve, marker="o", markersize=3, label=TITLES[key])
    about = f"{report.version} on {report.rows:,} positives"
    curve.set(xscale="log", xlabel="k", ylabel="Recall@k", title=about)
    curve.legend()
    _by_group(bars, report)
    _lifts(lifts, report)
    if whose:
        drawn.suptitle(f"Judged: {whose}", fontsize="medium")
    return drawn


def _by_group(bars: Axes, report: Report) -> None:
    groups = [group for group in GROUPS if group in report.methods["live"].groups]
    width = 0.8 / len(report.methods)
    for number, (key, method) in enumerate(report.methods.items()):
        estimates = [method.groups[group].metrics[PLOTTED] for group in groups]
        places = [place + number * width for place in range(len(groups))]
        heights = [estimate.value for estimate in estimates]
        bars.bar(places, heights, width, yerr=_ends(estimates), capsize=2, label=TITLES[key])
    bars.set(title=f"{PLOTTED} by popularity of the item", ylabel=PLOTTED)
    bars.set_xticks([place + 0.4 - width / 2 for place in range(len(groups))], [GROUPS[group] for group in groups])


def _lifts(axes: Axes, report: Report) -> None:
    """Each metric over each baseline with its interval, beside the line where both are worth the same."""
    names = list(report.methods["live"].groups["all"].metrics)
    for number, (key, lift) in enumerate(report.lifts.items()):
        shown = [(place, lift[name]) for place, name in enumerate(names) if name in lift]
        places = [place + 0.2 * number - 0.1 for place, _ in shown]
        estimates = [estimate for _, estimate in shown]
        values = [estimate.value for estimate in estimates]
        colour = f"C{list(report.methods).index(key)}"
        axes.errorbar(values, places, xerr=_ends(estimates), fmt="o", capsize=3, color=colour, label=TITLES[key])
    axes.axvline(1.0, color="#888", linestyle="--", linewidth=1)
    axes.set(title="the version's, divided by a baseline's", xlabel="lift, with its 95 % interval")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.legend()


def _ends(estimates: list[Estimate]) -> tuple[list[float], list[float]]:
    """How far the intervals reach below and above."""
    below = [max(0.0, estimate.value - estimate.low) for estimate in estimates]
    return below, [max(0.0, estimate.high - estimate.value) for estimate in estimates]
