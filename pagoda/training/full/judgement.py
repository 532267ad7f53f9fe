"""Judging a first version: the same training on all but the last tenth of its window is asked about that tenth."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window, from_us
from pagoda.errors import PagodaError
from pagoda.evaluation.baselines.item_baseline import MOST, BaselineLimits
from pagoda.evaluation.baselines.user_sample import SampledUsers
from pagoda.evaluation.evaluate import evaluate
from pagoda.evaluation.judgement import ROWS, Judged, Judgement
from pagoda.training.full.loop import Progress
from pagoda.training.full.refusals import refuse_rehearsal, refuse_what_the_data_lacks
from pagoda.training.full.side_inputs import NOTHING_BESIDE, SideInputs
from pagoda.training.full.update import full_update
from pagoda.training.full.validation import cut
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion

_TENTH = 0.1
_SMALL = 30_000
"""Positives of a window that is judged whole: with the steps around it, an update's time is not its training then."""
_SHARE = 0.22
"""Of a larger window's positives: with nine tenths of them trained, and asking, within a fifth of the update."""
_MOST_ROWS = 5_000_000
_FREE_ROWS, _FREE_ITEMS, _ITEMS_CUBED = 200_000, 3_000, 1e5
"""A baseline of so many takes seconds; of more, only as a small part of a long training. EASE's time is items cubed."""


_NAMES: dict[Judged, str] = {"itself": "the version", "parent": "the parent", "held_back": "nine tenths"}


@dataclass(frozen=True)
class _Rehearsal:
    dataset: Dataset
    learned: Window
    asked: Window
    share: float


def judge_held_back(
    dataset: Dataset,
    window: Window,
    config: TrainConfig,
    *,
    beside: SideInputs = NOTHING_BESIDE,
    repeats: bool = False,
    progress: Progress | None = None,
    checkpoints: Path | None = None,
    processes: int = 1,
) -> Judgement:
    """Train on all but the last tenth of a first version's window, and ask about that tenth.

    What cannot be judged is no reason to stop an update, so it says why instead; but what cannot be trained is refused
    before any of it.

    Args:
        dataset: As for `full_update`, like the arguments that are not here.
        window: What the version will learn.
        config: How; the same seed.
        beside: As for `full_update`.
        repeats: Ask also for items that users had before.
        progress: Watches.
        checkpoints: Where a killed judging goes on.
        processes: How many ask; one trains.

    Raises:
        ConfigError: The version asks for what the data has not.
        DataError: Too little was shown for its pre-ranker.
    """
    began = time.perf_counter()
    # As the update refuses it: of what it learns, or a version that it has made could be refused here.
    learned = cut(window, config.validation)[0] if config.validation else window
    refuse_what_the_data_lacks(config, dataset, learned)
    refuse_rehearsal(config, dataset, learned)
    try:
        rehearsal = _rehearsal(dataset, window)
        if rehearsal is None:
            return Judgement(of="held_back", reason="all positives of the window lie in one moment")
        with TemporaryDirectory(prefix="pagoda-judgement-") as folder:
            files = full_update(
                rehearsal.dataset,
                rehearsal.learned,
                None,
                # Of a pre-ranker nothing is asked, and to fewer users less was shown.
                config.model_copy(update={"prerank": None}),
                Path(folder) / "out",
                beside=beside,
                progress=progress,
                checkpoints=checkpoints,
                programs=False,
            )
            judged = judge_version(
                files,
                rehearsal.dataset,
                rehearsal.asked,
                of="held_back",
                learned=files.metrics()["positives"] * config.bootstrap_epochs,
                repeats=repeats,
                processes=processes,
            )
    except PagodaError as error:
        judged = Judgement(of="held_back", reason=str(error))
        rehearsal = None
    share = rehearsal.share if rehearsal else 1.0
    return judged.model_copy(update={"share": share, "seconds": time.perf_counter() - began})


def judge_version(
    files: FullVersionFiles,
    dataset: Dataset,
    asked: Window,
    *,
    of: Judged,
    learned: int,
    repeats: bool = False,
    processes: int = 1,
) -> Judgement:
    """Ask a version about the positives of a window that it has not learned.

    Args:
        files: The version.
        dataset: Holds the positives and everything before them.
        asked: The window.
        of: Whose figures these are.
        learned: Positives that the update learns, each counted as often as it is learned: what judging may cost.
        repeats: Ask also for items that users had before.
        processes: How many ask.
    """
    began = time.perf_counter()
    try:
        report = evaluate(
            OpenVersion(files, dataset),
            dataset,
            asked,
            version=_NAMES[of],
            limit=ROWS,
            repeats=repeats,
            limits=limits_of(learned),
            processes=processes,
        )
    except PagodaError as error:
        return Judgement(of=of, reason=str(error))
    return Judgement(of=of, report=report, seconds=time.perf_counter() - began)


def limits_of(learned: int) -> BaselineLimits:
    """What a baseline may take beside an update that learns so many positives, each as often as it is learned."""
    items = max(_FREE_ITEMS, int(np.cbrt(_ITEMS_CUBED * learned)))
    return BaselineLimits(min(MOST.ease_items, items), min(MOST.rows, max(_FREE_ROWS, learned)))


def _rehearsal(dataset: Dataset, window: Window) -> _Rehearsal | None:
    """What to learn and what to ask; None where one moment holds all positives."""
    events, whole = dataset.spec.positives, SampledUsers(dataset, 1.0)
    positives, rows = whole.count(window, events=events), whole.count(window)
    cut = _moment(whole, window, int(positives * (1 - _TENTH)))
    if cut is None or cut <= window.start_us:
        return None
    share = share_of(positives, rows)
    seen = SampledUsers(whole, share)
    learned = Window(start=window.start, end=from_us(cut))
    if not seen.count(learned, events=events):
        return None
    return _Rehearsal(seen, learned, Window(start=learned.end, end=window.end), share)


def share_of(positives: int, rows: int) -> float:
    """Share of the users whose interactions judging learns, of a window with so many positives and rows."""
    return min(1.0, max(_SHARE, _SMALL / max(positives, 1)), _MOST_ROWS / max(rows, 1))


def _moment(dataset: Dataset, window: Window, number: int) -> int | None:
    """When the window's positive of this number was, in microseconds; None where it has fewer."""
    before = 0
    for batch in dataset.batches(window, events=dataset.spec.positives, columns=["timestamp"]):
        if number < before + batch.num_rows:
            return int(batch.column("timestamp").cast("int64")[number - before].as_py())
        before += batch.num_rows
    return None
