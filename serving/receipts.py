"""Receipts: what an answer showed, as one signed string that events hand back.

A receipt names the arm and the generation that answered, and by place the items with the channels that found them and
how probable it was that they came up. Only who holds the installation's key can make one. Its signature covers the
user's ID, so it is none of another user's.

It is base64url without padding of: the signature, HMAC-SHA256 cut to 128 bits (RFC 2104, section 5); a line of JSON;
three bytes of each item's hash, by place; where channels are known, two bytes for each item, the number of its set of
them; and where something was tried out, each item's propensity as a float of 32 bits, 0 for none.
"""

from __future__ import annotations

import base64
import hmac
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import orjson
import xxhash

from pagoda.errors import RequestError
from pagoda.settings import Settings

MAX_CHARACTERS = 16_384
"""More than any answer's takes: of a thousand items, channels and propensities known, it has 12,000."""
PATTERN = r"^[A-Za-z0-9_-]+$"
_SIGNATURE_BYTES, _TAG_BYTES = 16, 3
_SET, _PROPENSITY = struct.Struct("<H"), struct.Struct("<f")
NO_KEY = "this installation has no key to sign them with; set registry.signing_key, or run `pagoda sign-log`"
_REFUSED = "receipt: was not given with an answer to this user; send it as it came, or leave it out"


@dataclass(frozen=True, slots=True)
class ShownItem:
    """What a receipt says of one item, by the columns that interactions have for it."""

    arm: str
    generation: str
    channels: list[str] | None
    """None: not known."""
    position: int
    """In the answer, from 0 on."""
    propensity: float | None
    """How probable it was that the item came up; None: it was certain to."""

    def columns(self) -> dict[str, Any]:
        """By name, without what is not known."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Receipts:
    """Gives receipts and reads them. Safe to share."""

    def __init__(self, key: str) -> None:
        """By the installation's key, which signs logs; for receipts another one is derived of it."""
        self._key = hmac.digest(key.encode(), b"receipts", sha256)

    def give(self, user: int | str, arm: str, generation: str, items: Sequence[Mapping[str, Any]]) -> str:
        """The receipt of an answer to a user; items have `item_id`, and `channels` and `propensity` where known."""
        found = [tuple(item.get("channels", ())) for item in items]
        sets = list(dict.fromkeys(found)) if any(found) else []
        drawn = any("propensity" in item for item in items)
        head = orjson.dumps([arm, generation, len(items), sets, drawn])
        parts = [head, b"\n", *(_tag(item["item_id"]) for item in items)]
        if sets:
            number = {one: place for place, one in enumerate(sets)}
            parts += [_SET.pack(number[one]) for one in found]
        if drawn:
            parts += [_PROPENSITY.pack(item.get("propensity", 0.0)) for item in items]
        body = b"".join(parts)
        return base64.urlsafe_b64encode(self._signature(user, body) + body).rstrip(b"=").decode()

    def read(self, receipt: str, user: int | str, item: int | str) -> ShownItem:
        """What a receipt says of an item.

        Raises:
            RequestError: It is none that was given to this user, or not for this item.
        """
        body = self._verified(receipt, user)
        head, _, rest = body.partition(b"\n")
        arm, generation, count, sets, drawn = orjson.loads(head)
        sets_at = count * _TAG_BYTES
        position = _find(_tag(item), rest[:sets_at])
        if position is None:
            raise RequestError(f"receipt: is of an answer without item {item}; send the one that the item came with")
        propensities_at = sets_at + (_SET.size * count if sets else 0)
        channels = sets[_SET.unpack_from(rest, sets_at + _SET.size * position)[0]] if sets else None
        place = propensities_at + _PROPENSITY.size * position
        propensity = _PROPENSITY.unpack_from(rest, place)[0] if drawn else None
        return ShownItem(arm, generation, channels or None, position, propensity or None)

    def _verified(self, receipt: str, user: int | str) -> bytes:
        try:
            raw = base64.urlsafe_b64decode(receipt + "=" * (-len(receipt) % 4))
        except ValueError:
            raise RequestError(_REFUSED) from None
        signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(user, body)):
            raise RequestError(_REFUSED)
        return body

    def _signature(self, user: int | str, body: bytes) -> bytes:
        who = str(user).encode()
        return hmac.digest(self._key, b"%d\n%b%b" % (len(who), who, body), sha256)[:_SIGNATURE_BYTES]


def open_receipts(settings: Settings) -> Receipts | None:
    """Those of an installation; None: it has no key."""
    key = settings.signing_key
    return Receipts(key) if key else None


def _tag(item: int | str) -> bytes:
    """Enough to tell an answer's items apart: of others, one in 17 million has that of an item."""
    return xxhash.xxh3_64_digest(str(item).encode())[:_TAG_BYTES]


def _find(tag: bytes, tags: bytes) -> int | None:
    """Its place among tags that follow each other."""
    at = tags.find(tag)
    while at > 0 and at % _TAG_BYTES:
        at = tags.find(tag, at + 1)
    return None if at < 0 else at // _TAG_BYTES
