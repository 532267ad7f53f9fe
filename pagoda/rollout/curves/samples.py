"""What gates measured, moment by moment: `gates/<rollout>/<stage>.json` beside the release log.

They are kept for people and decide nothing; what decided stands in the log. So they are no records of it: a file is
replaced whole with each sample, unsigned, and thinned, so that a stage of a rollout keeps between half of `MOST` and
`MOST` samples over all of its time, however long it lasts. It is stages that are bounded, not rollouts: one that waited
days for rows offline would else have few samples of the hour that its canary took.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from pagoda.errors import IntegrityError, explain
from pagoda.rollout.gate_results import GateResult, Verdict
from pagoda.rollout.state.machine import Phase
from pagoda.storage.copies import children, delete, read, replace

FIRST_SECONDS = 10.0
"""Between the samples of a stage that is young; doubled each time that it is thinned."""
MOST = 120
"""Samples of a stage."""


class GateFigures(BaseModel):
    """What one gate measured: a `GateResult` without its words."""

    model_config = ConfigDict(frozen=True)

    gate: str
    verdict: Verdict
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None

    @classmethod
    def of(cls, result: GateResult) -> Self:
        """Those of a result."""
        return cls.model_validate(result.model_dump(exclude={"detail"}))


class GateSample(BaseModel):
    """What all gates measured at one moment."""

    model_config = ConfigDict(frozen=True)

    at: AwareDatetime
    gates: tuple[GateFigures, ...]

    @classmethod
    def of(cls, at: datetime, results: Iterable[GateResult]) -> Self:
        """That of the results of one look."""
        return cls(at=at, gates=tuple(map(GateFigures.of, results)))


class StageSamples(BaseModel):
    """The samples of one stage, in order of time."""

    model_config = ConfigDict(frozen=True)

    seconds: float = Field(default=FIRST_SECONDS, gt=0)
    """Between two samples, at least."""
    samples: tuple[GateSample, ...] = ()

    @property
    def due(self) -> datetime | None:
        """When the next sample may be taken; None: at once."""
        return self.samples[-1].at + timedelta(seconds=self.seconds) if self.samples else None

    def and_then(self, sample: GateSample) -> StageSamples:
        """With one sample more, which must be due. Of too many fewer stay, the first and the last among them."""
        kept, seconds = [*self.samples, sample], self.seconds
        while len(kept) > MOST:
            seconds *= 2
            kept = _apart(kept, timedelta(seconds=seconds))
        return StageSamples(seconds=seconds, samples=tuple(kept))


def _apart(samples: Sequence[GateSample], gap: timedelta) -> list[GateSample]:
    """The first, the last, and of those in between as many as leave the gap; half of all or more, if it was doubled."""
    kept = [samples[0]]
    for sample in samples[1:]:
        if sample.at - kept[-1].at >= gap:
            kept.append(sample)
    kept[-1] = samples[-1]
    return kept


def stage_name(phase: Phase, step: int) -> str:
    """What a phase, or a canary step (from 0 on), is called: `registered`, `step-1`."""
    return f"step-{step + 1}" if phase is Phase.CANARY else phase.value


class GateSamples:
    """The samples of an installation's rollouts."""

    def __init__(self, log_url: str) -> None:
        """Beside the release log at `log_url`; nothing is read yet."""
        self._url = f"{log_url.rstrip('/')}/gates"

    def read(self, rollout: str, stage: str) -> StageSamples:
        """Those of one stage, none where there is no file of it.

        Raises:
            IntegrityError: It is damaged.
            UnavailableError: The store does not answer.
        """
        place = self._place(rollout, stage)
        if (content := read(place)) is None:
            return StageSamples()
        try:
            return StageSamples.model_validate_json(content)
        except ValidationError as error:
            words = f"{explain(error, place)}; delete it, what decided is in the release log"
            raise IntegrityError(words) from error

    def write(self, rollout: str, stage: str, samples: StageSamples) -> None:
        """Put them in place of what was known of the stage: after a crash there are the old ones or the new ones.

        Raises:
            UnavailableError: The store does not answer.
        """
        replace(self._place(rollout, stage), samples.model_dump_json(exclude_none=True).encode())

    def rollouts(self) -> list[str]:
        """Those of which there are samples.

        Raises:
            UnavailableError: The store does not answer.
        """
        return children(self._url)

    def forget(self, rollout: str) -> None:
        """Delete all of a rollout.

        Raises:
            UnavailableError: The store does not answer.
        """
        delete(f"{self._url}/{rollout}")

    def _place(self, rollout: str, stage: str) -> str:
        return f"{self._url}/{rollout}/{stage}.json"
