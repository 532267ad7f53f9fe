"""Raw values of requests to what the user tower reads, exactly as training makes it of tables (invariant 9)."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pagoda.model.encoder import Encoder
from pagoda.model.user_inputs import Array, UserKeys
from serving.http.features import read_ids, refuse_unknown, user_features
from serving.http.fields import PastItem
from serving.tower.bodies import Instance

_SECOND_US = 1_000_000
_timestamp = itemgetter("timestamp")


class InputReader:
    """Encodes requests for one full version."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder, self._spec = encoder, encoder.spec
        self._profile, self._context = user_features(encoder.spec)
        self._length = encoder.spec.history.length if encoder.spec.history else 0

    def read(self, instances: Sequence[Instance], now_us: int) -> UserKeys[Array]:
        """Encode instances; those that name no moment are of `now_us`.

        Raises:
            RequestError: An ID has the wrong type, a feature is unknown, or a value has the wrong type or length.
        """
        moments = np.array([now_us if one.timestamp is None else one.timestamp for one in instances], np.int64)
        histories = self._histories(instances, moments)
        users = read_ids(self._spec, [one.user_id for one in instances], "user_id")
        features = self._encoder.encode_rows("user", [self._raw(one) for one in instances], moments)
        return UserKeys(users, *histories, features)

    def _raw(self, instance: Instance) -> dict[str, Any]:
        refuse_unknown("profile", instance.profile, self._profile)
        refuse_unknown("context", instance.context, self._context)
        return {**instance.profile, **instance.context}

    def _histories(self, instances: Sequence[Instance], moments_us: NDArray[np.int64]) -> tuple[Array, Array, Array]:
        """Items, mask and ages [n, length], as `UserKeys` has them."""
        shape = (len(instances), self._length)
        items, times = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        both = zip(instances, moments_us.tolist(), strict=True)
        kept = [_last(instance.history, moment_us, self._length) for instance, moment_us in both]
        mask = np.arange(self._length) >= self._length - np.array([len(past) for past in kept])[:, None]
        # Row after row, as the mask's places are counted.
        items[mask] = read_ids(self._spec, [one["item_id"] for past in kept for one in past], "history.item_id")
        times[mask] = [one["timestamp"] for past in kept for one in past]
        age = np.where(mask, (moments_us[:, None] - times) / _SECOND_US, 0).astype(np.float32)
        return items, mask, age


def _last(history: Sequence[PastItem], moment_us: int, length: int) -> list[PastItem]:
    """The last `length` events strictly before a moment, oldest first: what training would have seen then."""
    earlier = [past for past in history if past["timestamp"] < moment_us]
    earlier.sort(key=_timestamp)
    return earlier[-length:] if length else []
