"""IDs and features of requests, checked against a feature declaration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pagoda.data.ids import hash_ids
from pagoda.data.spec import COMPUTED, FeatureSpec
from pagoda.errors import RequestError
from serving.http.fields import shown


def read_ids(spec: FeatureSpec, ids: Sequence[int | str], field: str) -> NDArray[np.int64]:
    """IDs as the caller knows them to int64 [n]; strings become their hashes.

    Raises:
        RequestError: An ID is not of the dataset's type, or no int64.
    """
    wanted: type = str if spec.id_type == "string" else int
    for one in ids:
        if not isinstance(one, wanted):
            expected = "a string" if wanted is str else "an integer"
            raise RequestError(f"{field}: must be {expected}, as the IDs of this dataset are (got {shown(one)})")
    if wanted is str:
        return np.asarray(hash_ids([str(one) for one in ids]), np.int64)
    try:
        return np.array(ids, np.int64)
    except OverflowError:
        raise RequestError(f"{field}: must be an integer of 64 bits") from None


def read_kinds(spec: FeatureSpec, events: Sequence[str | None]) -> list[int]:
    """Which of the history's events each is, as `kinds_of` has it; 0 where it is not known. See `refuse_told`."""
    places = {event: place for place, event in enumerate(spec.history_events, 1)}
    return [0 if event is None else places[event] for event in events]


def refuse_told(spec: FeatureSpec, events: Sequence[str | None], texts: Sequence[str | None]) -> None:
    """Raise RequestError if a history says by its `events` and `texts` what the generation's histories cannot say."""
    if spec.past_text is None and any(text is not None for text in texts):
        raise RequestError("history.text: this generation has no feature of past texts (past_text)")
    known = spec.history_events if spec.embeds_events else ()
    for event in events:
        if event is None or event in known:
            continue
        if not known:
            raise RequestError("history.event: this generation's histories do not say it (history.embed_event)")
        raise RequestError(f"history.event: must be one of {sorted(known)} (got {shown(event)})")


def user_features(spec: FeatureSpec) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the user tower's features that come from the profile, and of those that come with the request."""
    given = [feature for feature in spec.of("user") if feature.kind not in COMPUTED]
    profile = frozenset(feature.name for feature in given if feature.source == "table")
    return profile, frozenset(feature.name for feature in given) - profile


def refuse_unknown(field: str, given: dict[str, Any], known: frozenset[str]) -> None:
    """Raise RequestError if `given` names a feature that is not among the `known` ones."""
    if unknown := given.keys() - known:
        raise RequestError(f"{field}.{min(unknown)}: unknown field; this generation knows {sorted(known)}")
