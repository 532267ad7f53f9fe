"""Leave-one-out from a file of sequences to figures: import, train, validate, and read the test once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from benchmarks.quality.settings import Sizes, Tower, settings
from pagoda.data.dataset import Dataset
from pagoda.data.imports.sequences import import_sequences
from pagoda.evaluation.leave_one_out import LeftOut, leave_one_out
from pagoda.training.examples.survey import survey
from pagoda.training.full.loop import Progress
from pagoda.training.full.update import full_update
from pagoda.version_files.open_version import OpenVersion

AT = (10, 20)


def run(
    source: Path, folder: Path, towers: tuple[Tower, ...], watch: Callable[[Tower], AbstractContextManager[Progress]]
) -> Iterator[tuple[Tower, dict[str, Any]]]:
    """Train each of `towers` on `source` in the new `folder`, and give its figures.

    What is trained learns all but the last two items of each user. The last but one is the validation: it was for
    choosing the settings, and is reported. The last is the test; at that moment the history holds the one before it.
    """
    splits = import_sequences(folder / "data", source)
    dataset = Dataset.open(folder / "data")
    found = survey(dataset, splits.train, dataset.items().column("item_id").to_numpy())
    sizes = Sizes(users=len(found.users), items=int(found.used.sum()), positives=found.positives)
    for tower in towers:
        config = settings(tower, sizes)
        wall, processor = time.perf_counter(), time.process_time()
        with watch(tower) as progress:
            files = full_update(dataset, splits.train, None, config, folder / tower, progress=progress)
        spent = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - processor}
        version = OpenVersion(files, dataset)
        validation = leave_one_out(version, dataset, splits.validation, at=AT)
        test = leave_one_out(version, dataset, splits.test, at=AT)
        yield (
            tower,
            {
                **figures(test),
                **spent,
                "validation": figures(validation),
                "epochs": len(files.metrics()["losses"]),
                "learned": vars(sizes),
                "config": config.model_dump(mode="json"),
            },
        )


def figures(found: LeftOut) -> dict[str, float]:
    """Flat: `hr@10`, `hr@10_low`, `hr@10_high` … and the users that were asked; with one item each, HR is recall."""
    flat: dict[str, float] = {"users": found.users, "repeats": found.repeats}
    for name, estimate in found.metrics.items():
        for key in {name, name.replace("hr@20", "recall@20")}:
            flat |= {key: estimate.value, f"{key}_low": estimate.low, f"{key}_high": estimate.high}
    return flat
