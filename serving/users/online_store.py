"""The online store: what is known of a user now, in Redis, read in one round trip.

profile:{user}  JSON of raw profile values
interests:{user}  JSON list of categories, where users can say what they like; it goes before what the profile says
recent:{user}   list of items with their moments (`serving.users.recent`), the newest last, capped
seen:{user}     sorted set of items that the user has had, by when they last had them, capped
newcomers       sorted set of users whose `recent` and `seen` expire: nobody has loaded them
vector:{generation}:{user}  what the generation's tower made of the user (a vector for each interest), and what of;
                kept for minutes

IDs are the caller's own: what leaves the store needs no translation back.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
import xxhash
from redis.exceptions import RedisError

from pagoda.data.layout import INTERESTS, says_interests
from pagoda.data.spec import FeatureSpec
from pagoda.errors import IntegrityError, UnavailableError
from serving.error_reasons import reason
from serving.http.fields import PastItems
from serving.users.keys import Key, interests_key, profile_key, recent_key, seen_key, vector_key
from serving.users.recent import RecentReader
from serving.users.round_trips import Command, RoundTrips

_BASIS_BYTES = 8


@dataclass(frozen=True, slots=True)
class StoredUser:
    """What is known of one user; all of it may be empty."""

    profile: dict[str, Any]
    recent: PastItems
    """The newest last."""
    seen: tuple[Key, ...]
    basis: int = 0
    """Hash of profile and recent behaviour: another one when either changes."""
    vectors: KeptVectors | None = None
    """What the generation's tower said last."""


@dataclass(frozen=True, slots=True)
class KeptVectors:
    """Vectors that a generation's tower computed, and the `basis` they were made from: an interaction outdates them."""

    basis: int
    vectors: tuple[list[float], ...]
    """One, or one for each interest."""

    def encode(self) -> bytes:
        """The basis, then the numbers as float32; of several vectors end to end, and then a byte that says how many."""
        numbers = [number for vector in self.vectors for number in vector]
        several = bytes([len(self.vectors)]) if len(self.vectors) > 1 else b""
        return struct.pack(f"<Q{len(numbers)}f", self.basis, *numbers) + several

    @classmethod
    def decode(cls, content: bytes) -> KeptVectors:
        """What `encode` made.

        Raises:
            ValueError: It is no such thing.
        """
        count, several = divmod(len(content) - _BASIS_BYTES, 4)
        interests = content[-1] if several else 1
        if count <= 0 or several > 1 or not interests or count % interests:
            raise ValueError("kept vectors have a wrong length")
        basis, *numbers = struct.unpack_from(f"<Q{count}f", content)
        dim = count // interests
        return cls(basis, tuple(numbers[start : start + dim] for start in range(0, count, dim)))


class OnlineStore:
    """Reads users. Safe to share between requests."""

    def __init__(self, url: str, timeout_seconds: float = 1.0) -> None:
        """Of `redis://host:port/db`; no connection is opened yet."""
        self._url, self._redis = url, RoundTrips(url, timeout_seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.close()

    async def read(
        self, users: Sequence[tuple[Key, bool]], spec: FeatureSpec, generation: str = ""
    ) -> list[StoredUser]:
        """Read users in one round trip.

        Args:
            users: ID of each, and whether what they have seen is wanted.
            spec: Says how many recent events to read, and of what type item IDs are.
            generation: Whose vectors of the users are wanted; none if empty.

        Raises:
            UnavailableError: Redis does not answer in time.
            IntegrityError: What it holds is no user.
        """
        length, says = spec.history.length if spec.history else 0, says_interests(spec)
        # No transaction: a write between two of these makes another basis, and a kept vector is held against that.
        commands: list[Command] = []
        for user, with_seen in users:
            commands.append(("GET", profile_key(user)))
            if says:
                commands.append(("GET", interests_key(user)))
            if length:
                commands.append(("LRANGE", recent_key(user), -length, -1))
            if with_seen:
                commands.append(("ZRANGE", seen_key(user), 0, -1))
            if generation:
                commands.append(("GET", vector_key(generation, user)))
        found = iter(await self._ask(commands))
        item = bytes.decode if spec.id_type == "string" else int
        recent = RecentReader(spec)
        return [
            _user(
                _Raw(
                    next(found),
                    next(found) if says else None,
                    next(found) if length else (),
                    next(found) if with_seen else (),
                    next(found) if generation else None,
                ),
                item,
                recent,
            )
            for _, with_seen in users
        ]

    async def keep(self, generation: str, vectors: Sequence[tuple[Key, KeptVectors]], seconds: int) -> None:
        """Keep users' vectors for a while, each generation's for itself.

        Raises:
            UnavailableError: Redis does not answer in time.
        """
        await self._ask([("SET", vector_key(generation, user), kept.encode(), "EX", seconds) for user, kept in vectors])

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        try:
            return await self._redis.make(commands)
        except (RedisError, OSError) as error:
            raise UnavailableError(f"online store at {self._url}: {reason(error)}", part="online store") from error


class _Raw(NamedTuple):
    """A user as Redis has them."""

    profile: bytes | None
    interests: bytes | None
    recent: Sequence[bytes]
    seen: Sequence[bytes]
    vectors: bytes | None


def _user(raw: _Raw, item: Callable[[bytes], Key], recent: RecentReader) -> StoredUser:
    try:
        return StoredUser(
            profile=_profile(raw),
            recent=recent.read(raw.recent),
            seen=tuple(map(item, raw.seen)),
            # Of the bytes as they lie there, so whatever is written makes another one.
            basis=xxhash.xxh3_64_intdigest(b"\0".join((raw.profile or b"", *_said(raw), *raw.recent))),
            vectors=KeptVectors.decode(raw.vectors) if raw.vectors else None,
        )
    except ValueError as error:
        raise IntegrityError(f"online store: what it holds of a user is damaged ({type(error).__name__})") from error


def _profile(raw: _Raw) -> dict[str, Any]:
    content = orjson.loads(raw.profile) if raw.profile else {}
    if not isinstance(content, dict):
        raise ValueError("a profile is a JSON object")
    for said in _said(raw):
        content[INTERESTS] = orjson.loads(said)
    return content


def _said(raw: _Raw) -> tuple[bytes, ...]:
    """What the user says they like, if anything."""
    return (raw.interests,) if raw.interests else ()
