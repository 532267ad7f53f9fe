"""How it is told that a service does its work. A check returns None when it does, else what is wrong."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from contextlib import nullcontext

import httpx
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pagoda.settings import Settings
from pagoda.sockets import client_of

HealthCheck = Callable[[], str | None]
_TIMEOUT_SECONDS = 2.0
_FILED_SECONDS = 120.0
"""An event is filed within about half a minute."""


class Silence(str):
    """What is wrong when there is no answer at all: it may hang. Any answer, a bad one too, shows that it does not."""

    __slots__ = ()


def http_health(url: str, contains: str = "", *, server: str = "") -> HealthCheck:
    """Healthy when `url`, of the `server` at a Unix socket if that is given, answers 200 and contains a text."""

    def check() -> str | None:
        try:
            with nullcontext(_client()) if not server else client_of(server, _TIMEOUT_SECONDS) as client:
                answer = client.get(url)
        except httpx.HTTPError as error:
            return Silence(f"{server}{url} gives no answer ({type(error).__name__})")
        if answer.status_code != httpx.codes.OK or contains not in answer.text:
            return f"{url} answers {answer.status_code} {answer.text.strip()[:80]}"
        return None

    return check


def redis_health(url: str) -> HealthCheck:
    """Healthy when PING is answered; while it loads its file, it is not."""

    def check() -> str | None:
        client = redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS, retry=Retry(NoBackoff(), 0)
        )
        try:
            client.ping()
        except (redis.ConnectionError, redis.TimeoutError) as error:
            # To be loading, or to want a password, is a kind of these, and an answer.
            silent = not isinstance(error, redis.BusyLoadingError | redis.AuthenticationError)
            return Silence(f"{url} gives no answer ({error})") if silent else f"{url} answers {error}"
        except redis.RedisError as error:
            return f"{url} answers {error}"
        finally:
            client.close()
        return None

    return check


def filing_health(settings: Callable[[], Settings]) -> HealthCheck:
    """Healthy while events reach their files: the sink has a dataset, and none has waited for long.

    The names in Redis are those of `serving.users.keys`, which stands above this room.
    """

    def check() -> str | None:
        now = settings()
        if not now.redis.url:
            return None
        client = redis.Redis.from_url(now.redis.url, socket_timeout=_TIMEOUT_SECONDS, retry=Retry(NoBackoff(), 0))
        pipeline = client.pipeline(transaction=False)
        pipeline.get("unfiled")
        pipeline.xlen("events")
        pipeline.xrange("events", count=1)
        try:
            unfiled, waiting, first = pipeline.execute()
        except redis.RedisError:
            return None  # Redis' own trouble, and told there.
        finally:
            client.close()
        told = f"{waiting:,} events wait" if waiting else "no event waits"
        if unfiled is not None:
            return (
                f"{told}, and none are taken: {unfiled.decode()} is no dataset; import one there, or name the one that "
                f"updates learn as events.dataset in {now.home}/pagoda.yaml and start the sink again"
            )
        since = int(first[0][0].split(b"-")[0]) / 1000 if first else time.time()
        if time.time() - since < _FILED_SECONDS:
            return None
        return f"{told}, the first for {time.time() - since:,.0f} s; `pagoda logs sink` says why"

    return check


def always_healthy() -> None:
    """For a service without an address: it is healthy while its process runs."""


@functools.cache
def _client() -> httpx.Client:
    # Made once, since it reads certificates; these addresses are local, whatever proxy the environment names.
    return httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=False)
