"""What an update is worth: the lift over popularity and over what goes with a user's items, and whose figure it is."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.evaluation.report import Estimate, Report
from pagoda.generations.versions import JUDGEMENT, WARNING

Judged = Literal["itself", "parent", "held_back"]
ROWS = 5_000
"""Most positives that a judgement asks: the interval of a ratio is then within some per cent, after seconds."""
_ENOUGH = 500
"""Positives after a window from which on they judge its version; of the minutes after midnight, there are fewer."""
_METRIC, _SMALL_METRIC, _SMALL = "recall@50", "recall@10", 600
"""Below so many items, fifty of them are no recall."""
_NAMES = {"popularity": "popularity", "ease": "EASE", "item_knn": "item-kNN"}
_WHOSE: dict[Judged, str] = {
    "itself": "this version, on what came after its window",
    "parent": "its parent, on the window that this version then learned",
    "held_back": "a version of the same training on all but the last tenth of the window",
}


class Judgement(BaseModel):
    """One report, and what it says of the version that was made beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: Judged
    """Whose figures they are."""
    report: Report | None = None
    reason: str = ""
    """Why there is no report."""
    share: float = 1.0
    """Of the users that what was judged learned from."""
    seconds: float = 0.0
    """What judging took."""

    @property
    def metric(self) -> str:
        """The measure that the words are about."""
        return _SMALL_METRIC if self.report and self.report.items < _SMALL else _METRIC

    @property
    def lifts(self) -> dict[str, dict[str, Estimate]]:
        """By the name of what it is compared with and by metric."""
        return self.report.lifts if self.report else {}

    @property
    def figures(self) -> dict[str, float]:
        """For a registry, flat: `lift_over_popularity`, `lift_over_popularity_low` …, of `metric`."""
        found = {name: lift[self.metric] for name, lift in self.lifts.items() if self.metric in lift}
        return {
            f"lift_over_{name}{end}": value
            for name, estimate in found.items()
            for end, value in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high))
            if math.isfinite(value)
        }

    @property
    def whose(self) -> str:
        """Whose figures they are, in words."""
        sample = "" if self.share == 1 else f", both of {self.share:.1%} of the users"
        return _WHOSE[self.of] + sample

    def in_words(self) -> str:
        """What was found, and of whom, in one or two sentences."""
        if self.report is None:
            return f"Not judged: {self.reason}."
        ratios = [_ratio(name, lift[self.metric]) for name, lift in self.lifts.items() if self.metric in lift]
        asked = f"{self.report.rows:,} held-out positives of {self.report.users:,} users"
        if not ratios:
            return f"Nothing that it could be compared with finds anything among {asked}. Judged: {self.whose}."
        return f"{_title(self.metric)} is {' and '.join(ratios)}, on {asked}. Judged: {self.whose}."

    def warnings(self) -> list[str]:
        """What it loses against, if anything.

        That is what `metric` is below 1 over, and what any other metric is below 1 over with all of its interval.
        """
        found = []
        for name, lift in self.lifts.items():
            lost = [metric for metric, one in lift.items() if one.high < 1 or (metric == self.metric and one.value < 1)]
            lost.sort(key=lambda metric: metric != self.metric)
            if lost:
                metric = lost[0]
                sure = "Worse than" if lift[metric].high < 1 else "Not shown to be better than"
                found.append(f"{sure} {_NAMES[name]}: {_title(metric)} is {_ratio(name, lift[metric])}")
        return found

    def tags(self) -> dict[str, str]:
        """For a version record."""
        warnings = self.warnings()
        return {JUDGEMENT: self.in_words(), **({WARNING: "; ".join(warnings)} if warnings else {})}


def later_window(dataset: Dataset, learned: Window) -> Window | None:
    """What came after a version's window, where it holds enough positives to judge the version itself; else None."""
    end = dataset.span().end
    if end <= learned.end:
        return None
    later = Window(start=learned.end, end=end)
    return later if dataset.count(later, events=dataset.spec.positives) >= _ENOUGH else None


def _ratio(name: str, lift: Estimate) -> str:
    return f"{lift.value:.2f} × {_NAMES[name]}'s ({lift.low:.2f} to {lift.high:.2f})"


def _title(metric: str) -> str:
    return metric.replace("recall", "Recall").replace("ndcg", "NDCG")
