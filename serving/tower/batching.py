"""How a model version's requests are batched, and by how many workers."""

from __future__ import annotations

from dataclasses import dataclass

from pagoda.errors import ConfigError


@dataclass(frozen=True)
class Batching:
    """Workers of each model version and the size of their batches.

    By default a call is a batch: the recall service joins its users' requests into few calls by itself. Batches of
    calls pay where several recall processes, or other clients, ask one tower.
    """

    workers: int = 1
    """Processes, 240 MB each; on a machine of its own, one a core."""
    size: int = 1
    delay_ms: int = 0
    """How long the first call of a batch waits for others."""
    response_timeout_s: int = 10
    """A worker that takes longer is restarted."""

    def __post_init__(self) -> None:
        if self.size > 1 and self.delay_ms < 1:
            raise ConfigError("a batch delay of 0 ms makes TorchServe 0.12 wait 100 ms for each batch; give at least 1")

    def properties(self) -> dict[str, int]:
        """As config.properties names them."""
        return {
            "minWorkers": self.workers,
            "maxWorkers": self.workers,
            "batchSize": self.size,
            "maxBatchDelay": self.delay_ms,
            "responseTimeout": self.response_timeout_s,
        }

    def query(self) -> dict[str, int]:
        """As the management API names them."""
        return {
            "initial_workers": self.workers,
            "batch_size": self.size,
            "max_batch_delay": self.delay_ms,
            "response_timeout": self.response_timeout_s,
        }


DEFAULT_BATCHING = Batching()
