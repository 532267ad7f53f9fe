"""Versions as a tree: each full one with the incrementals that learned on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pagoda.errors import RequestError
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.standing import as_json

_TREES = 30
"""Full versions on a page; with an update a day, a month."""


def lineage(log: ReleaseLog, before: int = 0) -> Mapping[str, Any]:
    """The latest full versions, newest first, each with its incrementals, oldest first.

    Args:
        log: The release log.
        before: Only full versions older than this one; 0: any.

    Raises:
        UnavailableError: The release log does not answer.
    """
    state = log.state()
    fulls = sorted(
        (n for n, one in state.versions.items() if one.update == "full" and not 0 < before <= n), reverse=True
    )
    trees: dict[int, dict[str, Any]] = {
        number: {**as_json(state, state.versions[number]), "incrementals": []} for number in fulls[:_TREES]
    }
    for number in sorted(state.versions):
        record = state.versions[number]
        if record.base in trees:
            trees[record.base]["incrementals"].append(as_json(state, record))
    return {"trees": list(trees.values()), "older": fulls[_TREES - 1] if len(fulls) > _TREES else 0}


def version(log: ReleaseLog, number: int) -> Mapping[str, Any]:
    """One version.

    Raises:
        RequestError: There is none of this number.
        UnavailableError: The release log does not answer.
    """
    state = log.state()
    return {"version": as_json(state, state.version(number))}


def difference(log: ReleaseLog, one: int, other: int) -> Mapping[str, Any]:
    """Two versions with each metric and tag of either.

    Raises:
        RequestError: There are none of these numbers, or they are one.
        UnavailableError: The release log does not answer.
    """
    if one == other:
        raise RequestError(f"versions {one}..{other}: name two, `2..4` for example")
    state = log.state()
    two = [as_json(state, state.version(number)) for number in (one, other)]
    rows = {
        part: [
            {"name": name, "values": values, "same": values[0] == values[1]}
            for name in sorted({*two[0][part], *two[1][part]})
            for values in [[version[part].get(name) for version in two]]
        ]
        for part in ("metrics", "tags")
    }
    return {"versions": two, **rows}
