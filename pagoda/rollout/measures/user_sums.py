"""Sums by user, since users are what was put into arms at random.

A click counts for the user's last answer before it, if that is at most half an hour old; an answer counts as clicked
once, however many clicks follow, or as much as they weigh (`click_weights`). So does an outcome that the policy names,
each for itself. Why not by the items of the answer: users stay in their arm, so whatever a user does is the arm's
effect or has nothing to do with it. The latter is equally frequent in both arms: it makes the comparison a little
noisier and never biased (analysis by intention to treat). Matching items would need the hundred items of each answer to
be kept for half an hour (400 bytes against 21), and would miss what arms do to clicks elsewhere.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pagoda.generations.arms import ARMS
from pagoda.rollout.measures.base import UserSums
from pagoda.rollout.measures.by_user import ByUser, Places
from pagoda.rollout.measures.outcomes import Flag, Rows

ATTRIBUTION_US = 30 * 60 * 1_000_000
MOST_USERS = 1 << 20
"""Some 60 MB, and 12 more for each outcome."""
_SHOWN, _ANSWERED, _SHORT, _FALLBACK, _RESPONSES = range(5)
"""Columns of the sums. The last is the first of those of what users do: clicks, then the outcomes."""
_COLUMNS = ("_sums", "_last_us", "_last_arm", "_last_value")


class UserTable(ByUser):
    """What each user got and did, by arm."""

    def __init__(self, most_users: int = MOST_USERS, cap: float | None = None, outcomes: int = 0) -> None:
        """Nothing is known of anybody yet.

        Args:
            most_users: Of more, those with the smaller hashes stand for all.
            cap: Clicks say in `ms` what they weigh, and those of one answer count so much at most. None: an answer is
                clicked once or not.
            outcomes: How many are counted beside clicks. With some, rows are `COUNTED` and those of events say in `ms`
                what they count.
        """
        super().__init__(_COLUMNS, most_users)
        self._most = 1.0 if cap is None else cap
        self._valued, self._kinds = cap is not None or outcomes > 0, 1 + outcomes
        self._sums = np.zeros((0, len(ARMS), _RESPONSES + self._kinds), np.float32 if self._valued else np.int32)
        self._last_us = np.zeros(0, np.int64)
        """[U] when the last answer was given that the user saw; the next two belong to it."""
        self._last_arm = np.zeros(0, np.intp)
        self._last_value = np.zeros((0, self._kinds), np.float32 if self._valued else np.int8)
        """[U, 1 + outcomes] what the events after it have counted."""

    def add(self, rows: Rows, shadow: bool) -> None:
        """Take in rows, in any order.

        Args:
            rows: Of `ROW`, or of `COUNTED`.
            shadow: Nobody saw the canary's answers.
        """
        kept, place = self._places(rows["user"])
        rows = rows[kept]
        flags = rows["flags"]
        arm = (flags & Flag.CANARY).astype(np.intp)
        answered = flags & Flag.ANSWERED > 0
        shown = answered & ~(shadow & (arm == 1))
        for column, counted in (
            (_SHOWN, shown),
            (_ANSWERED, answered),
            (_SHORT, flags & Flag.SHORT > 0),
            (_FALLBACK, flags & Flag.FALLBACK > 0),
        ):
            np.add.at(self._sums[:, :, column], (place, arm), counted)
        kind = self._kind(rows)
        # By user, then by time; an answer before an event of the same moment.
        order = np.lexsort((kind >= 0, rows["time_us"], place))
        order = order[(shown | (kind >= 0))[order]]
        value = rows["ms"][order].astype(np.float64) if self._valued else np.ones(len(order))
        self._attribute(place[order], rows["time_us"][order], arm[order], kind[order], value)

    def sums(self, arm: int) -> tuple[UserSums, UserSums, UserSums]:
        """Clicks, short answers and fallbacks of one arm."""
        sums = self._sums[:, arm]
        return (
            UserSums.of(sums[:, _SHOWN], sums[:, _RESPONSES]),
            UserSums.of(sums[:, _ANSWERED], sums[:, _SHORT]),
            UserSums.of(sums[:, _ANSWERED], sums[:, _FALLBACK]),
        )

    def outcomes(self, arm: int) -> tuple[UserSums, ...]:
        """Those of the policy, in its order, of one arm."""
        shown, responses = self._sums[:, arm, _SHOWN], self._sums[:, arm, _RESPONSES + 1 :]
        return tuple(UserSums.of(shown, counted) for counted in responses.T)

    def _kind(self, rows: Rows) -> Places:
        """Which of the responses each row is: 0 of a click, -1 of none."""
        kind = np.where(rows["flags"] & Flag.CLICK > 0, 0, -1)
        if self._kinds > 1:
            kind = np.where(rows["flags"] & Flag.OUTCOME > 0, 1 + rows["outcome"].astype(np.intp), kind)
        return kind

    def _attribute(
        self,
        place: Places,
        time_us: npt.NDArray[np.int64],
        arm: Places,
        kind: Places,
        value: npt.NDArray[np.float64],
    ) -> None:
        """Hold events against the answers before them; all arrays are sorted by user and time."""
        event = kind >= 0
        # For each row the last answer among the rows up to it, if it is the same user's.
        last = np.maximum.accumulate(np.where(event, -1, np.arange(len(event)))) if len(event) else place
        found = (last >= 0) & (place[last] == place)
        here = event & found & (time_us - time_us[last] <= ATTRIBUTION_US)
        counted = self._capped(self._by_kind(last[here], kind[here], value[here], len(event)))
        some = counted.any(axis=1)
        np.add.at(self._sums[:, :, _RESPONSES:], (place[some], arm[some]), counted[some])

        earlier = event & ~found & (time_us - self._last_us[place] <= ATTRIBUTION_US)
        users, of = np.unique(place[earlier], return_inverse=True)
        before = self._last_value[users]
        after = self._capped(before + self._by_kind(of, kind[earlier], value[earlier], len(users)))
        self._sums[users, self._last_arm[users], _RESPONSES:] += after - before
        self._last_value[users] = after

        answers = np.flatnonzero(~event)
        final = answers[np.append(place[answers][1:] != place[answers][:-1], True)] if len(answers) else answers
        self._last_us[place[final]], self._last_arm[place[final]] = time_us[final], arm[final]
        self._last_value[place[final]] = counted[final]

    def _by_kind(self, row: Places, kind: Places, value: npt.NDArray[np.float64], rows: int) -> npt.NDArray[np.float64]:
        """Sums of values by row and kind of response, [rows, kinds]."""
        sums = np.bincount(row * self._kinds + kind, value, minlength=rows * self._kinds)
        return np.asarray(sums.reshape(rows, self._kinds), np.float64)

    def _capped(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32 | np.int8]:
        return np.minimum(values, self._most).astype(self._last_value.dtype)
