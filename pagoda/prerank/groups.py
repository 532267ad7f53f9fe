"""Groups of features of a user and an item, which the pre-ranker's gates weigh and its selection keeps or drops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pagoda.data.spec import Categorical, FeatureSpec, MultiValued
from pagoda.errors import ConfigError
from pagoda.model.encoder import Encoder, Field

USER_VECTOR, ITEM_VECTOR, PRODUCT, COSINE = "user_vector", "item_vector", "product", "cosine"
VECTORS = (USER_VECTOR, ITEM_VECTOR, PRODUCT)
"""Vectors themselves, or as long as these."""
POPULARITY, NEAR = "popularity", "near"
HALF_LIVES_HOURS = (1.0, 6.0, 24.0, 168.0)
"""By which what a user did fades, in the numbers of `NEAR` after its first."""
_USER, _ITEM = "user.", "item."
SHARE, SINCE = "share.", "since."
"""Begin the names of what is crossed: the share of the user's history that is of the item's category, and the time
since its last event there."""


class Groups(NamedTuple):
    """Some groups, and the encoded fields among them; a field has its group's name."""

    names: tuple[str, ...]
    user: tuple[Field, ...]
    """Of a user, whatever the item."""
    pair: tuple[Field, ...]
    """Of an item, or of a user and an item."""


def group_names(spec: FeatureSpec) -> tuple[str, ...]:
    """All groups that a dataset has."""
    crossed = [mark + name for name in categories(spec) for mark in (SHARE, SINCE)]
    users, items = ([feature.name for feature in spec.of(tower)] for tower in ("user", "item"))
    return (
        *(USER_VECTOR, ITEM_VECTOR, PRODUCT, COSINE, POPULARITY),
        *(_ITEM + name for name in items),
        *(_USER + name for name in users),
        *([NEAR, *crossed] if spec.history else []),
    )


def number_groups(spec: FeatureSpec) -> tuple[str, ...]:
    """All but vectors, which a network learns by heart before it learns from them, unless it is shown very much."""
    return tuple(name for name in group_names(spec) if name not in VECTORS)


def categories(spec: FeatureSpec) -> tuple[str, ...]:
    """Item features that histories are crossed by."""
    return tuple(one.name for one in spec.of("item") if isinstance(one, Categorical | MultiValued))


def groups_of(encoder: Encoder, names: Sequence[str]) -> Groups:
    """Some groups in the order in which all networks have them.

    Raises:
        ConfigError: One is unknown, or none says anything of items.
    """
    known, kept = group_names(encoder.spec), in_order(encoder.spec, names)
    user = {_USER + field.name: field for field in encoder.fields("user")}
    pair = {_ITEM + field.name: field for field in encoder.fields("item")}
    numbers = {name: Field(name, "dense", 1) for name in known if name.startswith((POPULARITY, SHARE, SINCE))}
    near = {NEAR: Field(NEAR, "dense", 1 + len(HALF_LIVES_HOURS))}
    return Groups(kept, _named(user, kept), _named({**pair, **near, **numbers}, kept))


def in_order(spec: FeatureSpec, names: Sequence[str]) -> tuple[str, ...]:
    """Names of groups, in the order in which all networks have them.

    Raises:
        ConfigError: One is unknown, or none says anything of items.
    """
    known = group_names(spec)
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"prerank.features: there is no group {unknown[0]!r}; these are: {', '.join(known)}")
    kept = tuple(name for name in known if name in names)
    if not any(map(says_of_items, kept)):
        raise ConfigError(f"prerank.features: {', '.join(kept)} say nothing of items; add {PRODUCT}, say")
    return kept


def without_vectors(spec: FeatureSpec, names: Sequence[str]) -> tuple[str, ...]:
    """Those of some groups, as `in_order`, that are no vectors, so that it says nothing of them how these lie; at least
    the cosine."""
    numbers = [name for name in names if name not in VECTORS]
    return in_order(spec, numbers if any(map(says_of_items, numbers)) else [*numbers, COSINE])


def item_features(names: Sequence[str]) -> list[str]:
    """Features of items that groups are made of."""
    marks = (_ITEM, SHARE, SINCE)
    return list(dict.fromkeys(name.partition(".")[2] for name in names if name.startswith(marks)))


def says_of_items(name: str) -> bool:
    """Whether a group tells items apart; what is of users alone does not."""
    return name != USER_VECTOR and not name.startswith(_USER)


def _named(fields: dict[str, Field], names: Sequence[str]) -> tuple[Field, ...]:
    return tuple(fields[name]._replace(name=name) for name in names if name in fields)
