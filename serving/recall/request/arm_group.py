"""The users of a request that one arm answers, and what becomes of them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pagoda.generations.arms import Arm
from serving.http import callers
from serving.http.deadlines import left
from serving.recall.api import RecallInstance
from serving.recall.generations.follower import Serving
from serving.recall.generations.generation import LiveGeneration
from serving.recall.metrics import ERRORS, SECONDS
from serving.recall.request.cohorts import SLICE


@dataclass(frozen=True, slots=True)
class ArmGroup:
    """Users of one request who are in the same arm."""

    arm: Arm
    counted: bool
    """Whether gates look at them: not when a tester chose the arm."""
    places: tuple[int, ...]
    """In the request."""
    asked: tuple[RecallInstance, ...]

    @property
    def cost(self) -> float:
        """See `cost_of`."""
        return sum(map(cost_of, self.asked))

    def slices(self) -> list[ArmGroup]:
        """The same users in groups that cost little: what is asked at once takes no longer than others may wait for it,
        and than an arm may take."""
        if self.cost <= SLICE:
            return [self]
        ends, room = [], 0.0
        for number, one in enumerate(self.asked):
            if (room := room - cost_of(one)) < 0:
                ends.append(number)
                room = SLICE - cost_of(one)
        return [
            replace(self, places=self.places[start:end], asked=self.asked[start:end])
            for start, end in pairwise((*ends, len(self.asked)))
        ]

    def check(self, live: LiveGeneration) -> None:
        """Refuse what a generation cannot answer, before any server is asked.

        Raises:
            RequestError: The message names the field.
        """
        for place, instance in zip(self.places, self.asked, strict=True):
            live.check(instance, f"instances.{place}")


def cost_of(one: RecallInstance) -> float:
    """What a user costs, in users who want a hundred items: a search looks at so many more items the more it is to
    find, and at four times as many under a filter (`pagoda.index.milvus.parameters.search_params`)."""
    return max(1.0, one.k / 100) * (4.0 if one.filter else 1.0)


def groups_of(serving: Serving, asked: Sequence[RecallInstance], header: str | None) -> list[ArmGroup]:
    """The users of a request by arm.

    Raises:
        RequestError: The header names no arm.
    """
    places: dict[tuple[Arm, bool], list[int]] = {}
    for place, instance in enumerate(asked):
        places.setdefault(serving.choose(instance.user_id, header), []).append(place)
    return [
        ArmGroup(arm, counted, tuple(among), tuple(asked[place] for place in among))
        for (arm, counted), among in places.items()
    ]


class Turn:
    """Times one arm with one group of users."""

    def __init__(self, serving: Serving, group: ArmGroup, deadline_seconds: float, *, mirrored: bool = False) -> None:
        """The clock starts.

        Args:
            serving: What the request is answered by.
            group: The users.
            deadline_seconds: Later than this is failed. It is the canary's deadline; the stable arm, which may go on,
                is measured by it too, or a slow minute of the whole machine would look like the canary's.
            mirrored: It is a copy, whose answer nobody sees.
        """
        self.split, self.group, self.mirrored = serving.split, group, mirrored
        self.failed = False
        self.ms = -1.0
        self._late = False
        # A copy has all the time that its arm may take, and nobody waits for it.
        self._waited_for = mirrored or left(math.inf) >= deadline_seconds
        self._hangup = None if mirrored else callers.current().hangup
        canary = group.arm == "canary"
        self._labels = (group.arm, str(serving.split.canary) if canary else serving.stable.id)
        self._deadline, self._began = deadline_seconds, time.perf_counter()

    def stop(self, *, failed: bool = False) -> None:
        """The arm is done with; what happens afterwards is not its own any more."""
        if self.ms >= 0:
            return
        seconds = time.perf_counter() - self._began
        self._late = seconds >= self._deadline
        self.ms, self.failed = seconds * 1000, failed or self._late
        if self._hangup is not None and time.monotonic() - self._hangup.at > max(0.0, seconds - self._deadline):
            self._waited_for = False  # They hung up before the arm had the time that it may take.

    @property
    def told(self) -> bool:
        """Whether gates and metrics of the arm hear of it: the caller gave the arm as long as it may take.

        Otherwise anybody could spoil a healthy candidate by being in a hurry, or by hanging up. A caller who hangs up
        later than that is told of: or the slowest answers would be those that nobody sees.
        """
        return self._waited_for

    def count(self) -> None:
        """Tell Prometheus; not where the caller is to blame."""
        if not self.told:
            return
        SECONDS.labels(*self._labels).observe(self.ms / 1000)
        if self.failed:
            ERRORS.labels(*self._labels, "late" if self._late else "failed").inc(len(self.group.asked))
