"""Who looks at the console: people come in by a token that is good once, and stay by a cookie."""

from __future__ import annotations

import hashlib
import hmac
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


@dataclass(slots=True)
class _Visit:
    person: Person
    cookie: bytes
    """Its hash."""
    seen: float


class BrowserVisits:
    """Who is in. In memory: after a restart everybody comes in anew.

    A visit has a name, which is the first part of all its paths, and a cookie for these paths. The cookie alone would
    be no door: browsers send the cookies of 127.0.0.1 to every port of it, to another user's server too; but this one
    only below a path that nobody else knows. And the path alone is none: it stands in the address bar.
    """

    def __init__(self) -> None:
        self._visits: OrderedDict[str, _Visit] = OrderedDict()

    def begin(self, person: Person) -> tuple[str, str]:
        """Name and cookie of a new visit; where there are too many, the one that was idle longest ends."""
        name, cookie = new_secret(), new_secret()
        self._visits[name] = _Visit(person, _digest(cookie), time.monotonic())
        if len(self._visits) > _MOST_VISITS:
            self._visits.popitem(last=False)
        return name, cookie

    def end(self, name: str) -> None:
        """Let nobody in by it any more."""
        self._visits.pop(name, None)

    def person(self, name: str, cookie: str) -> Person | None:
        """Whose visit it is; None for none of ours, another cookie, or one that was not shown for long."""
        visit = self._visits.get(name)
        if visit is None or not hmac.compare_digest(visit.cookie, _digest(cookie)):
            return None
        if time.monotonic() - visit.seen > _IDLE_SECONDS:
            self.end(name)
            return None
        visit.seen = time.monotonic()
        self._visits.move_to_end(name)
        return visit.person


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()
