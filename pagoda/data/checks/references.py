"""What parts of a declaration say of each other, such as a feature that names another one: it must be there."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pagoda.data.spec import FeatureSpec


def check_references(spec: FeatureSpec, reserved: Collection[str]) -> None:
    """Raise ValueError for the first part that refers to what is not there, or to one of Pagoda's own columns
    (`reserved`); the message says what to do."""
    if spec.rules is not None and spec.rules.weight is not None:
        _check_rules_weight(spec, spec.rules.weight, reserved)
    _check_events(spec)
    _check_zones(spec)
    _check_past_texts(spec)
    if spec.embeds_events:
        _check_told_events(spec)


def _check_rules_weight(spec: FeatureSpec, name: str, reserved: Collection[str]) -> None:
    if name in reserved or name == spec.title:
        raise ValueError(f"rules.weight {name!r} is a column with another meaning")
    for feature in spec.features:
        if feature.name == name and (feature.kind != "numeric" or feature.tower != "item"):
            raise ValueError(
                f"rules.weight {name!r} is a {feature.kind} feature of the {feature.tower} tower, no number of items"
            )


def _check_events(spec: FeatureSpec) -> None:
    for event in (*spec.positives, *(spec.history.events or () if spec.history else ())):
        if event not in spec.known_events:
            raise ValueError(f"event {event!r} is none of {sorted(spec.known_events)}; add it to `events`")
    if not spec.positives:
        raise ValueError("positives must name at least one event")


def _check_zones(spec: FeatureSpec) -> None:
    known = [feature.name for feature in spec.of("user") if feature.kind == "categorical"]
    for name in spec.zone_features:
        if name not in known:
            raise ValueError(
                f"zone_feature {name!r} is no categorical feature of the user tower (those are {known}); declare it"
            )


def _check_past_texts(spec: FeatureSpec) -> None:
    said = [one.name for one in spec.of("user") if one.kind == "text" and one.source == "context"]
    past = [feature for feature in spec.features if feature.kind == "past_text"]
    if len(past) > 1:
        raise ValueError(f"features {[one.name for one in past]}: declare one past_text at most, since events say one")
    for feature in past:
        if spec.history is None:
            raise ValueError(f"feature {feature.name!r}: past texts are those of events of the history, which is null")
        if feature.of not in said:
            raise ValueError(
                f"feature {feature.name!r}: of {feature.of!r} is no text feature of the user tower with source: "
                f"context (those are {said}); declare it"
            )


def _check_told_events(spec: FeatureSpec) -> None:
    if len(set(spec.history_events)) == 1:
        raise ValueError(
            f"history.embed_event tells events apart, but {spec.history_events[0]!r} alone enters the history; name "
            "several in history.events, or leave the key out"
        )
    for event in spec.history_events:
        if spec.history_events.count(event) > 1:
            # Tables and requests number events by their places.
            raise ValueError(
                f"history.embed_event gives each event one vector, but {event!r} is named more than once; name it once"
            )
