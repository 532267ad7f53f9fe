"""Traffic and click rate by arm over time, a column a scenario."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

from demos.rollout.scenarios import ScenarioResult
from pagoda.load_test.outcomes import OK

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

_COLOURS = {"stable": "#4477aa", "canary": "#ee6677"}
_WINDOW_SECONDS = 8
_FEW = 8


def plot(results: Sequence[ScenarioResult], path: Path) -> None:
    """Write the picture."""
    figure, axes = plt.subplots(
        3, len(results), figsize=(4.2 * len(results), 7.5), squeeze=False, sharex="col", layout="constrained"
    )
    for column, result in enumerate(results):
        _traffic(axes[0][column], result)
        _clicks(axes[1][column], result)
        _latency(axes[2][column], result)
        axes[2][column].set_xlabel("seconds since traffic began")
        axes[0][column].set_title(f"{result.scenario.name}: {result.outcome.replace('_', ' ')}")
    for row, label in enumerate(("answers by arm, %", "answers with a click, %", "99th percentile, ms")):
        axes[row][0].set_ylabel(label)
    axes[0][0].legend(loc="upper left")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _series(result: ScenarioResult) -> dict[str, np.ndarray]:
    given = [one for one in result.played.answers if one.status == OK]
    candidate = result.past.candidate
    return {
        "at": np.array([one.time_us / 1e6 - result.began for one in given]),
        "canary": np.array([one.generation == candidate for one in given]),
        "clicked": np.array([bool(one.clicks) for one in given]),
        "ms": np.array([one.seconds * 1e3 for one in given]),
    }


def _windows(at: np.ndarray, chosen: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Centre and members of each window that has enough answers."""
    found = []
    for start in np.arange(0, at.max(initial=1), _WINDOW_SECONDS / 4):
        inside = chosen & (at >= start) & (at < start + _WINDOW_SECONDS)
        if inside.sum() >= _FEW:
            found.append((start + _WINDOW_SECONDS / 2, inside))
    return found


def _traffic(axes: Axes, result: ScenarioResult) -> None:
    series = _series(result)
    share = [(centre, series["canary"][inside].mean()) for centre, inside in _windows(series["at"], series["at"] >= 0)]
    centres, shares = np.array(share).T
    axes.fill_between(
        centres, 0, 100 * shares, color=_COLOURS["canary"], alpha=0.7, label=f"candidate {result.past.candidate}"
    )
    axes.fill_between(centres, 100 * shares, 100, color=_COLOURS["stable"], alpha=0.5, label=f"{result.past.previous}")
    axes.set_ylim(0, 100)
    _steps(axes, result)


def _clicks(axes: Axes, result: ScenarioResult) -> None:
    series = _series(result)
    for arm, chosen in (("stable", ~series["canary"]), ("canary", series["canary"])):
        rates = [(centre, 100 * series["clicked"][inside].mean()) for centre, inside in _windows(series["at"], chosen)]
        if rates:
            axes.plot(*np.array(rates).T, color=_COLOURS[arm])
    axes.set_ylim(0, 100)
    _steps(axes, result)


def _latency(axes: Axes, result: ScenarioResult) -> None:
    series = _series(result)
    for arm, chosen in (("stable", ~series["canary"]), ("canary", series["canary"])):
        found = [(centre, np.percentile(series["ms"][inside], 99)) for centre, inside in _windows(series["at"], chosen)]
        if found:
            axes.plot(*np.array(found).T, color=_COLOURS[arm])
    axes.set_yscale("log")
    _steps(axes, result)


def _steps(axes: Axes, result: ScenarioResult) -> None:
    for step in result.past.steps:
        if step.kind in ("started", "stepped", "promoted", "rolled_back"):
            style = ":" if step.kind in ("started", "stepped") else "-"
            axes.axvline(step.at.timestamp() - result.began, color="black", linestyle=style, linewidth=1)
