"""Who looks at the console: people come in by a token that is good once, and stay by a cookie."""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from pagoda.access.roles import Role
from pagoda.access.secret_files import new_secret, write_secret

INVITED_SECONDS = 300.0
"""How long an invitation is good for; it stands on a terminal, and perhaps in a shell's scrollback."""
_IDLE_SECONDS = 12 * 3600.0
_MOST_VISITS = 1_000


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who came in."""

    name: str
    """Kept in the records of what they do."""
    roles: frozenset[Role]


class Invitations:
    """Files of a folder that is its user's alone, so that a command and the console's process share them.

    A file is named by its token's hash: who reads the folder's names cannot come in.
    """

    def __init__(self, folder: Path) -> None:
        """Keep them in `folder`, which is made when there is one."""
        self._folder = folder

    def invite(self, person: Person) -> str:
        """A token by which `person` comes in, once."""
        self._forget_old()
        token = new_secret()
        write_secret(self._path(token), json.dumps({"name": person.name, "roles": sorted(person.roles)}))
        return token

    def accept(self, token: str) -> Person | None:
        """Who was invited by this token, which is no good after that; None where nobody was."""
        path = self._path(token)
        try:
            written, content = path.stat().st_mtime, json.loads(path.read_text())
            path.unlink()  # Of two that come at once, one fails here.
        except FileNotFoundError:
            return None
        if time.time() - written > INVITED_SECONDS:
            return None
        return Person(content["name"], frozenset(content["roles"]))

    def _path(self, token: str) -> Path:
        return self._folder / hashlib.sha256(token.encode()).hexdigest()

    def _forget_old(self) -> None:
        for path in self._folder.glob("*") if self._folder.exists() else ():
            if time.time() - path.stat().st_mtime > INVITED_SECONDS:
                path.unlink(missing_ok=True)


class BrowserVisits:
    """Who is in, by the hash of their cookie. In memory: after a restart everybody comes in anew."""

    def __init__(self) -> None:
        self._visits: OrderedDict[bytes, tuple[Person, float]] = OrderedDict()

    def begin(self, person: Person) -> str:
        """The cookie of a new visit; where there are too many, the one that was idle longest ends."""
        cookie = new_secret()
        self._visits[_digest(cookie)] = (person, time.monotonic())
        if len(self._visits) > _MOST_VISITS:
            self._visits.popitem(last=False)
        return cookie

    def end(self, cookie: str) -> None:
        """Let nobody in by this cookie any more."""
        self._visits.pop(_digest(cookie), None)

    def person(self, cookie: str) -> Person | None:
        """Whose cookie it is; None for none of ours, and for one that was not shown for long."""
        key = _digest(cookie)
        person, seen = self._visits.get(key, (None, 0.0))
        if person is None or time.monotonic() - seen > _IDLE_SECONDS:
            self._visits.pop(key, None)
            return None
        self._visits[key] = (person, time.monotonic())
        self._visits.move_to_end(key)
        return person


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()
