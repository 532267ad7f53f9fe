"""Validation between epochs: when to stop, and which epoch was the best."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from pagoda.config.training import TrainConfig
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


def held_back(dataset: Dataset, window: Window, config: TrainConfig) -> tuple[Window, Validator | None]:
    """What to learn of a window, and who asks about the rest of it, where `config.validation` declares any.

    Raises:
        ConfigError: There would be nothing left to learn.
        DataError: What is held back has no positive that can be asked.
    """
    if config.validation is None:
        return window, None
    learned, later = cut(window, config.validation)
    return learned, WindowValidator(dataset, later, config.validation, config.seed)


def cut(window: Window, config: ValidationConfig) -> tuple[Window, Window]:
    """Cut a window into what is learned and what is held back.

    Raises:
        ConfigError: There would be nothing left to learn.
    """
    moment = window.end - timedelta(hours=config.hours)
    if moment <= window.start:
        length = (window.end - window.start) / timedelta(hours=1)
        raise ConfigError(f"validation.hours {config.hours:g} holds back the whole window of {length:g} hours")
    return Window(start=window.start, end=moment), Window(start=moment, end=window.end)
