"""What several processes cannot train yet, said before any of them starts."""

from __future__ import annotations

from importlib.util import find_spec

from pagoda.config.training import TrainConfig
from pagoda.errors import ConfigError

_LANES = 4
"""FBGEMM's kernels read rows by so many numbers."""


def refuse_undistributed(config: TrainConfig) -> None:
    """Refuse what is for one process alone.

    Raises:
        ConfigError: The configuration asks for it, or TorchRec is not installed.
    """
    processes = config.distributed.processes
    for what, is_there in _for_one(config).items():
        if is_there:
            raise ConfigError(
                f"distributed.processes is {processes}, and {what}, which one process trains alone so far; leave one "
                "of them out"
            )
    if config.row_dim % _LANES:
        raise ConfigError(
            f"distributed.processes is {processes}, and rows of {config.row_dim} numbers cannot be shared out: their "
            f"length has to be a multiple of {_LANES}; change model.dim"
        )
    if find_spec("torchrec") is None:
        raise ConfigError(
            f"distributed.processes is {processes}, which needs TorchRec: install the packages of the extra "
            "`distributed`, without their dependencies, as requirements/distributed.txt pins them"
        )


def refuse_more_than_there_is(users: int, items: int, processes: int) -> None:
    """Refuse so many processes that one would have nothing.

    Args:
        users: Of the window, those of the process that has the fewest.
        items: With a row.
        processes: How many there are.

    Raises:
        ConfigError: One has no user, or no item's row.
    """
    if not users:
        raise ConfigError(f"distributed.processes is {processes}, and one of them has no user of the window; use fewer")
    if items < processes * processes:
        raise ConfigError(
            f"distributed.processes is {processes}, and {items:,} items are too few to share out among them; use fewer"
        )


def _for_one(config: TrainConfig) -> dict[str, bool]:
    """What is for one process, and whether it is asked for."""
    negatives = config.negatives
    return {
        f"learn is {config.learn}": config.learn != "positives",
        "an ensemble is declared": config.ensemble is not None,
        "prerank is declared": config.prerank is not None,
        "distillation is declared": config.distillation is not None,
        "self_supervision is declared": config.self_supervision is not None,
        "validation is declared": config.validation is not None,
        "cold is declared": config.cold is not None,
        "user_rows is declared": config.user_rows is not None,
        "model.augment is declared": config.model.augment is not None,
        f"negatives.queue is {negatives.queue}": bool(negatives.queue),
        f"negatives.mined is {negatives.mined}": bool(negatives.mined),
        **{f"negatives.{key} is set": True for key in negatives.rejections},
        f"negatives.bad is {negatives.bad}": bool(negatives.bad),
        "negatives.correction is streaming": negatives.correction == "streaming",
        f"optimiser.table_memory is {config.optimiser.table_memory:g}": config.optimiser.table_memory != 1,
    }
