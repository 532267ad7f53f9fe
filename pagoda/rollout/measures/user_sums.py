"""Sums by user, since users are what was put into arms at random.

A click counts for the user's last answer before it, if that is at most half an hour old; an answer counts as clicked
once, however many clicks follow, or as much as they weigh (`click_weights`). Why not by the items of the answer: users
stay in their arm, so whatever a user does is the arm's effect or has nothing to do with it. The latter is equally
frequent in both arms: it makes the comparison a little noisier and never biased (analysis by intention to treat).
Matching items would need the hundred items of each answer to be kept for half an hour (400 bytes against 21), and would
miss what arms do to clicks elsewhere.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pagoda.generations.arms import ARMS
from pagoda.rollout.measures.base import UserSums
from pagoda.rollout.measures.outcomes import Flag, Rows

ATTRIBUTION_US = 30 * 60 * 1_000_000
MOST_USERS = 1 << 20
"""Users kept, some 60 MB. Where there are more, those with the smaller hashes stand for all."""
_SHOWN, _CLICKED, _ANSWERED, _SHORT, _FALLBACK = range(5)
_COLUMNS = ("_user", "_sums", "_last_us", "_last_arm", "_last_value")
_Places = npt.NDArray[np.intp]


class UserTable:
    """What each user got and did, by arm."""

    def __init__(self, most_users: int = MOST_USERS, cap: float | None = None) -> None:
        """Nothing is known of anybody yet.

        Args:
            most_users: Of more, those with the smaller hashes stand for all.
            cap: Clicks say in `ms` what they weigh, and those of one answer count so much at most. None: an answer is
                clicked once or not.
        """
        self._most_users, self._cap = most_users, cap
        self._largest = np.uint64(2**64 - 1)
        self._user = np.zeros(0, np.uint64)
        """[U] sorted."""
        self._sums = np.zeros((0, len(ARMS), 5), np.int32 if cap is None else np.float32)
        self._last_us = np.zeros(0, np.int64)
        """[U] when the last answer was given that the user saw; the next two belong to it."""
        self._last_arm = np.zeros(0, np.intp)
        self._last_value = np.zeros(0, np.int8 if cap is None else np.float32)
        """What its clicks have counted."""

    def add(self, rows: Rows, shadow: bool) -> None:
        """Take in rows, in any order.

        Args:
            rows: Of `ROW`.
            shadow: Nobody saw the canary's answers.
        """
        rows = rows[rows["user"] <= self._largest]
        self._admit(np.unique(rows["user"]))
        rows = rows[rows["user"] <= self._largest]
        place, flags = np.searchsorted(self._user, rows["user"]), rows["flags"]
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
        clicks = flags & Flag.CLICK > 0
        # By user, then by time; an answer before a click of the same moment.
        order = np.lexsort((clicks, rows["time_us"], place))
        order = order[(shown | clicks)[order]]
        weight = np.ones(len(order)) if self._cap is None else rows["ms"][order].astype(np.float64)
        self._attribute(place[order], rows["time_us"][order], arm[order], clicks[order], weight)

    def sums(self, arm: int) -> tuple[UserSums, UserSums, UserSums]:
        """Clicks, short answers and fallbacks of one arm."""
        sums = self._sums[:, arm]
        return (
            UserSums.of(sums[:, _SHOWN], sums[:, _CLICKED]),
            UserSums.of(sums[:, _ANSWERED], sums[:, _SHORT]),
            UserSums.of(sums[:, _ANSWERED], sums[:, _FALLBACK]),
        )

    def _attribute(
        self,
        place: _Places,
        time_us: npt.NDArray[np.int64],
        arm: _Places,
        click: npt.NDArray[np.bool_],
        weight: npt.NDArray[np.float64],
    ) -> None:
        """Hold clicks against the answers before them; all arrays are sorted by user and time."""
        # For each row the last answer among the rows up to it, if it is the same user's.
        last = np.maximum.accumulate(np.where(click, -1, np.arange(len(click)))) if len(click) else place
        found = (last >= 0) & (place[last] == place)
        here = click & found & (time_us - time_us[last] <= ATTRIBUTION_US)
        most = 1.0 if self._cap is None else self._cap
        value = np.bincount(last[here], weight[here], minlength=len(click))
        value = np.minimum(value, most).astype(self._sums.dtype)
        clicked = value > 0
        np.add.at(self._sums[:, :, _CLICKED], (place[clicked], arm[clicked]), value[clicked])

        earlier = click & ~found & (time_us - self._last_us[place] <= ATTRIBUTION_US)
        users, of = np.unique(place[earlier], return_inverse=True)
        before = self._last_value[users]
        after = np.minimum(before + np.bincount(of, weight[earlier], minlength=len(users)), most).astype(before.dtype)
        self._sums[users, self._last_arm[users], _CLICKED] += after - before
        self._last_value[users] = after

        answers = np.flatnonzero(~click)
        final = answers[np.append(place[answers][1:] != place[answers][:-1], True)] if len(answers) else answers
        self._last_us[place[final]], self._last_arm[place[final]] = time_us[final], arm[final]
        self._last_value[place[final]] = value[final]

    def _admit(self, users: npt.NDArray[np.uint64]) -> None:
        """Make room for users, sorted and different ones; then give up half of all while there are too many."""
        place = np.searchsorted(self._user, users)
        new = np.ones(len(users), bool)
        within = place < len(self._user)
        new[within] = self._user[place[within]] != users[within]
        for name in _COLUMNS:
            given = users[new] if name == "_user" else 0
            setattr(self, name, np.insert(getattr(self, name), place[new], given, axis=0))
        while len(self._user) > self._most_users:
            self._largest = self._largest // np.uint64(2)
            kept = self._user <= self._largest
            for name in _COLUMNS:
                setattr(self, name, getattr(self, name)[kept])
