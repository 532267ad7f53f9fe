"""Names of everything in Redis that is known of users, and of the events on their way."""

from __future__ import annotations

STREAM = "events"
FIELD = b"event"
"""The one field of a stream entry: the row as JSON."""
UNFILED = "unfiled"
"""There while the sink has no dataset to file events in: then no more are taken, for nobody would learn them."""

EXPLORED = "explored"
"""Hash of what became of new items since they came: impressions at `n:{item}`, positives at `c:{item}`; `as_of`, the
end of the window that said which items are new."""

Key = int | str
NEWCOMERS = "newcomers"
"""Sorted set of the users of whom nothing but their events is known, by when what they did is forgotten."""
RECENT_LENGTH = 200
"""Events kept of a user; a generation reads as many of them as its feature spec says."""
SEEN_LENGTH = 1000
"""Items kept of a user as seen, the latest ones. A search that leaves out 1,000 items costs 6 ms more than one that
leaves out none."""


def profile_key(user: Key) -> str:
    """Where a user's profile is."""
    return f"profile:{user}"


def interests_key(user: Key) -> str:
    """Where the categories are that a user says they like."""
    return f"interests:{user}"


def recent_key(user: Key) -> str:
    """Where a user's recent behaviour is."""
    return f"recent:{user}"


def seen_key(user: Key) -> str:
    """Where the items are that a user has had."""
    return f"seen:{user}"


def vector_key(generation: str, user: Key) -> str:
    """Where a user's vector is, by itself: in a hash with those of other generations it would live as long as they."""
    return f"vector:{generation}:{user}"
