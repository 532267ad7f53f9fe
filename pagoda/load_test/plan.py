"""What is asked and when: all of it follows from the seed, before the first request is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

Arrivals = Literal["poisson", "constant"]


@dataclass(frozen=True)
class LoadPlan:
    """Requests of one run."""

    users: Sequence[int | str]
    """Who may ask."""
    rate: float
    """Requests a second. 0: each connection asks again when it has its answer."""
    seconds: float
    arrivals: Arrivals = "poisson"
    zipf: float = 1.0
    """Exponent s of the users' activity, rank^-s; 0: all ask equally often."""
    k: int = 100
    exclude_seen: bool = False
    fields: tuple[tuple[str, Any], ...] = ()
    """Further fields of each instance."""
    seed: int = 0

    def moments(self) -> NDArray[np.float64]:
        """When requests are due, in seconds after the start, ascending. [n]"""
        if self.arrivals == "constant":
            return np.arange(int(self.rate * self.seconds)) / self.rate
        # Given how many there are, arrivals of a Poisson process are uniform and independent.
        random = np.random.default_rng((self.seed, 1))
        count = random.poisson(self.rate * self.seconds)
        return np.sort(random.uniform(0, self.seconds, count))

    def draw(self, count: int) -> NDArray[np.int64]:
        """Places in `users` of those who send the next `count` requests. Who is active is drawn too."""
        random = np.random.default_rng((self.seed, 2))
        weights = np.arange(1, len(self.users) + 1, dtype=np.float64) ** -self.zipf
        ranked: NDArray[np.int64] = random.permutation(len(self.users))
        return ranked[random.choice(len(self.users), count, p=weights / weights.sum())]

    def body(self, place: int) -> bytes:
        """The KServe v1 body of the user at `place`."""
        instance = {"user_id": self.users[place], "k": self.k, **dict(self.fields)}
        if self.exclude_seen:
            instance["exclude_seen"] = True
        return orjson.dumps({"instances": [instance]})
