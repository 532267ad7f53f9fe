"""Records that only who holds the installation's key can have written: each carries an HMAC of its name and content.

For logs in a store that others can write to. A line with the signature follows the content. Who holds no key reads
signed records unchecked; who holds one reads nothing that is not signed with it, but for what a log held when it was
signed as a whole (`sign`), which one signed list names by SHA-256.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from pagoda.append_log.store import RecordStore, open_store
from pagoda.errors import IntegrityError

_MARK = b"\nhmac-sha256:"
_LIST = "signed.json"


class SignedStore:
    """A `RecordStore` whose records are signed when they are written and verified when they are read."""

    def __init__(self, store: RecordStore, key: str, log: str) -> None:
        """Sign with `key`; without one, neither sign nor verify.

        Args:
            store: Where the records lie.
            key: Of the installation.
            log: What the log is called; a record of one log is none of another.
        """
        self._store, self._key, self._log = store, key.encode(), log
        self._known: Mapping[str, str] | None = None

    def put(self, name: str, content: bytes) -> None:
        """See `RecordStore.put`."""
        self._store.put(name, content + _MARK + self._signature(name, content) if self._key else content)

    def read(self, names: Sequence[str]) -> list[bytes]:
        """See `RecordStore.read`.

        Raises:
            IntegrityError: A record is not signed, or by another key.
        """
        return [self._verified(name, found) for name, found in zip(names, self._store.read(names), strict=False)]

    def sign(self, names: Iterable[str]) -> int:
        """Let the records `names` that nobody has signed count as signed, once for all; returns how many they are.

        Raises:
            ConflictError: It was done before.
        """
        found: dict[str, str] = {}
        for name in names:
            (content,) = self._store.read([name]) or (b"",)
            if content and _MARK not in content:
                found[name] = sha256(content).hexdigest()
        self.put(_LIST, json.dumps(found).encode())
        self._known = found
        return len(found)

    def _verified(self, name: str, found: bytes) -> bytes:
        content, mark, signature = found.rpartition(_MARK)
        if not mark:
            content = found
        if not self._key:
            return content
        if mark and hmac.compare_digest(signature, self._signature(name, content)):
            return content
        if not mark and self._listed().get(name) == sha256(content).hexdigest():
            return content
        raise IntegrityError(
            f"{self._log}: {name} is {'signed with another key' if mark else 'not signed'}; if it was written before "
            "this installation had its key, `pagoda sign-log` lets what is there count, once"
        )

    def _listed(self) -> Mapping[str, str]:
        if self._known is None:
            found = self._store.read([_LIST])
            if not found:
                return {}
            content, _, signature = found[0].rpartition(_MARK)
            if not hmac.compare_digest(signature, self._signature(_LIST, content)):
                raise IntegrityError(f"{self._log}: {_LIST} is not signed with this installation's key")
            self._known = json.loads(content)
        return self._known

    def _signature(self, name: str, content: bytes) -> bytes:
        about = f"{self._log}\0{name}\0".encode()
        return hmac.new(self._key, about + content, sha256).hexdigest().encode()


def open_signed(url: str, log: str, key: str = "") -> SignedStore:
    """The records of a log in a folder or at `s3://bucket/prefix`.

    Args:
        url: Where.
        log: What the log is called.
        key: Of the installation; empty: it has none.

    Raises:
        ConfigError: The URL is neither.
    """
    return SignedStore(open_store(url), key, log)
