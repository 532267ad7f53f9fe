"""A full version in process: trained, judged, asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import yaml
from rich.console import Console

from pagoda.config.training import TrainConfig, parse_config, read_config
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window, parse_moment
from pagoda.errors import ConfigError, DataError
from pagoda.evaluation.evaluate import ROWS, evaluate
from pagoda.notebook.evaluation import Evaluation
from pagoda.notebook.recommending import ExactRecommender
from pagoda.training.full import update
from pagoda.training.progress import TerminalProgress
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion

Moment = datetime | str
"""With its zone; as text in ISO 8601."""


class Version:
    """A full version and the dataset that it is asked about."""

    def __init__(
        self, files: FullVersionFiles, dataset: Dataset, temporary: TemporaryDirectory[str] | None = None
    ) -> None:
        """Take a version's files; `temporary`, where there is one, holds them and goes with this object."""
        self.files, self.dataset = files, dataset
        self._temporary = temporary

    @property
    def folder(self) -> Path:
        """Where the files are: the `out` of `train`, which `pagoda evaluate --version` takes too."""
        return self.files.folder.parent

    @property
    def learned_until(self) -> datetime:
        """The end of its window."""
        return self.files.lineage.window.end

    @property
    def metrics(self) -> dict[str, Any]:
        """How training went."""
        return self.files.metrics()

    @cached_property
    def towers(self) -> OpenVersion:
        """Vectors of users and items."""
        return OpenVersion(self.files, self.dataset)

    @cached_property
    def _recommender(self) -> ExactRecommender:
        return ExactRecommender(self.files, self.towers, self.dataset)

    def evaluate(
        self, start: Moment | None = None, end: Moment | None = None, *, rows: int = ROWS, seed: int = 0
    ) -> Evaluation:
        """Rank every later positive among all items, as of its own moment, beside popularity and random.

        Args:
            start: Default: where its window ends.
            end: Default: where the data ends.
            rows: Most positives to ask; of more, this many are drawn.
            seed: Of the draw and of the intervals.

        Raises:
            DataError: Nothing happened then; train `until` an earlier moment, and what comes after can be asked.
        """
        span = self.dataset.span()
        first, last = _moment(start, "start") or self.learned_until, _moment(end, "end") or span.end
        if first >= last:
            raise DataError(
                f"{self.dataset.path}: nothing after {first.isoformat()} to evaluate on; train(…, until=…) leaves the "
                "end of the data out"
            )
        window = Window(start=first, end=last)
        report = evaluate(
            self.towers,
            self.dataset,
            window,
            version=self.folder.name,
            limit=rows,
            seed=seed,
            mixture=self.files.mixture(),
        )
        return Evaluation(report)

    def recommend(
        self,
        user_ids: Sequence[int | str] | pa.Array,
        k: int = 10,
        *,
        at: Moment | None = None,
        exclude_seen: bool = True,
    ) -> pa.Table:
        """The best items of users by exact search, with the dataset's rules.

        Args:
            user_ids: As in the dataset; of unknown ones the answer is what newcomers get.
            k: Items of each user at most.
            at: What users did before this moment is known; default: all.
            exclude_seen: Leave out what a user has had as a positive.

        Returns:
            `user_id`, `rank` (from 1), `item_id`, `title` where the dataset has titles, and `score`, in this order.

        Raises:
            RequestError: An ID is not of the dataset's type, or k is below 1.
        """
        moment = _moment(at, "at") or self.dataset.span().end
        return self._recommender.recommend(user_ids, k, moment, exclude_seen=exclude_seen)


def train(
    dataset: Dataset,
    *,
    config: TrainConfig | Mapping[str, Any] | Path | str | None = None,
    until: Moment | None = None,
    parent: Version | None = None,
    out: Path | str | None = None,
) -> Version:
    """Train a full version, as `pagoda train full` does.

    Args:
        dataset: What to learn from.
        config: The training file, its content as a mapping, or none for the defaults; see docs/training.md.
        until: Learn what was before this moment; default: all.
        parent: An earlier version to start from, which then learns what came since.
        out: New folder for the version's files. Default: a temporary one, which goes with the version.

    Raises:
        ConfigError: The configuration is wrong, or there is nothing to learn.
        DataError: The window has no positive.
        ConflictError: `out` exists already.
    """
    chosen, temporary = _config(config), None
    span = dataset.span()
    start, end = parent.learned_until if parent else span.start, _moment(until, "until") or span.end
    if end <= start:
        raise ConfigError(f"nothing to learn: the window would go from {start.isoformat()} to {end.isoformat()}")
    if out is None:
        temporary = TemporaryDirectory(prefix="pagoda-version-")
        out = Path(temporary.name) / "version"
    window, parent_files = Window(start=start, end=end), parent.files if parent else None
    # A bar of characters, also in a notebook: rich's own for notebooks needs a package more.
    with TerminalProgress(Console(stderr=True, force_jupyter=False)) as progress:
        files = update.full_update(dataset, window, parent_files, chosen, Path(out), progress=progress)
    return Version(files, dataset, temporary)


def open_version(out: Path | str, dataset: Dataset) -> Version:
    """The version that `train` or `pagoda train full` wrote to `out`.

    Raises:
        IntegrityError: There is none.
    """
    return Version(update.open_version(Path(out)), dataset)


def _config(given: TrainConfig | Mapping[str, Any] | Path | str | None) -> TrainConfig:
    match given:
        case None:
            return parse_config("")
        case TrainConfig():
            return given
        case Mapping():
            return parse_config(yaml.safe_dump(dict(given)))
    return read_config(Path(given))


def _moment(given: Moment | None, name: str) -> datetime | None:
    if isinstance(given, datetime) and given.tzinfo is None:
        raise ConfigError(f"{name} {given.isoformat()} has no zone; say tzinfo=UTC")
    return parse_moment(given, name) if isinstance(given, str) else given
