"""Interactions of long ago are deleted from a dataset, a date at a time.

First one file says from which date on interactions are kept: with it, older ones are gone for all readers at once. Only
then they are deleted, so that a kill leaves no dataset that is half there; the next run goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from pagoda.append_log.store import open_store
from pagoda.data.horizon import HORIZON_FILE, Horizon, parse_horizon
from pagoda.data.increments import TFRECORD_FOLDER, arrivals_of
from pagoda.data.layout import partition_date
from pagoda.errors import RequestError
from pagoda.generations.state import ReleaseState
from pagoda.storage.copies import children, delete, replace, sizes


@dataclass(frozen=True)
class OldInteractions:
    """What may be deleted of a dataset."""

    before: date
    """The first date that stays."""
    partitions: tuple[str, ...]
    refused: tuple[str, ...]
    """Files of events that fitted no column."""
    bytes: int
    waits: str = ""
    """Why not more, for people."""


def plan_partitions(dataset: str, state: ReleaseState, now: datetime, days: int) -> OldInteractions:
    """What could be deleted now; nothing is changed.

    Args:
        dataset: Folder or URL.
        state: What the release log says. Kept is what some version that is left has not learned: an update that starts
            from it, also after a rollback, needs it.
        now: The present.
        days: How long interactions stay.

    Raises:
        RequestError: It is no whole day.
    """
    if days < 1:
        raise RequestError(f"--interactions {days}: must be at least 1 day")
    url, wanted = dataset.rstrip("/"), (now.astimezone(UTC) - timedelta(days=days)).date()
    ends = [one.window.end for one in state.versions.values() if one.update == "full" and not one.pruned]
    learned = min(ends).astimezone(UTC).date() if ends else date.min
    before, waits = min(wanted, learned), ""
    if learned < wanted:
        waits = (
            "no version has learned them yet" if not ends else f"a version that is left learned up to {learned} alone"
        )
    known = sizes(f"{url}/interactions")
    old = sorted({name.split("/")[0] for name in known if (day := partition_date(name.split("/")[0])) and day < before})
    gone = set(old)
    size = sum(count for name, count in known.items() if name.split("/")[0] in gone)
    refused = tuple(name for name in children(f"{url}/refused") if _arrived_before(name, before))
    return OldInteractions(before, tuple(old), refused, size, waits)


def delete_partitions(dataset: str, old: OldInteractions) -> None:
    """Delete what was planned. Killed anywhere, the next run goes on."""
    url = dataset.rstrip("/")
    if old.partitions:
        _say(url, old.before)
    for name in old.partitions:
        # First, since a date that has no interactions any more is not looked at again.
        delete(f"{url}/{TFRECORD_FOLDER}/{name}")
        delete(f"{url}/interactions/{name}")
    for name in old.refused:
        delete(f"{url}/refused/{name}")


def _say(url: str, before: date) -> None:
    found = open_store(url).read([HORIZON_FILE])
    if found and parse_horizon(found[0], f"{url}/{HORIZON_FILE}") >= before:
        return
    replace(f"{url}/{HORIZON_FILE}", Horizon(interactions_from=before).model_dump_json().encode())


def _arrived_before(name: str, before: date) -> bool:
    span = arrivals_of(name.replace(".jsonl", ".parquet"))
    return span is not None and datetime.fromtimestamp(span.end_ms / 1000, UTC).date() < before
