"""Columns with a row for each user, as many users as memory allows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.intp]


class ByUser:
    """Admits users as they come; of too many, those with the smaller hashes stand for all, in both arms."""

    def __init__(self, columns: tuple[str, ...], most_users: int) -> None:
        """Nobody is known yet.

        Args:
            columns: Names of the attributes with a row for each user, set by who derives from this.
            most_users: Users kept.
        """
        self._columns, self._most_users = ("_user", *columns), most_users
        self._largest = np.uint64(2**64 - 1)
        self._user = np.zeros(0, np.uint64)
        """[U] sorted."""

    def _places(self, users: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.bool_], Places]:
        """Which of some users are kept, bool [n], and the rows of these, new ones' being zero."""
        self._admit(np.unique(users[users <= self._largest]))
        kept = users <= self._largest
        return kept, np.searchsorted(self._user, users[kept])

    def _admit(self, users: npt.NDArray[np.uint64]) -> None:
        """Make room for users, sorted and different ones; then give up half of all while there are too many."""
        place = np.searchsorted(self._user, users)
        new = np.ones(len(users), bool)
        within = place < len(self._user)
        new[within] = self._user[place[within]] != users[within]
        for name in self._columns:
            given = users[new] if name == "_user" else 0
            setattr(self, name, np.insert(getattr(self, name), place[new], given, axis=0))
        while len(self._user) > self._most_users:
            self._largest = self._largest // np.uint64(2)
            kept = self._user <= self._largest
            for name in self._columns:
                setattr(self, name, getattr(self, name)[kept])
