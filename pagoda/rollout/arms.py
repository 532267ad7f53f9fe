"""Which arm answers a user: the same one all through a step, and still the canary when its share grows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import xxhash

from pagoda.errors import RequestError

ARM_HEADER = "x-pagoda-arm"
"""Request header by which a tester chooses the arm; such requests do not count for the gates."""

_SPAN = float(2**64)


class Arm(StrEnum):
    """Who answers."""

    STABLE = "stable"
    CANARY = "canary"


@dataclass(frozen=True, slots=True)
class Choice:
    """The arm of one request."""

    arm: Arm
    generation: str
    counted: bool
    """Whether gates look at it: false when a tester chose the arm."""


@dataclass(frozen=True, slots=True)
class Split:
    """Who gets which part of the users, at one moment."""

    stable: str
    """Generation of the stable arm."""
    canary: str | None = None
    percent: int = 0
    """Share of the users whose arm is the canary, in percent."""
    rollout: str = ""
    mirrored: bool = False
    """Shadow: the stable arm answers everybody, and the canary gets copies whose answers are dropped."""

    def choose(self, user: int | str, header: str | None = None) -> Choice:
        """The arm that answers `user`; `header` is the value of `ARM_HEADER`, if there is one.

        Raises:
            RequestError: The header names no arm.
        """
        forced = _parse(header) if header else None
        chosen = forced or self._arm_of(user)
        if chosen is Arm.CANARY and self.canary is not None:
            return Choice(Arm.CANARY, self.canary, forced is None)
        return Choice(Arm.STABLE, self.stable, forced is None)

    def _arm_of(self, user: int | str) -> Arm:
        if self.canary is None or self.percent == 0:
            return Arm.STABLE
        return Arm.CANARY if position(self.rollout, user) * 100 < self.percent else Arm.STABLE


def position(rollout: str, user: int | str) -> float:
    """Where a user stands in [0, 1) for the whole of a rollout: uniform over users, independent between rollouts."""
    return xxhash.xxh3_64_intdigest(f"{rollout}\0{user}") / _SPAN


def _parse(header: str) -> Arm:
    try:
        return Arm(header.strip().lower())
    except ValueError:
        raise RequestError(f"header {ARM_HEADER}: {header!r} is no arm; expected stable or canary") from None
