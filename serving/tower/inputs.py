"""Raw values of requests to what the user tower reads, exactly as training makes it of tables (invariant 9)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pagoda.data.spec import PAST_CHARACTERS, PastText
from pagoda.model.encoder import Encoder
from pagoda.model.user_inputs import Array, UserKeys
from serving.http.features import read_ids, read_kinds, refuse_told, refuse_unknown, user_features
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
        histories = [_last(one.history, at, self._length) for one, at in zip(instances, moments.tolist(), strict=True)]
        items, mask, age, kinds = self._histories(histories, moments)
        users = read_ids(self._spec, [one.user_id for one in instances], "user_id")
        features = self._encoder.encode_rows("user", self._raw(instances, histories, moments), moments)
        return UserKeys(users, items, mask, age, features, kinds)

    def _raw(
        self, instances: Sequence[Instance], histories: Sequence[PastItems], moments_us: NDArray[np.int64]
    ) -> list[dict[str, Any]]:
        for instance in instances:
            refuse_unknown("profile", instance.profile, self._profile)
            refuse_unknown("context", instance.context, self._context)
        rows = [{**instance.profile, **instance.context} for instance in instances]
        if (feature := self._spec.past_text) is not None:
            for row, history, moment_us in zip(rows, histories, moments_us.tolist(), strict=True):
                row[feature.name] = _past_text(feature, history, moment_us)
        return rows

    def _histories(
        self, histories: Sequence[PastItems], moments_us: NDArray[np.int64]
    ) -> tuple[Array, Array, Array, Array | None]:
        """Items, mask, ages and kinds [n, length], as `UserKeys` has them."""
        shape = (len(histories), self._length)
        items, mask, age = np.zeros(shape, np.int64), np.zeros(shape, np.bool_), np.zeros(shape, np.float32)
        kinds = np.zeros(shape, np.int64) if self._spec.embeds_events else None
        for row, (past, moment_us) in enumerate(zip(histories, moments_us.tolist(), strict=True)):
            ids, timestamps, events, texts = past
            if ids:
                own = row, slice(-len(ids), None)
                items[own] = read_ids(self._spec, ids, "history.item_id")
                mask[own] = True
                # A few numbers: NumPy's own arithmetic takes longer, most of it to begin.
                age[own] = [(moment_us - at) / _SECOND_US for at in timestamps]
            if events or texts:
                refuse_told(self._spec, events, texts)
            if events and kinds is not None:
                kinds[own] = read_kinds(self._spec, events)
        return items, mask, age, kinds


def _last(history: PastItems, moment_us: int, length: int) -> PastItems:
    """The last `length` events strictly before a moment, oldest first: what training would have seen then."""
    ids, timestamps, events, texts = history
    if (ordered := tuple(sorted(timestamps))) != timestamps:
        places = sorted(range(len(ids)), key=timestamps.__getitem__)
        ids = tuple(ids[place] for place in places)
        events, texts = (tuple(column[place] for place in places if column) for column in (events, texts))
    end = bisect_left(ordered, moment_us)
    kept = slice(max(0, end - length), end)
    return PastItems(ids[kept], ordered[kept], events[kept], texts[kept])


def _past_text(feature: PastText, history: PastItems, moment_us: int) -> str | None:
    """What `pagoda.model.past_texts` gives, of a history up to a moment."""
    said = zip(reversed(history.timestamps), reversed(history.texts), strict=False)
    counted = [text[:PAST_CHARACTERS] for at, text in said if text and at >= moment_us - feature.span_us]
    return " ".join(counted[: feature.last]) if counted else None
