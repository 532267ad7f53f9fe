"""What users say they like, in the online store: beside the profile, which a load from a dataset replaces."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from redis.exceptions import RedisError

from pagoda.errors import UnavailableError
from serving.error_reasons import reason
from serving.users.keys import Key, interests_key
from serving.users.round_trips import RoundTrips
from serving.users.tombstones import FORGOTTEN

# KEYS: what the user said, the forgotten users. ARGV: the user, and what they say, empty for nothing.
# Answers whether it is stored: of a user who is being forgotten nothing comes back.
_SAY = """
local until_ms = redis.call('ZSCORE', KEYS[2], ARGV[1])
if until_ms and tonumber(until_ms) > redis.call('TIME')[1] * 1000 then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2]) end
return 1
"""


class InterestStore:
    """Writes what users like. Safe to share between requests."""

    def __init__(self, url: str, timeout_seconds: float = 1.0) -> None:
        """Of `redis://host:port/db`; no connection is opened yet."""
        self._url, self._redis = url, RoundTrips(url, timeout_seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.close()

    async def say(self, user: Key, interests: Sequence[str]) -> bool:
        """Put a user's interests in place of what they said before; none: as if they had never said any.

        Returns:
            Whether they are stored: not those of a user who is being forgotten.

        Raises:
            UnavailableError: Redis does not answer in time.
        """
        said = orjson.dumps(list(interests)) if interests else b""
        try:
            (stored,) = await self._redis.make([("EVAL", _SAY, 2, interests_key(user), FORGOTTEN, user, said)])
        except (RedisError, OSError) as error:
            raise UnavailableError(f"online store at {self._url}: {reason(error)}", part="online store") from error
        return bool(stored)
