"""Checkpoints of several processes: each keeps its own part, and one counts only where all have theirs."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from typing_extensions import override

from pagoda.training.distributed.ranks import TrainingRanks
from pagoda.training.learner.checkpoints import Checkpoints


class RankCheckpoints(Checkpoints):
    """The checkpoints of one process, in a folder of its own below the training's."""

    def __init__(self, folder: Path, identity: str, ranks: TrainingRanks, *, lasting: bool = True) -> None:
        """As `Checkpoints`; of another number of processes it is another training, since their users are others'."""
        share = ranks.share
        super().__init__(folder / f"rank-{share.rank}", f"{identity} {share}", lasting=lasting)
        self._ranks, self._of_all = ranks, folder

    @override
    def clear(self) -> None:
        """Remove this process's, and those of processes that there are no more."""
        super().clear()
        for other in self._of_all.glob("rank-*"):
            if int(other.name.removeprefix("rank-")) >= self._ranks.share.count:
                shutil.rmtree(other, ignore_errors=True)
        with suppress(OSError):  # Others' are in it.
            self._of_all.rmdir()

    @override
    def is_due(self, waited: float, interval: float) -> bool:
        """What the first process's clock says: all save after the same step, or none does."""
        return self._ranks.agreed(waited >= interval)

    @override
    def _settle(self) -> None:
        # The parts before are kept until all have the new one.
        self._ranks.meet()

    @override
    def _usable(self) -> list[Path]:
        own = {path.name: path for path in self._kept() if self._belongs(path)}
        common = set.intersection(*map(set, self._ranks.of_each(list(own))))
        return [own[name] for name in sorted(common)]
