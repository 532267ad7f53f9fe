"""Checkpoints: everything that a killed training needs to go on from the very batch where it was, to the same bits."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import orjson
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from pagoda.errors import GateError, IntegrityError
from pagoda.storage.atomic import build_folder
from pagoda.training.learner.learner import Learner
from pagoda.training.learner.state import restore, tensors_of
from pagoda.version_files.full import load_tensors, save_tensors

_PROGRESS, _TENSORS, _BEST = "progress.json", "tensors.safetensors", "best"
_PREFIX = "step-"


class Position(BaseModel):
    """Where training is, and what it has found so far."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int = 0
    """Of the batch that is learned next; they count from 0."""
    block: int = 0
    batch: int = 0
    """Within the block."""
    steps: int = 0
    """Batches learned."""
    samples: int = 0
    """Positives learned, each time counted."""
    learned: int = 0
    """Positives learned in this epoch."""
    total: float = 0.0
    """Sum of their losses."""
    losses: tuple[float, ...] = ()
    """Mean loss of a positive in each epoch that is over."""
    validations: tuple[float, ...] = ()
    """What the validator gave after each epoch."""
    seconds: float = 0.0
    """Spent so far."""


class Checkpoints:
    """A folder of checkpoints of one training; whole ones only, since each is built aside and renamed."""

    def __init__(self, folder: Path, identity: str, *, lasting: bool = True) -> None:
        """Use `folder`, which need not exist; `identity` says which training it is.

        Where the folder is not `lasting`, only the best epoch is kept in it.
        """
        self._folder, self._identity, self.lasting = folder, identity, lasting

    def save(self, learner: Learner, position: Position) -> None:
        """Keep this moment instead of the one before."""
        older = self._kept()
        target = self._folder / f"{_PREFIX}{position.steps:012d}"
        if target not in older:
            self._write(target, learner, position)
        self._settle()
        for path in older:
            if path != target:
                _remove(path)

    def resume(self, learner: Learner) -> Position:
        """Put back what was saved last, if anything was, and say where that is.

        What belongs to another training (its data, configuration or code differ) is removed.

        Raises:
            IntegrityError: A file is damaged.
        """
        for path in reversed(self._usable()):
            if (position := self._read(path, learner)) is not None:
                return position
        self.clear()
        return Position()

    def is_due(self, waited: float, interval: float) -> bool:
        """Whether to save now, so many seconds after the last time; both in seconds."""
        return waited >= interval

    def save_best(self, learner: Learner, position: Position) -> None:
        """Keep this moment as the best so far."""
        if (self._folder / _BEST).exists():
            _remove(self._folder / _BEST)
        self._write(self._folder / _BEST, learner, position)

    def restore_best(self, learner: Learner) -> None:
        """Put back the best moment."""
        if self._read(self._folder / _BEST, learner) is None:
            raise IntegrityError(f"{self._folder / _BEST}: belongs to another training")

    def clear(self) -> None:
        """Remove the folder: training is over."""
        for path in self._kept():
            _remove(path)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _kept(self) -> list[Path]:
        """Checkpoints, the oldest first."""
        return sorted(self._folder.glob(f"{_PREFIX}*"))

    def _usable(self) -> list[Path]:
        """Checkpoints that training could go on from, the oldest first."""
        return self._kept()

    def _settle(self) -> None:
        """A new checkpoint is there, and those before it are still."""

    def _belongs(self, path: Path) -> bool:
        """Whether a checkpoint is of this training.

        Raises:
            IntegrityError: It is damaged.
        """
        return self._about(path).get("identity") == self._identity

    def _about(self, path: Path) -> dict[str, Any]:
        try:
            about: dict[str, Any] = orjson.loads((path / _PROGRESS).read_bytes())
        except (OSError, ValueError) as error:
            raise _damaged(path, error) from error
        return about

    def _write(self, target: Path, learner: Learner, position: Position) -> None:
        # No histories: reading the window again up to here costs less than writing all users' every few minutes.
        with build_folder(target) as aside:
            save_tensors(tensors_of(learner), aside / _TENSORS)
            for name, table in (("users", learner.users), ("items", learner.items)):
                np.save(aside / f"{name}.npy", table.rows.numpy(force=True))
                np.save(aside / f"{name}_squares.npy", table.squares.numpy(force=True))
            about = {"identity": self._identity, "position": position.model_dump()}
            (aside / _PROGRESS).write_bytes(orjson.dumps(about, option=orjson.OPT_INDENT_2))

    def _read(self, path: Path, learner: Learner) -> Position | None:
        if not self._belongs(path):
            return None
        try:
            about = self._about(path)
            position = Position.model_validate(about["position"])
            for name, table in (("users", learner.users), ("items", learner.items)):
                _copy(path / f"{name}.npy", table.rows)
                _copy(path / f"{name}_squares.npy", table.squares)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise _damaged(path, error) from error
        restore(learner, load_tensors(path / _TENSORS))
        learner.steps = position.steps
        return position


@contextmanager
def checkpoints_in(
    folder: Path | None, identity: str, made: Callable[..., Checkpoints] = Checkpoints
) -> Iterator[Checkpoints]:
    """Checkpoints of a training, removed when it is over, well or refused; of a kill they are what remains.

    Without a `folder` the best epoch alone is kept, and nothing remains. They are `made` as `Checkpoints` are.
    """
    with TemporaryDirectory(prefix="pagoda-training-") as temporary:
        kept = made(folder or Path(temporary) / "best", identity, lasting=folder is not None)
        try:
            yield kept
        except GateError:
            kept.clear()
            raise
        kept.clear()


def _remove(path: Path) -> None:
    """Remove a checkpoint; of one that a kill left half removed, the next training finds nothing by its name."""
    gone = path.with_name(f".{path.name}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    path.rename(gone)
    shutil.rmtree(gone)


def _damaged(path: Path, error: Exception) -> IntegrityError:
    return IntegrityError(f"{path}: damaged ({error}); remove it to train from the beginning")


def _copy(path: Path, into: Tensor) -> None:
    # Mapped, so that the table is not in memory twice; copy-on-write, since PyTorch wants arrays that it may write to.
    into.copy_(torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False)))
