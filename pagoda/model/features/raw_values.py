"""Raw feature values as clients send them, in the one form that the files of a dataset keep them in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pagoda.data.spec import Categorical, Dense, Feature, MultiValued, Numeric, Text
from pagoda.errors import RequestError
from pagoda.model.features.codec import entries, number, word


def normal(features: Sequence[Feature], given: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The values of `given` that are not None, in the form of `pagoda.data.layout.column_type`.

    Raises:
        RequestError: A feature is unknown, or a value is of the wrong type or length or not finite; the message names
            the field below `place`.
    """
    known = {feature.name: feature for feature in features}
    if unknown := given.keys() - known.keys():
        raise RequestError(f"{place}.{min(unknown)}: unknown field; the dataset has {sorted(known)}")
    return {name: _value(known[name], value, place) for name, value in given.items() if value is not None}


def _value(feature: Feature, value: Any, place: str) -> Any:
    try:
        match feature:
            case Categorical() | Text():
                return word(value, feature.name)
            case MultiValued():
                listed = entries(value, feature.name, "a list of strings")
                return [word(entry, feature.name) for entry in listed if entry is not None]
            case Numeric():
                return _finite(number(value, feature.name))
            case Dense():
                return _vector(feature, value)
        raise RequestError(f"feature {feature.name!r} is taken from the timestamp")
    except (RequestError, OverflowError) as error:
        raise RequestError(f"{place}.{feature.name}: {error}") from None


def _vector(feature: Dense, value: Any) -> list[float | None]:
    listed = [_finite(number(entry, feature.name)) for entry in entries(value, feature.name, "a list of numbers")]
    if len(listed) != feature.length or None in listed:
        raise RequestError(f"expected a list of {feature.length} numbers")
    return listed


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise RequestError(f"got {value}, expected a finite number")
    return value
