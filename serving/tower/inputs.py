"""Raw values of requests to what the user tower reads, exactly as training makes it of tables (invariant 9)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pagoda.model.encoder import Encoder
from pagoda.model.user_inputs import Array, UserKeys
from serving.http.features import read_ids, read_kinds, refuse_unknown, user_features
from serving.http.fields import PastItems
from serving.tower.bodies import Instance

_SECOND_US = 1_000_000


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
        items, mask, age, kinds = self._histories(instances, moments)
        users = read_ids(self._spec, [one.user_id for one in instances], "user_id")
        features = self._encoder.encode_rows("user", [self._raw(one) for one in instances], moments)
        return UserKeys(users, items, mask, age, features, kinds)

    def _raw(self, instance: Instance) -> dict[str, Any]:
        refuse_unknown("profile", instance.profile, self._profile)
        refuse_unknown("context", instance.context, self._context)
        return {**instance.profile, **instance.context}

    def _histories(
        self, instances: Sequence[Instance], moments_us: NDArray[np.int64]
    ) -> tuple[Array, Array, Array, Array | None]:
        """Items, mask, ages and kinds [n, length], as `UserKeys` has them."""
        shape = (len(instances), self._length)
        items, mask, age = np.zeros(shape, np.int64), np.zeros(shape, np.bool_), np.zeros(shape, np.float32)
        kinds = np.zeros(shape, np.int64) if self._spec.embeds_events else None
        for row, (instance, moment_us) in enumerate(zip(instances, moments_us.tolist(), strict=True)):
            ids, timestamps, events = _last(instance.history, moment_us, self._length)
            if ids:
                own = row, slice(-len(ids), None)
                items[own] = read_ids(self._spec, ids, "history.item_id")
                mask[own] = True
                # A few numbers: NumPy's own arithmetic takes longer, most of it to begin.
                age[own] = [(moment_us - at) / _SECOND_US for at in timestamps]
            if events:
                told = read_kinds(self._spec, events)
                if kinds is not None:
                    kinds[own] = told
        return items, mask, age, kinds


def _last(history: PastItems, moment_us: int, length: int) -> PastItems:
    """The last `length` events strictly before a moment, oldest first: what training would have seen then."""
    ids, timestamps, events = history
    if (ordered := tuple(sorted(timestamps))) != timestamps:
        places = sorted(range(len(ids)), key=timestamps.__getitem__)
        ids, events = tuple(ids[place] for place in places), tuple(events[place] for place in places if events)
    end = bisect_left(ordered, moment_us)
    kept = slice(max(0, end - length), end)
    return PastItems(ids[kept], ordered[kept], events[kept])
