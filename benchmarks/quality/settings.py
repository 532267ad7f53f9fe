"""The settings of `make bench-quality`: one rule for every file, from nothing but its sizes.

They were chosen on the validation items of Amazon Beauty (see docs/training.md); no test item had a part in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from pagoda.config.training import TrainConfig

Tower = Literal["sequence", "mean"]
TOWERS: tuple[Tower, ...] = get_args(Tower)
_WIDE, _NARROW, _MEAN = 128, 64, 256
"""Lengths of vectors: of both members of the ensemble of sequence towers, and of the mean tower's."""
_MOST_EPOCHS: dict[Tower, int] = {"sequence": 20, "mean": 15}
_FEWEST_EPOCHS = 5
_LEARNED = 10_000_000
"""Positives to learn at most, in as many epochs as that makes, so that a large file takes no hours."""
_DENSE = 100.0
"""Positives of an item from which on a file has enough of them to do with little dropout."""
_COMPARED = 100_000_000_000
"""Positives times items to compare in a training at most, so that a large file takes no hours; three times Beauty's.
Where there are more, candidates are sampled."""


@dataclass(frozen=True)
class Sizes:
    """Of what is learned."""

    users: int
    items: int
    positives: int


def settings(tower: Tower, sizes: Sizes) -> TrainConfig:
    """How a tower is trained on a file of these sizes."""
    epochs = _epochs(tower, sizes)
    return TrainConfig.model_validate(
        {
            "learn": "sequences",
            "batch_size": 512,
            "bootstrap_epochs": epochs,
            **_model(tower, sizes),
            "objective": {"kind": "listwise", "temperature": 0.07},
            "negatives": _negatives(tower, sizes, epochs),
            "optimiser": {"table_memory": 0.99, "weight_decay": 0.0, "cooldown": 0.3},
            "dropout": {"user": 0, "item": 0, "profile": 0, "history": 0},
        }
    )


def _epochs(tower: Tower, sizes: Sizes) -> int:
    return min(max(_LEARNED // sizes.positives, _FEWEST_EPOCHS), _MOST_EPOCHS[tower])


def _negatives(tower: Tower, sizes: Sizes, epochs: int) -> dict[str, Any]:
    if tower == "sequence" and epochs * sizes.positives * sizes.items <= _COMPARED:
        return {"catalogue": True}
    return {"in_batch": False, "uniform": 512, "popularity": 512}


def _model(tower: Tower, sizes: Sizes) -> dict[str, Any]:
    blocks = {"user": {"blocks": [], "id_row": False}, "item": {"blocks": []}}
    if tower == "mean":
        return {"model": {"dim": _MEAN, "history": {"kind": "mean"}, **blocks}}
    dense = sizes.positives >= _DENSE * sizes.items
    # A narrow member has less to hide.
    wide = {"name": "wide", "weight": 0.6, "dim": _WIDE, "history": _bsarec(0.2 if dense else 0.5)}
    narrow = {"name": "narrow", "weight": 0.4, "dim": _NARROW, "history": _bsarec(0.2 if dense else 0.4)}
    return {"model": blocks, "ensemble": {"members": [wide, narrow]}}


def _bsarec(dropout: float) -> dict[str, Any]:
    return {"kind": "bsarec", "layers": 2, "heads": 1, "hidden": 256, "dropout": dropout}


HISTORY = 500
"""Items of a user that a set without order is pooled from; of a larger one the rest would count as negatives."""
_UNORDERED_DIM = 128


def unordered_settings(sizes: Sizes) -> TrainConfig:
    """How the mean tower is trained on pairs without order.

    Chosen on the validation pairs of MovieLens-100K, see docs/training.md.
    """
    return TrainConfig.model_validate(
        {
            "learn": "sets",
            "batch_size": 512,
            "bootstrap_epochs": _epochs("mean", sizes),
            "model": {
                "dim": _UNORDERED_DIM,
                "history": {"kind": "mean"},
                "user": {"blocks": [], "id_row": False},
                "item": {"blocks": []},
            },
            "objective": {"kind": "listwise", "temperature": 0.12},
            "negatives": {"in_batch": False, "uniform": 1024, "popularity": 1024},
            "optimiser": {"table_memory": 0.99, "weight_decay": 0.0, "cooldown": 0.3},
            "dropout": {"user": 0, "item": 0, "profile": 0, "history": 0},
        }
    )
