"""What a gate says."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Verdict(StrEnum):
    """Whether a gate lets the candidate go on."""

    PASSED = "pass"
    HELD = "hold"
    FAILED = "fail"


class GateResult(BaseModel):
    """One gate's verdict with its evidence; written to the release log as it is."""

    model_config = ConfigDict(frozen=True)

    gate: str
    verdict: Verdict
    detail: str
    """One sentence for people, with the figures."""
    value: float | None = None
    low: float | None = None
    """Ends of the interval around `value` where the gate has one."""
    high: float | None = None
    limit: float | None = None
    """What `value` or an end is compared with."""

    @property
    def told(self) -> str:
        """The evidence, and whose it is: `clicks: no click yet; …`."""
        return f"{self.gate}: {self.detail}"


def failed(results: Iterable[GateResult]) -> list[GateResult]:
    """Those that say fail."""
    return [result for result in results if result.verdict is Verdict.FAILED]


def held(results: Iterable[GateResult]) -> list[GateResult]:
    """Those that say hold."""
    return [result for result in results if result.verdict is Verdict.HELD]
