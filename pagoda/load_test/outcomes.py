"""What came back, one row a request."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import orjson
from numpy.typing import NDArray

OK, SHED = 200, 503
ANSWERED = "answered"
NO_ANSWER, TOO_LATE, UNREADABLE = "no answer", "timeout", "unreadable"


@dataclass
class Outcomes:
    """Rows in the order of their ends."""

    due: list[float] = field(default_factory=list)
    """When a request was to be sent, in seconds after the start."""
    seconds: list[float] = field(default_factory=list)
    """From then until its end."""
    kinds: list[str] = field(default_factory=list)
    """`answered`, or what went wrong: `HTTP 503`, `timeout`, `no answer`, `unreadable`."""
    degraded: list[bool] = field(default_factory=list)
    marks: Counter[str] = field(default_factory=Counter)
    """How often answers named each step of degradation."""
    arms: Counter[str] = field(default_factory=Counter)

    def add(self, due: float, seconds: float, kind: str, degraded: bool = False) -> None:
        """Take in one request's end."""
        self.due.append(due)
        self.seconds.append(seconds)
        self.kinds.append(kind)
        self.degraded.append(degraded)

    def read(self, status: int, content: bytes) -> tuple[str, bool]:
        """What an answer counts as, and whether it is a degraded one."""
        if status != OK:
            return f"HTTP {status}", False
        try:
            predictions = orjson.loads(content)["predictions"]
            arms = [prediction.get("arm", "") for prediction in predictions]
            marks = {step for prediction in predictions for step in prediction.get("degraded", ())}
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):  # Another service answers there.
            return UNREADABLE, False
        self.arms.update(arms)
        self.marks.update(marks)
        return ANSWERED, bool(marks)

    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Due, seconds, answered, degraded, in the order of their moments. [n] each"""
        due = np.array(self.due, np.float64)
        order = np.argsort(due, kind="stable")
        answered = np.array([kind == ANSWERED for kind in self.kinds], np.bool_)
        seconds, degraded = np.array(self.seconds, np.float64), np.array(self.degraded, np.bool_)
        return due[order], seconds[order], answered[order], degraded[order]
