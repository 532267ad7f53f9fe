"""Validation between epochs: when to stop, and which epoch was the best."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from pagoda.config.validation import ValidationConfig
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.errors import ConfigError
from pagoda.evaluation.estimates import METRICS
from pagoda.evaluation.offline import ask
from pagoda.evaluation.opened_towers import OpenedTowers, scorer_of
from pagoda.evaluation.ranking import rank


class Validator(Protocol):
    """Says how good a version under training is."""

    def __call__(self, towers: OpenedTowers) -> float:
        """A number that is higher the better; asked after each epoch, always of the same positives."""


class WindowValidator:
    """A metric over the positives of a window, each answered as of its own moment, see `pagoda.evaluation.offline`."""

    def __init__(self, dataset: Dataset, window: Window, config: ValidationConfig, seed: int) -> None:
        """Choose the positives.

        Raises:
            DataError: The window has none that can be asked.
        """
        self._metric = METRICS[config.metric]
        self._asked = ask(dataset, window, protocol="each", limit=config.rows, seed=seed)

    def __call__(self, towers: OpenedTowers) -> float:
        """See `Validator`."""
        asked = self._asked
        rows, histories = asked.rows, asked.histories["live"]
        vectors = towers.user_vectors(rows.users, rows.times_us, histories, rows.context)
        ranks = rank(scorer_of(towers, vectors, towers.item_vectors(), asked.seen), asked.targets, asked.seen)
        return float(self._metric(ranks).mean())


def held_back(window: Window, config: ValidationConfig) -> tuple[Window, Window]:
    """Cut a window into what is learned and what is held back.

    Raises:
        ConfigError: There would be nothing left to learn.
    """
    cut = window.end - timedelta(hours=config.hours)
    if cut <= window.start:
        length = (window.end - window.start) / timedelta(hours=1)
        raise ConfigError(f"validation.hours {config.hours:g} holds back the whole window of {length:g} hours")
    return Window(start=window.start, end=cut), Window(start=cut, end=window.end)
