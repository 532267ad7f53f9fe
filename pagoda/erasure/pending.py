"""Who is being forgotten, until no version has a row of theirs any more.

An entry has to say whose it is, since the next versions must leave them out: `forgetting/<receipt>.json` beside the
release log. Once every version that is left has done so, the entry is deleted. What stays are records of the release
log, which say that somebody was forgotten and when; their receipt is random, so they say of nobody whom.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from pagoda.append_log.store import open_store
from pagoda.data.ids import hash_ids
from pagoda.data.spec import FeatureSpec
from pagoda.errors import IntegrityError
from pagoda.generations.release_log import ReleaseLog, open_log
from pagoda.generations.state import ReleaseState
from pagoda.settings import Settings
from pagoda.storage.copies import children, delete

STARTED, DONE, COMPLETE = "forgetting.started", "forgetting.done", "forgetting.complete"
TAG = "forgotten"
"""Of a version: the last record of the release log that was there when those being forgotten were left out of it."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str
    """As callers know them."""


@dataclass(frozen=True)
class Forgotten:
    """Whom a version leaves out."""

    ids: NDArray[np.int64]
    """int64 [n], ascending."""
    known: int = 0
    """The number of the last record that was there when they were read; everybody whose record is older is among them,
    or in no version any more."""


NOBODY = Forgotten(np.empty(0, np.int64))


class Pending:
    """The entries of an installation."""

    def __init__(self, log_url: str, log: ReleaseLog) -> None:
        """Of the installation with this release log; nothing is read yet."""
        self._url, self._log = f"{log_url.rstrip('/')}/forgetting", log
        self._store = open_store(self._url)

    def start(self, user: str) -> str:
        """Begin to forget a user, or go on with it; returns the receipt.

        The entry comes before its record: who knows of the record finds the entry.
        """
        receipt = next((receipt for receipt, other in self._entries().items() if other == user), uuid.uuid4().hex)
        if receipt not in self._entries():
            self._store.put(f"{receipt}.json", _Entry(user=user).model_dump_json().encode())
        if _number(self._log.state(), receipt) is None:
            self._log.append(STARTED, {"receipt": receipt})
        return receipt

    def done(self, receipt: str) -> None:
        """Write down that nothing is left of the user but rows of versions."""
        self._log.append(DONE, {"receipt": receipt})

    def users(self) -> frozenset[str]:
        """Who is being forgotten."""
        return frozenset(self._entries().values())

    def forgotten(self, spec: FeatureSpec) -> Forgotten:
        """Whom a version of this declaration that begins now must leave out."""
        # The record before the entries: who comes between them is left out and not yet counted, never the reverse.
        known = self._log.state().head
        users = sorted(self._entries().values())
        if spec.id_type == "string":
            return Forgotten(np.unique(hash_ids(users)) if users else NOBODY.ids, known)
        return Forgotten(np.array(sorted(int(user) for user in users), np.int64), known)

    def settle(self) -> int:
        """Delete the entries of those of whom no version that is left has a row; returns how many."""
        state = self._log.state()
        left_out = _left_out(state)
        settled = 0
        for receipt in self._entries():
            number = _number(state, receipt)
            if number is not None and number <= left_out:
                self._log.append(COMPLETE, {"receipt": receipt})
                delete(f"{self._url}/{receipt}.json")
                settled += 1
        return settled

    def _entries(self) -> dict[str, str]:
        """The users by receipt."""
        found = {}
        for name in children(self._url):
            path = PurePosixPath(name)
            if path.suffix != ".json" or name.startswith("."):
                continue
            for content in self._store.read([name]):
                try:
                    found[path.stem] = _Entry.model_validate_json(content).user
                except ValidationError:
                    raise IntegrityError(f"{self._url}/{name} is damaged; forget that user again") from None
        return found


def open_pending(settings: Settings) -> Pending:
    """The entries of this installation."""
    return Pending(settings.log_url, open_log(settings))


def _number(state: ReleaseState, receipt: str) -> int | None:
    """The record by which the forgetting of a receipt started."""
    started = (one.number for one in state.others if one.kind == STARTED and one.body.get("receipt") == receipt)
    return next(started, None)


def _left_out(state: ReleaseState) -> int:
    """The last record whose user is left out of every version that has files."""
    bases = [state.versions[one.base] if one.base else one for one in state.versions.values() if not one.pruned]
    return min((int(base.tags.get(TAG, 0)) for base in bases), default=0)
