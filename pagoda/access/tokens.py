"""Tokens: a folder with a file a role, a token a line. So is a Secret of Kubernetes, where a pod mounts one.

A server takes any of a role's lines, callers of ours show the first: a second line is another caller's own, or the old
token while callers change over.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

from pagoda.access.roles import ROLES, Role
from pagoda.access.secrets import kept_secret
from pagoda.errors import ConfigError, PagodaError
from pagoda.settings import Settings

_SHORTEST = 32
"""Characters of a token. One that a person thought of is guessed."""
_READ_SECONDS = 5.0
_NOBODY: frozenset[Role] = frozenset()
logger = logging.getLogger(__name__)


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
    """The token to show at the recall service at `url` (default: this installation's); empty where none is known.

    This installation's own are shown to nobody else: for another service, `access.tokens` names a folder of its tokens.
    """
    if url and not settings.access.tokens and _place(url) != _place(settings.recall.url):
        return ""
    return token_of(settings.tokens_folder, role)


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
        self._roles = self._read()

    def roles(self, header: bytes) -> frozenset[Role]:
        """The roles of who shows this value of `Authorization`; none for what is no token of ours."""
        scheme, _, token = header.partition(b" ")
        if scheme.lower() != b"bearer":
            return _NOBODY
        return self._roles.get(hashlib.sha256(token.strip()).digest(), _NOBODY)

    async def follow(self) -> None:
        """Take in what changes in the folder, until cancelled; what is wrong there changes nothing."""
        while True:
            await asyncio.sleep(_READ_SECONDS)
            try:
                self._roles = await asyncio.to_thread(self._read)
            except PagodaError as error:
                logger.warning("the tokens stay as they were: %s", error)

    def _read(self) -> dict[bytes, frozenset[Role]]:
        found: defaultdict[bytes, set[Role]] = defaultdict(set)
        for role in ROLES:
            for token in _lines(self._folder / role):
                if len(token) < _SHORTEST:
                    raise ConfigError(
                        f"{self._folder / role}: a token has {len(token)} characters, {_SHORTEST} at least"
                    )
                found[hashlib.sha256(token.encode()).digest()].add(role)
        if not found:
            raise ConfigError(
                f"{self._folder}: there are no tokens, so nobody could ask anything; `pagoda up` makes them, "
                "the chart a Secret; another folder is set by access.tokens"
            )
        return {token: frozenset(roles) for token, roles in found.items()}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().split() if path.exists() else []
    except OSError as error:
        raise ConfigError(f"{path}: the tokens cannot be read ({error.strerror})") from error


def _place(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
