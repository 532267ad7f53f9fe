"""Which arm answers a user: the same one all through a step, and still the canary when its share grows."""

from __future__ import annotations

from dataclasses import dataclass

import xxhash

from pagoda.errors import RequestError
from pagoda.generations.arms import ARMS, Arm
from pagoda.rollout.online_gates import OutcomeGate

ARM_HEADER = "x-pagoda-arm"
"""Request header by which a tester chooses the arm; such requests do not count for the gates."""

_BITS = 53
"""What a float holds exactly, so that no hash rounds up to 1."""


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
    shadow: bool = False
    """Shadow: the stable arm answers everybody; the canary gets copies of its users' requests, answers dropped."""
    outcomes: tuple[OutcomeGate, ...] = ()
    """What gates look at of users' events, beside clicks; nothing while nobody is in the canary."""

    def choose(self, user: int | str, header: str | None = None) -> Choice:
        """The arm that answers `user`; `header` is the value of `ARM_HEADER`, if there is one.

        Raises:
            RequestError: The header names no arm.
        """
        forced = _parse(header) if header else None
        arm = forced or ("canary" if self._in_share(user) and not self.shadow else "stable")
        if arm == "canary" and self.canary is not None:
            return Choice("canary", self.canary, forced is None)
        return Choice("stable", self.stable, forced is None)

    def shadow_of(self, user: int | str) -> str | None:
        """The generation that gets a copy of the user's request, whose answer is dropped; None: none does."""
        return self.canary if self.shadow and self._in_share(user) else None

    def _in_share(self, user: int | str) -> bool:
        return self.canary is not None and position(self.rollout, user) * 100 < self.percent


def position(rollout: str, user: int | str) -> float:
    """Where a user stands in [0, 1) for the whole of a rollout: uniform over users, independent between rollouts."""
    return float((xxhash.xxh3_64_intdigest(f"{rollout}\0{user}".encode()) >> (64 - _BITS)) / 2**_BITS)


def _parse(header: str) -> Arm:
    for arm in ARMS:
        if header.strip().lower() == arm:
            return arm
    raise RequestError(f"header {ARM_HEADER}: {header!r} is no arm; expected {' or '.join(ARMS)}")
