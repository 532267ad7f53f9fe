"""How long an arm takes with a group of its users, and whether that speaks for or against it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from serving.http import callers
from serving.http.deadlines import left
from serving.recall.generations.follower import Serving
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.recall.metrics import ERRORS, afterwards, seconds_of
from serving.recall.request.arm_group import ArmGroup


class ArmTiming:
    """Times one arm with one group of users, from the moment it is made."""

    def __init__(self, serving: Serving, group: ArmGroup, deadline_seconds: float, *, shadow: bool = False) -> None:
        """The clock starts.

        Args:
            serving: What the request is answered by.
            group: The users.
            deadline_seconds: Later than this is failed. It is the canary's deadline; the stable arm, which may go on,
                is measured by it too, or a slow minute of the whole machine would look like the canary's.
            shadow: It is a copy, whose answer nobody sees.
        """
        self.split, self.group, self.shadow = serving.split, group, shadow
        self.compared_channels, self.measured_channels = serving.compared_channels, serving.measured_channels
        self.lookups: Sequence[Lookup] = ()
        """The users, as the generation that answered has them, once it did."""
        self.live: LiveGeneration | None = None
        """That generation."""
        self.failed = False
        self.ms = -1.0
        self._late = False
        # A copy has all the time that its arm may take, and nobody waits for it.
        self._waited_for = shadow or left(math.inf) >= deadline_seconds
        self._hangup = None if shadow else callers.current().hangup
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
        afterwards(seconds_of(*self._labels).observe, self.ms / 1000)
        if self.failed:
            ERRORS.labels(*self._labels, "late" if self._late else "failed").inc(len(self.group.asked))
