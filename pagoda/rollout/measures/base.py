"""What is measured of each arm while users are in it, and the protocol of whoever measures it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pagoda.generations.arms import Arm
from pagoda.rollout.online_gates import OnlineGates

Counts = npt.NDArray[np.int64]


def _none() -> Counts:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Requests:
    """Requests of one arm by window of time, oldest first; all arms have the same windows, and only closed ones."""

    total: Counts = field(default_factory=_none)
    """[W] requests that the arm was chosen for."""
    errors: Counts = field(default_factory=_none)
    """[W] of them, those that the arm failed or was too late for, even though the stable arm then answered."""
    slow: Counts = field(default_factory=_none)
    """[W] of them, those that took longer than the limit that was asked about."""
    p99_ms: float | None = None
    """99th percentile of the time to answer over all windows, None without requests."""

    @property
    def count(self) -> int:
        """Requests in all windows."""
        return int(self.total.sum())


@dataclass(frozen=True)
class UserSums:
    """Sums over users of (n_u = what was counted of a user, y_u = how many of these were hits)."""

    users: int = 0
    n: float = 0.0
    y: float = 0.0
    nn: float = 0.0
    ny: float = 0.0
    yy: float = 0.0

    @classmethod
    def of(cls, totals: npt.ArrayLike, hits: npt.ArrayLike) -> UserSums:
        """From [users] counts; users without any do not matter."""
        n, y = np.asarray(totals, np.float64), np.asarray(hits, np.float64)
        return cls(int((n > 0).sum()), *(float(sums) for sums in (n.sum(), y.sum(), n @ n, n @ y, y @ y)))

    @property
    def effective_users(self) -> float:
        """How many users of equal activity would tell as much: (Σn)² / Σn² (Kish 1965)."""
        return self.n**2 / self.nn if self.nn else 0.0


class ChannelSums(NamedTuple):
    """What one channel gave to users of an arm; n_u answers in both."""

    items: UserSums = UserSums()
    """y_u: over answers, the part of the items that it gave."""
    candidates: UserSums = UserSums()
    """y_u: over answers, the part that it gave of the candidates it was asked for."""


@dataclass(frozen=True)
class ArmMeasure:
    """Everything measured of one arm since a moment."""

    requests: Requests = Requests()
    clicks: UserSums = UserSums()
    """n_u answers, y_u of them with a click; or the sum of what their clicks weigh, where the gate weighs them."""
    short_answers: UserSums = UserSums()
    """n_u answers, y_u of them with fewer items than were asked for (none at all included)."""
    fallbacks: UserSums = UserSums()
    """n_u answers, y_u of them not from the two towers: a popularity list, say."""
    outcomes: tuple[UserSums, ...] = ()
    """Of each outcome of the policy, in its order: n_u answers, y_u the sum over them of what followed, in units of the
    most that one answer counts, and weighed where clicks are. Empty where nothing was read yet."""
    channels: Mapping[str, ChannelSums] = field(default_factory=dict)
    """By name, of those that were asked about; empty where nothing was read of them yet."""


Measures = Mapping[Arm, ArmMeasure]
_USUAL = OnlineGates()


class Metrics(Protocol):
    """Measures both arms. It keeps its own history, so that a driver needs no memory."""

    def measure(
        self,
        rollout: str,
        since: datetime,
        until: datetime,
        limit_ms: float | None,
        gates: OnlineGates = _USUAL,
        *,
        channels: tuple[str, ...] = (),
    ) -> Measures:
        """What both arms did in [since, until), requests whose arm a tester chose left out.

        During shadow the canary's requests are the copies. Windows are at most 5 s long.

        Args:
            limit_ms: Answers slower than this are `Requests.slow`; None: none are.
            gates: Say what clicks weigh, and what else is counted.
            channels: Those that both arms declare alike; see `measured_channels`.

        Raises:
            UnavailableError: The measures cannot be read now.
        """
