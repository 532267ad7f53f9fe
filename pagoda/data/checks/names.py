"""Names that mean something elsewhere: a feature, title or weight with one of them is refused before it is learned.

Import and `pagoda data check` refuse them, and no reader does: what was trained with such a name still opens.
`tests/data/checks/test_names.py` holds the names against the models and schemas that they come from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pagoda.data.checks.limits import why_no_default
from pagoda.data.checks.zones import known_zones
from pagoda.data.spec import RESERVED, Categorical, Feature, FeatureSpec, TimeOf
from pagoda.errors import ConfigError

IN_EVENTS = frozenset({"event_id", "user_id", "item_id", "event", "timestamp", "context"})
"""Fields of an event: its row in the stream holds context features beside them. Not `receipt`, which came later and is
never in a row: what it says is, and the declaration reserves those names."""
IN_REQUESTS = frozenset(
    {
        "user_id",
        "k",
        "timestamp",
        "context",
        "profile",
        "history",
        "filter",
        "exclude_seen",
        "fields",
        "popularity_penalty",
    }
)
"""Fields of who asks. Not `text`, `merge` and `explain`, which came later: many a dataset has a feature that is called
so, and it is never beside them, for a request says features in `profile`, `context` and `filter`, and none in
`history`."""
IN_ANSWERS = frozenset({"item_id", "score", "fields"})
"""Fields of an item in an answer. Not those that came later (`channels`, `propensity`, `recall_score`): features are in
`fields`."""
IN_COLLECTIONS = frozenset(
    {"item_id", "item_key", "vector", "pagoda_weight", "pagoda_share", "pagoda_text", "pagoda_words"}
)
"""Columns of a collection, and of the files that it is made of."""
IN_FILES = frozenset({"date"})
"""Interactions lie in folders `date=…`, which whoever reads them as one table gets as a column."""
RESERVED_NAMES = RESERVED | IN_EVENTS | IN_REQUESTS | IN_ANSWERS | IN_COLLECTIONS | IN_FILES

# What Milvus' grammar of expressions takes for a word of its own, in any version from 2.3 on (internal/parser/
# planparserv2/Plan.g4, at 0621a8c; all of 2.3's are among them), and what a collection has beside its fields
# (hasSystemFields in internal/rootcoord/create_collection_task.go). There is no way to quote a name. Case does not
# count here, for it does for some words and not for others.
_WORDS = """
like exists text_match phrase_match random_sample match_all match_any match_least match_most match_exact
interval iso minimum_should_match threshold and or not in true false json_contains json_contains_all
json_contains_any array_contains array_contains_all array_contains_any array_length element_filter st_equals
st_touches st_overlaps st_crosses st_contains st_intersects st_within st_dwithin st_isvalid textmatch
phrasematch rowid timestamp
"""
EXPRESSION_WORDS = frozenset(_WORDS.split())
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_FILTERABLE = ("categorical", "multi", "numeric")


def why_not_filterable(feature: Feature) -> str | None:
    """Why a collection can have no column of this feature; None when it can."""
    if not _FIELD.fullmatch(feature.name) or feature.name in IN_COLLECTIONS:
        return (
            f"feature {feature.name!r}: a filterable feature's name must be letters, digits and underscores, "
            f"not start with a digit, and not be {', '.join(sorted(IN_COLLECTIONS))}"
        )
    if feature.kind not in _FILTERABLE:
        return f"feature {feature.name!r}: a {feature.kind} feature cannot be filterable"
    return None


def problems_of(spec: FeatureSpec) -> Iterator[str]:
    """What of a declaration would be lost, misread or refused later: one sentence each, with what to do."""
    for feature in spec.features:
        rename = f"call it otherwise, and say which column it is by --rename NEW={feature.name}"
        if feature.name in RESERVED_NAMES:
            yield f"feature {feature.name!r}: the name means something else in {_where(feature.name)}; {rename}"
        elif feature.filterable and (why := why_not_filterable(feature) or why_no_default(feature)):
            yield why
        elif feature.filterable and feature.name.lower() in EXPRESSION_WORDS:
            why = "Milvus' filters have a word of this name, so nobody could filter by it"
            yield f"feature {feature.name!r}: {why}; {rename}"
        elif (zone := _zone_of(feature, spec)) and zone not in known_zones():
            yield f"feature {feature.name!r}: zone {zone!r} is unknown; a zone is called UTC or Europe/Berlin, say"
    weight = spec.rules.weight if spec.rules else None
    named = (("title", spec.title), ("rules.weight", weight), ("positive_weight", spec.positive_weight))
    for what, name in named:
        if name in RESERVED_NAMES:
            yield (
                f"{what} {name!r}: the name means something else in {_where(name)}; call it otherwise, and say which "
                f"column it is by --rename NEW={name}"
            )


def _zone_of(feature: Feature, spec: FeatureSpec) -> str | None:
    """The zone that a declaration names: of a time feature, or of users who say none."""
    if isinstance(feature, TimeOf):
        return feature.zone
    return feature.default if isinstance(feature, Categorical) and feature.name in spec.zone_features else None


def refuse_names(spec: FeatureSpec, where: str) -> None:
    """Raise ConfigError for the first of `problems_of` a declaration that was found `where`."""
    for problem in problems_of(spec):
        raise ConfigError(f"{where}: {problem}")


def _where(name: str) -> str:
    places = {
        "events": IN_EVENTS,
        "requests": IN_REQUESTS,
        "answers": IN_ANSWERS,
        "collections": IN_COLLECTIONS,
        "datasets": IN_FILES | RESERVED,
    }
    return " and ".join(place for place, names in places.items() if name in names)
