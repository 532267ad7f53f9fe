"""What a configuration asks for and the data cannot give, said before any work starts."""

from __future__ import annotations

from pathlib import Path

from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.errors import ConfigError
from pagoda.training.config import TrainConfig
from pagoda.training.hard import REJECTED
from pagoda.training.mined import most_of_a_user


def refuse_what_is_not_there(config: TrainConfig, dataset: Dataset, window: Window, mined: Path | None) -> None:
    """Compare a configuration with the data.

    Raises:
        ConfigError: It asks for hard negatives, features of items or histories that are not there.
        DataError: The file of mined negatives cannot be read.
    """
    if config.learn == "sequences" and dataset.spec.history is None:
        raise ConfigError(f"learn is sequences, but {dataset.path}/features.yaml declares no history")
    if config.self_supervision and not dataset.spec.of("item"):
        raise ConfigError(
            f"self_supervision needs features of items to hide and show; {dataset.path}/features.yaml declares none"
        )
    _refuse_mined(config.negatives.mined, mined)
    if config.negatives.rejected:
        found = dataset.batches(window, events=[REJECTED], columns=["timestamp"], batch_rows=1)
        if next(found, None) is None:
            raise ConfigError(f"negatives.rejected is set, but {dataset.path} has no event {REJECTED} in {window.key}")


def _refuse_mined(wanted: int, mined: Path | None) -> None:
    if mined is None:
        if wanted:
            raise ConfigError(
                f"negatives.mined is {wanted}, but nothing was mined: `pagoda mine` writes a file for --mined"
            )
        return
    if not wanted:
        raise ConfigError(f"negatives.mined is 0, so {mined} would not be used; say how many of it to take")
    if (most := most_of_a_user(mined)) < wanted:
        raise ConfigError(f"negatives.mined is {wanted}, but {mined} has at most {most} of a user")
