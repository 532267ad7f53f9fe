"""One process of a few steps, for tests: prints the losses, by itself or beside others."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch.distributed import distributed_c10d
from typing_extensions import override

from pagoda.config.training import parse_config
from pagoda.data.dataset import Dataset
from pagoda.training.distributed.ranks import TrainingRanks, joined_ranks
from pagoda.training.full.loop import Silent, train
from pagoda.training.full.preparation import prepare


@dataclass
class Losses(Silent):
    """Keeps the loss of each step."""

    found: list[float] = field(default_factory=list)

    @override
    def advance(self, positives: int, loss: float) -> None:
        self.found.append(loss)


def losses_of(ranks: TrainingRanks | None, dataset: Dataset, config: str) -> list[float]:
    """Losses of the steps of a first version; `ranks` None: by the loop of one process."""
    how, losses = parse_config(config), Losses()
    if ranks is None:
        train(prepare(dataset, dataset.span(), None, how), how, how.bootstrap_epochs, losses)
    else:
        # Here, since it needs TorchRec.
        from pagoda.training.distributed.worker import of_rank

        prepared = prepare(dataset, dataset.span(), None, how, share=ranks.share)
        train(of_rank(prepared, how, ranks), how, how.bootstrap_epochs, losses)
    return losses.found


def unpickled(*_: Any) -> None:
    """In place of what reads a pickle that another process sent."""
    raise AssertionError("what comes from a port is unpickled")


if __name__ == "__main__":
    assert distributed_c10d._tensor_to_object
    distributed_c10d._tensor_to_object = unpickled
    data, configs = Path(sys.argv[1]), json.loads(sys.argv[2])
    with joined_ranks("cpu", Path(sys.argv[3])) as joined:
        found = [losses_of(joined, Dataset.open(data), config) for config in configs]
        if joined.share.rank == 0:
            print(json.dumps(found))  # noqa: T201 - the test reads it
