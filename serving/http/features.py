"""IDs and features of requests, checked against a feature declaration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pagoda.data.ids import hash_ids
from pagoda.data.spec import FeatureSpec, TimeOf
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


def user_features(spec: FeatureSpec) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the user tower's features that come from the profile, and of those that come with the request."""
    given = [feature for feature in spec.of("user") if not isinstance(feature, TimeOf)]
    profile = frozenset(feature.name for feature in given if feature.source == "table")
    return profile, frozenset(feature.name for feature in given) - profile


def refuse_unknown(field: str, given: dict[str, Any], known: frozenset[str]) -> None:
    """Raise RequestError if `given` names a feature that is not among the `known` ones."""
    if unknown := given.keys() - known:
        raise RequestError(f"{field}.{min(unknown)}: unknown field; this generation knows {sorted(known)}")
