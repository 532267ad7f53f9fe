"""Leave-one-out from a file of sequences to figures: import, train, validate, and read the test once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from benchmarks.kept_run import KeptRun, UserValues
from benchmarks.quality.settings import Sizes, Tower, settings
from pagoda.config.positives import PositivesConfig
from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.imports.sequences import import_sequences
from pagoda.data.window import Window
from pagoda.evaluation.leave_one_out import LeftOut, leave_one_out
from pagoda.training.examples.survey import survey
from pagoda.training.full.loop import Progress
from pagoda.training.full.update import full_update
from pagoda.version_files.open_version import OpenVersion

AT = (10, 20)


class QualityProtocol(Protocol):
    """A file, cut into what is learned and what is asked."""

    def config(self, tower: Tower, seed: int) -> TrainConfig:
        """How a tower is trained on it."""

    def run(self, config: TrainConfig, folder: Path, progress: Progress) -> KeptRun:
        """Train in the new `folder` and ask; `facts` hold the costs, the sizes and the configuration."""


class LeaveOneOut:
    """What is trained learns all but the last two items of each user.

    The last but one is the validation: it was for choosing the settings, and is reported. The last is the test; at that
    moment the history holds the one before it.
    """

    def __init__(self, source: Path, folder: Path) -> None:
        """Import `source` into the new `folder`.

        Raises:
            DataError: It is no file of sequences.
        """
        self._splits = import_sequences(folder, source)
        self._dataset = Dataset.open(folder)
        self._sizes = sizes_of(self._dataset, self._splits.train)

    def config(self, tower: Tower, seed: int) -> TrainConfig:
        """See `QualityProtocol`."""
        return settings(tower, self._sizes).model_copy(update={"seed": seed})

    def run(self, config: TrainConfig, folder: Path, progress: Progress) -> KeptRun:
        """See `QualityProtocol`."""
        version, facts = trained(self._dataset, self._splits.train, config, folder, progress)
        validation = leave_one_out(version, self._dataset, self._splits.validation, at=AT)
        test = leave_one_out(version, self._dataset, self._splits.test, at=AT)
        asked = {"validation": _by_user(validation), "test": _by_user(test)}
        return KeptRun(asked, {**facts, "repeats": {"validation": validation.repeats, "test": test.repeats}})


def trained(
    dataset: Dataset, window: Window, config: TrainConfig, folder: Path, progress: Progress
) -> tuple[OpenVersion, dict[str, object]]:
    """A version that learned a window, and the facts of its training."""
    wall, processor = time.perf_counter(), time.process_time()
    files = full_update(dataset, window, None, config, folder, progress=progress, programs=False)
    facts = {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - processor,
        "epochs": len(files.metrics()["losses"]),
        "learned": vars(sizes_of(dataset, window)),
        "config": config.model_dump(mode="json"),
    }
    return OpenVersion(files, dataset), facts


def sizes_of(dataset: Dataset, window: Window) -> Sizes:
    """Of what a window has to learn."""
    found = survey(dataset, window, dataset.items().column("item_id").to_numpy(), PositivesConfig())
    return Sizes(users=len(found.users), items=int(found.used.sum()), positives=found.positives)


def _by_user(found: LeftOut) -> UserValues:
    """With one item each, the hit rate is recall."""
    return UserValues(found.user_ids, found.values | {"recall@20": found.values["hr@20"]})
