"""Forgetting a user: everything that the platform holds of them, in an order in which nothing comes back.

First the versions and the tombstone, so that nothing new is learned or taken; then what is there. Every step may be
done again, so after a kill the same command finishes the job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict
from redis import Redis
from redis.exceptions import RedisError

from pagoda.data.ids import whole_number
from pagoda.data.spec import FeatureSpec
from pagoda.erasure.pending import open_pending
from pagoda.erasure.rows import DatasetRows, names_one_of
from pagoda.errors import RequestError, UnavailableError
from pagoda.generations.release_log import open_log
from pagoda.rollout.measures import outcomes
from pagoda.rollout.measures.outcomes import OutcomeBatch, user_hash
from pagoda.settings import Settings
from serving.users.keys import FIELD, STREAM, interests_key, profile_key, recent_key, seen_key, vector_key
from serving.users.tombstones import Tombstones

_PAGE = 1_000


class Forgot(BaseModel):
    """What was there of the user. Nothing here says who they are."""

    model_config = ConfigDict(frozen=True)

    receipt: str
    """Random; the release log's records `forgetting.…` bear it."""
    store: int
    """Keys of the online store: profile, interests, behaviour, seen items, kept vectors."""
    waiting: int
    """Events that waited for the sink."""
    outcomes: int
    """Entries of a rollout's outcomes."""
    files: int
    """Files of the dataset that had rows of theirs."""


def parse_user(spec: FeatureSpec | None, user: str) -> str:
    """A user's ID as a person typed it, in the one way that it is written.

    Raises:
        RequestError: It is none of this dataset. The message does not repeat it.
    """
    if spec is None or spec.id_type == "string":
        return user
    if whole_number(user) is None:
        raise RequestError("user: must be an integer, as the IDs of this dataset are")
    return user


def forget(settings: Settings, user: str, dataset: str) -> Forgot:
    """Delete all that is known of a user, and have the next versions leave them out.

    Args:
        settings: Of this installation.
        user: As `parse_user` gives it.
        dataset: Folder or URL.

    Raises:
        UnavailableError: A part does not answer; what was done is done, run it again.
    """
    redis = Redis.from_url(settings.redis.url, socket_timeout=30)
    pending, tombstones = open_pending(settings), Tombstones(redis)
    # Before anything is deleted: a version that is trained meanwhile must leave them out, too.
    receipt = pending.start(user)
    tombstones.put(user, settings.events.forgotten_days)
    state = open_log(settings).state()
    keys = [profile_key(user), interests_key(user), recent_key(user), seen_key(user)]
    keys += [vector_key(generation, user) for generation in state.generations]
    try:
        known = _delete(redis, keys)
        waiting = _drop(redis, STREAM, lambda fields: names_one_of(fields[FIELD], {user}))
        results = _drop_outcomes(redis, user)
        files = DatasetRows(dataset, tombstones.lock).erase(tombstones.standing() | {user})
        known += _delete(redis, keys)  # What requests that were under way have written since.
    except RedisError as error:
        raise UnavailableError(f"online store: {type(error).__name__}; run it again") from error
    pending.done(receipt)
    return Forgot(receipt=receipt, store=known, waiting=waiting, outcomes=results, files=files)


def _delete(redis: Redis, keys: list[str]) -> int:
    return sum(int(redis.unlink(*keys[at : at + _PAGE])) for at in range(0, len(keys), _PAGE))


def _drop(redis: Redis, stream: str, wanted: Callable[[dict[bytes, bytes]], bool]) -> int:
    """Delete the entries that are wanted; returns how many."""
    dropped = 0
    for page in _pages(redis, stream):
        if gone := [id_ for id_, fields in page if wanted(fields)]:
            dropped += int(redis.xdel(stream, *gone))
    return dropped


def _pages(redis: Redis, stream: str) -> Iterable[list[tuple[bytes, dict[bytes, bytes]]]]:
    after = "-"
    while page := list[Any](redis.xrange(stream, min=after, max="+", count=_PAGE)):  # type: ignore[arg-type]
        yield page
        after = f"({page[-1][0].decode()}"


def _drop_outcomes(redis: Redis, user: str) -> int:
    """Delete the entries, half a second of a process each, that have a row of the user. They are made of both arms'
    users alike, so what is left compares the arms as before."""
    hashed, dropped = user_hash(user), 0
    for page in _pages(redis, outcomes.STREAM):
        for id_, fields in page:
            rows = OutcomeBatch.decode(fields).rows
            if (rows["user"] == hashed).any() and redis.xdel(outcomes.STREAM, id_):
                redis.decrby(outcomes.SIZE, rows.nbytes)
                dropped += 1
    return dropped
