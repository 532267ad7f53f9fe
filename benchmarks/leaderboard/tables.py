"""Finished rows as tables that fit a terminal of 100 columns: what each model finds, and which beats which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from rich.console import Group
from rich.table import Table

from benchmarks.kept_run import KeptRun, UserValues
from benchmarks.leaderboard.job import ACCURACY, SHOWN, RowJob
from benchmarks.seeds import estimates, half_width, mean_of
from pagoda.evaluation.report import Estimate

_COMPARED = "ndcg@10"
_CAPTION = (
    "±: half of the 95 % interval over users, below it that of the mean over seeds, where there are several. cover: of "
    "all items, the share among the ten shown to anyone; tail: of what is shown, the share of the last third of "
    "popularity."
)
_COMPARISON = (
    f"What the row's model gains over the column's in {_COMPARED}, paired by user. In brackets: the 95 % interval over "
    "users holds 0, so it may be chance."
)
_Runs = Mapping[str, Sequence[KeptRun]]
"""By model: its seeds."""


def tables(found: Mapping[RowJob, KeptRun], without_times: Sequence[str]) -> Group:
    """Two tables for each split of each set; `without_times`: names of sets that have no time split."""
    parts: list[Table | str] = []
    for (name, split), jobs in groupby(found, key=lambda job: (job.set_name, job.split.name)):
        runs = {model: [found[job] for job in of] for model, of in groupby(jobs, key=lambda job: job.model)}
        users = len(next(iter(runs.values()))[0].asked["test"].users)
        title = f"{name}, {split}: {users:,} users"
        parts += [_standing(title, runs), "", _comparison(runs), ""]
        if name in without_times:
            parts += [f"{name} has an order but no times, so there is no time split.", ""]
    return Group(*parts, f"[dim]{_CAPTION}\n{_COMPARISON}[/]")


def _standing(title: str, runs: _Runs) -> Table:
    table = _table(title)
    table.add_column("seeds", justify="right")
    for name in (*ACCURACY, *SHOWN):
        table.add_column(name.replace("coverage", "cover"), justify="right", no_wrap=True)
    for model, seeds in runs.items():
        over_users = estimates(_mean(seeds))
        halves = [(over_users[name].high - over_users[name].low) / 2 for name in ACCURACY]
        values = [
            f"{_share(over_users[name].value)} ±{_share(half)}" for name, half in zip(ACCURACY, halves, strict=True)
        ]
        shown = [_share(float(np.mean([run.facts[name] for run in seeds])), 3) for name in SHOWN]
        table.add_row(model, str(len(seeds)), *values, *shown)
        if len(seeds) > 1:
            by_seed = [[float(run.asked["test"].values[name].mean()) for run in seeds] for name in ACCURACY]
            below = [f"±{_share(half_width(each))}" for each in by_seed]
            below += [f"±{_share(half_width([run.facts[name] for run in seeds]), 3)}" for name in SHOWN]
            table.add_row("", "", *(f"[dim]{each}[/]" for each in below))
    return table


def _comparison(runs: _Runs) -> Table:
    """Differences of all pairs, from the same resampled users."""
    means = {model: _mean(seeds) for model, seeds in runs.items()}
    users = next(iter(means.values())).users
    pairs = {
        f"{row} {column}": means[row].values[_COMPARED] - means[column].values[_COMPARED]
        for row in means
        for column in means
        if row != column
    }
    found = estimates(UserValues(users, pairs)) if pairs else {}
    table = _table(f"gain in {_COMPARED} over")
    for model in means:
        table.add_column(model, justify="right", no_wrap=True)
    for row in means:
        table.add_row(row, *(_gain(found, f"{row} {column}") for column in means))
    return table


def _gain(found: Mapping[str, Estimate], pair: str) -> str:
    if pair not in found:
        return ""
    gain = found[pair]
    sure = gain.low > 0 or gain.high < 0
    return f"{gain.value:+.4f} " if sure else f"[dim]({gain.value:+.4f})[/]"


def _share(value: float, digits: int = 4) -> str:
    """Without the zero before the point, for which there is no room."""
    return f"{value:.{digits}f}".removeprefix("0")


def _mean(seeds: Sequence[KeptRun]) -> UserValues:
    return mean_of([run.asked["test"] for run in seeds])


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    return table
