"""What is wrong with one channel: how it is caused, and how it is ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from benchmarks.faults.faults import DELAY_SECONDS
from benchmarks.faults.proxy import DelayProxy
from benchmarks.online.channels import KINDS
from serving.users.keys import EXPLORED


@dataclass(frozen=True)
class ChannelParts:
    """What a fault may touch."""

    tables: Path
    """The folder of all tables."""
    redis_url: str
    milvus: DelayProxy


@dataclass(frozen=True)
class ChannelFault:
    """What is wrong with one channel."""

    name: str
    cause: Callable[[ChannelParts], None]
    end: Callable[[ChannelParts], None] | None = None
    """Nothing ends it, where None: no file of a generation changes, and recall reads what is damaged once."""
    under_way: bool = False
    """Caused when recall answers already, not before it starts."""


def _nothing(parts: ChannelParts) -> None:
    """Nothing is wrong."""


def _damage(kind: str) -> Callable[[ChannelParts], None]:
    def cause(parts: ChannelParts) -> None:
        for path in (parts.tables / kind).iterdir():
            path.write_bytes(path.read_bytes()[:-1] + b"?")

    return cause


def _renamed(name: str, other: str) -> Callable[[ChannelParts], None]:
    def cause(parts: ChannelParts) -> None:
        (parts.tables / name).rename(parts.tables / other)

    return cause


def _spoil_counts(parts: ChannelParts) -> None:
    redis = Redis.from_url(parts.redis_url)
    redis.delete(EXPLORED)
    redis.set(EXPLORED, "no counts")


def _delete_counts(parts: ChannelParts) -> None:
    Redis.from_url(parts.redis_url).delete(EXPLORED)


def _delay(seconds: float) -> Callable[[ChannelParts], None]:
    def cause(parts: ChannelParts) -> None:
        parts.milvus.delay = seconds

    return cause


CHANNEL_FAULTS = (
    ChannelFault("channels: none dead", _nothing),
    *(ChannelFault(f"channels: {kind} damaged", _damage(kind)) for kind in KINDS[1:]),
    *(
        ChannelFault(f"channels: {kind} gone", _renamed(kind, f"{kind}.gone"), _renamed(f"{kind}.gone", kind))
        for kind in ("item_to_item", "explore")
    ),
    ChannelFault("channels: counts of explore unreadable", _spoil_counts, _delete_counts),
    ChannelFault(f"channels: two_tower {DELAY_SECONDS:g} s late", _delay(DELAY_SECONDS), _delay(0.0), under_way=True),
)
