"""Tokens: a folder with a file a role, a token a line. So is a Secret of Kubernetes, where a pod mounts one.

A server takes any of a role's lines, callers of ours show the first: a second line is another caller's own, or the old
token while callers change over.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pagoda.access.roles import ROLES, Role
from pagoda.access.secret_files import kept_secret
from pagoda.errors import ConfigError, PagodaError
from pagoda.settings import Settings

_SHORTEST = 32
"""Characters of a token. One that a person thought of is guessed."""
READ_SECONDS = 5.0
_NAME_DIGITS = 8
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who shows a token."""

    roles: frozenset[Role] = frozenset()
    name: str = ""
    """The beginning of the hash of a token of their own. Empty for a role's first line: all that is of this
    installation shows it, so it says nothing of who asks."""


_NOBODY = Holder()


def make_tokens(folder: Path) -> None:
    """A token for each role that has none."""
    for role in ROLES:
        kept_secret(folder / role)


def token_of(folder: Path, role: Role) -> str:
    """The token to show for `role`; empty where there is none.

    Raises:
        ConfigError: The file cannot be read, or holds none.
    """
    lines = _lines(folder / role)
    return lines[0] if lines else ""


def token_for(settings: Settings, role: Role, url: str = "") -> str:
    """The token to show at `url` (default: where this installation takes what needs `role`); empty where none is known.

    This installation's own are shown to nobody else: for another service, `access.tokens` names a folder of its tokens.
    """
    if url and not settings.access.tokens and _place(url) != _place(url_for(settings, role)):
        return ""
    return token_of(settings.tokens_folder, role)


def url_for(settings: Settings, role: Role) -> str:
    """Where this installation takes what needs `role`; empty where that is not known."""
    return settings.items.url if role == "items" else settings.recall.url


def bearer(token: str) -> dict[str, str]:
    """The header that shows a token; none for an empty one."""
    return {"Authorization": f"Bearer {token}"} if token else {}


class Tokens:
    """Who may do what, as the files of a folder say now.

    Known are the tokens' hashes alone. A token is looked up by its hash, so the time that takes says nothing of what
    other tokens are like.
    """

    def __init__(self, folder: Path) -> None:
        """Read the folder.

        Raises:
            ConfigError: There are no tokens, one is too short, or a file cannot be read.
        """
        self._folder = folder
        self._holders = self._read()

    def holder(self, header: bytes) -> Holder:
        """Who shows this value of `Authorization`; somebody without roles, for what is no token of ours."""
        scheme, _, token = header.partition(b" ")
        if scheme.lower() != b"bearer":
            return _NOBODY
        return self._holders.get(hashlib.sha256(token.strip()).digest(), _NOBODY)

    async def refresh(self) -> None:
        """Read the folder again; what is wrong there changes nothing."""
        try:
            self._holders = await asyncio.to_thread(self._read)
        except PagodaError as error:
            logger.warning("the tokens stay as they were: %s", error)

    def _read(self) -> dict[bytes, Holder]:
        roles: defaultdict[bytes, set[Role]] = defaultdict(set)
        own: set[bytes] = set()
        for role in ROLES:
            for line, token in enumerate(_lines(self._folder / role)):
                if len(token) < _SHORTEST:
                    raise ConfigError(
                        f"{self._folder / role}: a token has {len(token)} characters, {_SHORTEST} at least"
                    )
                digest = hashlib.sha256(token.encode()).digest()
                roles[digest].add(role)
                if line:
                    own.add(digest)
        if not roles:
            raise ConfigError(
                f"{self._folder}: there are no tokens, so nobody could ask anything; `pagoda up` makes them, "
                "the chart a Secret; another folder is set by access.tokens"
            )
        return {
            digest: Holder(frozenset(found), digest.hex()[:_NAME_DIGITS] if digest in own else "")
            for digest, found in roles.items()
        }


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().split() if path.exists() else []
    except OSError as error:
        raise ConfigError(f"{path}: the tokens cannot be read ({error.strerror})") from error


def _place(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
