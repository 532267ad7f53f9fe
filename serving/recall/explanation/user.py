"""What was known of a user."""

from __future__ import annotations

from pagoda.client.explanation import HistoryExplained, StoreOutcome, UserExplained, VectorSource
from pagoda.data.layout import INTERESTS, says_interests
from serving.http.features import read_ids
from serving.http.fields import PastItems
from serving.recall.explanation.id_rows import IdRows
from serving.recall.fallback.steps import CACHED, MISSING, OOV, REMEMBERED
from serving.recall.generations.generation import LiveGeneration, moment_us
from serving.recall.lookup import Lookup

_SECOND_US = 1_000_000


def explained_user(live: LiveGeneration, lookup: Lookup, rows: IdRows) -> UserExplained:
    """Of a lookup that is done."""
    one = lookup.instance
    profile = live.tower_instance(one, lookup.stored)["profile"]
    (user,) = read_ids(live.spec, [one.user_id], "user_id").tolist()
    return {
        "store": _store(lookup),
        "id_row": rows.of(live.manifest, user) if lookup.known else {"source": "none", "versions": []},
        "vector": _vector(lookup),
        "profile": profile,
        "profile_of_request": sorted(one.profile),
        "interests": profile.get(INTERESTS) if says_interests(live.spec) else None,
        "history": _history(live, lookup),
    }


def _store(lookup: Lookup) -> StoreOutcome:
    if REMEMBERED in lookup.degraded:
        return "store_remembered"
    return "store_missing" if MISSING in lookup.degraded else "read"


def _vector(lookup: Lookup) -> VectorSource:
    if CACHED in lookup.degraded:
        return "tower_cached"
    if OOV in lookup.degraded:
        return "tower_oov"
    kept = lookup.stored.vectors
    return "kept" if kept is not None and lookup.vectors is kept.vectors else "computed"


def _history(live: LiveGeneration, lookup: Lookup) -> HistoryExplained:
    """As `serving.tower.inputs` reads it: the last events strictly before the moment."""
    one, declared = lookup.instance, live.spec.history
    past, moment = lookup.stored.recent if one.history is None else PastItems.of(one.history), moment_us(one)
    before = [at for at in past.timestamps if at < moment] if declared else []
    return {
        "source": "store" if one.history is None else "request",
        "events": min(len(before), declared.length) if declared else 0,
        "newest_age_seconds": (moment - max(before)) / _SECOND_US if before else None,
    }
