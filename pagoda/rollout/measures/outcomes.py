"""What arms did to users, as the recall service tells the rollout driver: rows in a capped Redis stream.

The stream is the history of the gates. It lies outside of both processes, so a driver that is started again, or a
second one, reads what the first one read. An entry holds the rows of one service process under one split, at most a
second's.

A row stands for one user's part of a request, or for an event of a user: a positive one (a click), or one that the
rollout's policy names (an outcome). An event carries no arm: users stay in their arm, so whoever reads finds it from
the user's last answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xxhash

from pagoda.errors import IntegrityError

STREAM = "outcomes"
SIZE = "outcomes:bytes"
"""Holds the sum of all entries' rows."""

ROW = np.dtype([("time_us", "<i8"), ("user", "<u8"), ("ms", "<f4"), ("flags", "u1")])
"""When it ended (by the service's clock), who, how long the chosen arm took or was waited for, and what happened. Of an
outcome `ms` is its value: a column's, or 1."""
Rows = npt.NDArray[np.void]
PLACE = np.dtype([("position", "<u2"), ("propensity", "<f4")])
"""Where in an answer the item of a click stood, from 0 on, and how probable it was that it did; the latter is 0 where
nothing is known of that, or the item was no choice of the arm's own."""
PlaceRows = npt.NDArray[np.void]
RESPONSE = np.dtype([("outcome", "u1"), *((name, PLACE[name]) for name in ("position", "propensity"))])
"""Which outcome of the policy's an event is, from 0 on, and where its item stood."""
ResponseRows = npt.NDArray[np.void]
Mixtures = npt.NDArray[np.float16]
"""[answers, channels, 2]: the part of an answer's items that a channel gave (an item counts for the first channel that
had it), and the part that it gave of the candidates it was asked for."""

# KEYS: stream, size. ARGV: most bytes, then field, value, … of the entry, the rows last.
APPEND = """
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
local size = redis.call('INCRBY', KEYS[2], #ARGV[#ARGV])
while size > tonumber(ARGV[1]) do
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  if not oldest then
    redis.call('SET', KEYS[2], 0)
    break
  end
  redis.call('XDEL', KEYS[1], oldest[1])
  size = redis.call('DECRBY', KEYS[2], #oldest[2][#oldest[2]])
end
"""
"""Appends an entry; the oldest ones go while all rows together take more than the given bytes."""


class Flag(IntFlag):
    """What happened to a row's user."""

    CANARY = 1
    """The user's arm; without it, stable."""
    REQUEST = 2
    """The first row of a request's part in this arm: users of one request share its fate, so gates that count requests
    count these."""
    FAILED = 4
    """The arm failed, or was later than the deadline of the canary, which is applied to both arms alike."""
    ANSWERED = 8
    """There was an answer, be it the stable arm's in the canary's place."""
    SHORT = 16
    """With fewer items than were asked for."""
    FALLBACK = 32
    """Not from the two towers, or without an item that a channel gave which both arms' generations declare alike."""
    CLICK = 64
    """No answer but a positive event."""
    OUTCOME = 128
    """No answer but an event that counts for an outcome of the policy's."""


class TakenEvent(Protocol):
    """An event as it came in, once it is kept."""

    @property
    def user(self) -> int | str:
        """Whose it is."""

    @property
    def positive(self) -> bool:
        """Whether it is a click to the gates."""

    @property
    def row(self) -> Mapping[str, Any]:
        """By column: `event`, what came with it, and where its receipt says so, `position` and `propensity`."""


@dataclass(frozen=True, slots=True)
class OutcomeBatch:
    """An entry of the stream."""

    rollout: str
    percent: int
    shadow: bool
    rows: Rows
    places: PlaceRows = field(default_factory=lambda: np.zeros(0, PLACE))
    """Of `PLACE`, one for each click among the rows, in their order; none where no click says any."""
    responses: ResponseRows = field(default_factory=lambda: np.zeros(0, RESPONSE))
    """Of `RESPONSE`, one for each outcome among the rows, in their order."""
    channels: tuple[str, ...] = ()
    """Those that both arms' generations declare alike; none where nothing is said of channels."""
    mixtures: Mixtures = field(default_factory=lambda: np.zeros((0, 0, 2), np.float16))
    """One of `channels` for each answer among the rows that its arm gave, in their order."""

    @property
    def stage(self) -> tuple[bool, int]:
        """Where the rollout was: later phases and steps compare greater."""
        return self.percent > 0 and not self.shadow, self.percent

    def encode(self) -> dict[str, bytes | str | int]:
        """As fields of the entry, the rows last."""
        # A field that came later is there where it says something; who does not know it counts the clicks alone.
        told: dict[str, bytes | str | int] = {}
        if self.places["propensity"].any():
            told["places"] = self.places.tobytes()
        if len(self.responses):
            told["responses"] = self.responses.tobytes()
        if self.channels:
            told |= {"channels": ",".join(self.channels), "mixtures": self.mixtures.tobytes()}
        return {
            "rollout": self.rollout,
            "percent": self.percent,
            "mirrored": int(self.shadow),
            **told,
            "rows": self.rows.tobytes(),
        }

    @classmethod
    def decode(cls, fields: Mapping[bytes, Any]) -> OutcomeBatch:
        """From what Redis returns.

        Raises:
            IntegrityError: It is no such entry.
        """
        try:
            rows, places = np.frombuffer(fields[b"rows"], ROW), np.frombuffer(fields.get(b"places", b""), PLACE)
            if len(places) not in (0, np.count_nonzero(rows["flags"] & Flag.CLICK)):
                raise ValueError(f"{len(places)} places of clicks")
            responses = np.frombuffer(fields.get(b"responses", b""), RESPONSE)
            if len(responses) != np.count_nonzero(rows["flags"] & Flag.OUTCOME):
                raise ValueError(f"{len(responses)} responses")
            channels = tuple(filter(None, fields.get(b"channels", b"").decode().split(",")))
            mixtures = np.frombuffer(fields.get(b"mixtures", b""), np.float16)
            mixtures = mixtures.reshape(np.count_nonzero(own_answers(rows)) if channels else 0, len(channels), 2)
            about = fields[b"rollout"].decode(), int(fields[b"percent"]), fields[b"mirrored"] == b"1"
            return cls(*about, rows, places, responses, channels, mixtures)
        except (KeyError, ValueError) as error:
            raise IntegrityError(f"stream {STREAM}: an entry is damaged ({error!r})") from error


def own_answers(rows: Rows) -> npt.NDArray[np.bool_]:
    """Which rows are answers that their own arm gave, bool [n]: of a canary's none that the stable arm stood in for."""
    return np.asarray(rows["flags"] & (Flag.ANSWERED | Flag.FAILED) == Flag.ANSWERED)


def user_hash(user: int | str) -> int:
    """A user as a row has them; independent of the hash that chooses arms."""
    return xxhash.xxh3_64_intdigest(str(user).encode())
