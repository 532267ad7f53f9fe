"""Raw values of requests to the arrays that the user tower takes, exactly as training makes them (invariant 9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pagoda.model.encoder import Encoded, Encoder
from serving.http.features import read_ids, refuse_unknown, user_features
from serving.http.fields import PastItem
from serving.tower.bodies import Instance

_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Inputs:
    """n users at their moments. Histories are right-aligned: the last event is in the last column."""

    user_ids: NDArray[np.int64]
    history_items: NDArray[np.int64]
    """[n, length]; 0 where there is none."""
    history_mask: NDArray[np.bool_]
    history_age: NDArray[np.float32]
    """[n, length] in seconds before the user's moment."""
    features: Encoded

    def __len__(self) -> int:
        return len(self.user_ids)

    @classmethod
    def stack(cls, parts: Sequence[Inputs]) -> Inputs:
        """The rows of all parts, one after another."""
        if len(parts) == 1:
            return parts[0]
        names = [field.name for field in fields(cls) if field.name != "features"]
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        encoded = {name: np.concatenate([part.features[name] for part in parts]) for name in parts[0].features}
        return cls(**arrays, features=encoded)


class InputReader:
    """Encodes requests for one full version."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder, self._spec = encoder, encoder.spec
        self._profile, self._context = user_features(encoder.spec)
        self._length = encoder.spec.history.length if encoder.spec.history else 0

    def read(self, instances: Sequence[Instance], now_us: int) -> Inputs:
        """Encode instances; those that name no moment are of `now_us`.

        Raises:
            RequestError: An ID has the wrong type, a feature is unknown, or a value has the wrong type or length.
        """
        moments = np.array([now_us if one.timestamp is None else one.timestamp for one in instances], np.int64)
        items, mask, age = self._histories(instances, moments)
        return Inputs(
            user_ids=read_ids(self._spec, [one.user_id for one in instances], "user_id"),
            history_items=items,
            history_mask=mask,
            history_age=age,
            features=self._encoder.encode_rows("user", [self._raw(one) for one in instances], moments),
        )

    def _raw(self, instance: Instance) -> dict[str, Any]:
        refuse_unknown("profile", instance.profile, self._profile)
        refuse_unknown("context", instance.context, self._context)
        return {**instance.profile, **instance.context}

    def _histories(
        self, instances: Sequence[Instance], moments_us: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float32]]:
        shape = (len(instances), self._length)
        items, mask, times = np.zeros(shape, np.int64), np.zeros(shape, np.bool_), np.zeros(shape, np.int64)
        for row, (instance, moment_us) in enumerate(zip(instances, moments_us.tolist(), strict=True)):
            if kept := _last(instance.history, moment_us, self._length):
                ids = [past["item_id"] for past in kept]
                items[row, -len(kept) :] = read_ids(self._spec, ids, "history.item_id")
                times[row, -len(kept) :] = [past["timestamp"] for past in kept]
                mask[row, -len(kept) :] = True
        age = np.where(mask, (moments_us[:, None] - times) / _SECOND_US, 0).astype(np.float32)
        return items, mask, age


def _last(history: Sequence[PastItem], moment_us: int, length: int) -> list[PastItem]:
    """The last `length` events strictly before a moment, oldest first: what training would have seen then."""
    earlier = [past for past in history if past["timestamp"] < moment_us]
    earlier.sort(key=lambda past: past["timestamp"])
    return earlier[-length:] if length else []
