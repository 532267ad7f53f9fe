"""What MLflow shows of an update while it trains: in the run that its version is registered by afterwards.

`MlflowRegistry` takes the oldest run of a key, so registering goes on with this one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from pagoda.data.window import Window
from pagoda.errors import PagodaError
from pagoda.generations.versions import full_key
from pagoda.registry.mlflow_client import Server
from pagoda.registry.mlflow_registry import run_name
from pagoda.settings import RegistrySettings

logger = logging.getLogger(__name__)

_EVERY_SECONDS, _AFTER_FAILURE_SECONDS = 10.0, 300.0


class TrainingRun:
    """Implements `pagoda.training.full.loop.Progress`: loss, speed and validation over the positives learned.

    A point every ten seconds, so what trains faster has no curve, and waits for no server. One that does not answer is
    left alone for five minutes: training goes on, and what is lost is a part of a curve.
    """

    def __init__(
        self,
        registry: RegistrySettings,
        window: Window,
        parent: int | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        client: Any = None,
    ) -> None:
        """Of the full update with this window and parent; nothing is asked yet.

        Args:
            registry: With the server's address; without one nothing is shown.
            window: Of the update.
            parent: Of the update.
            clock: Seconds.
            client: An `mlflow.MlflowClient`, made when it is first needed if left out.
        """
        self._model, self._key, self._name = registry.model, full_key(window, parent), run_name("full", window)
        self._server = Server(registry.uri, client) if registry.uri else None
        self._run, self._clock = "", clock
        self._samples, self._positives = 0, 1
        self._since, self._sum, self._told, self._silent_until = 0, 0.0, clock(), clock()

    def begin(self, positives: int, epochs: int, done: int = 0) -> None:  # noqa: ARG002 - of the protocol
        """See `Progress`."""
        self._samples, self._positives, self._told = done, max(1, positives), self._clock()

    def advance(self, positives: int, loss: float) -> None:
        """See `Progress`."""
        self._samples += positives
        self._since += positives
        self._sum += positives * loss
        seconds = self._clock() - self._told
        if seconds < _EVERY_SECONDS or not self._since:
            return
        self._log({"train/loss": self._sum / self._since, "train/samples_per_second": self._since / seconds})
        self._since, self._sum, self._told = 0, 0.0, self._clock()

    def validated(self, epoch: int, value: float, *, best: bool) -> None:  # noqa: ARG002 - of the protocol
        """See `Progress`."""
        self._log({"train/validation": value})

    def _log(self, metrics: Mapping[str, float]) -> None:
        if self._server is None or self._clock() < self._silent_until:
            return
        try:
            with self._server.answering():
                self._run = self._run or self._open(self._server)
                told = {**metrics, "train/epoch": self._samples / self._positives}
                self._server.measure(self._run, told, self._samples)
        except PagodaError as error:
            self._silent_until = self._clock() + _AFTER_FAILURE_SECONDS
            logger.warning("the progress of training is not shown for five minutes: %s", error)

    def _open(self, server: Server) -> str:
        known = server.runs(self._model, self._key)
        return known[0] if known else server.create_run(self._model, self._key, self._name, {})
