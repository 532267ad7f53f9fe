"""Small logs of interactions that hypothesis draws, and the folders that channels read them from."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from pagoda.channels.base import Known, Ranked, TableSource
from pagoda.channels.factory import open_table, write_tables
from pagoda.config.channels import ChannelConfig
from pagoda.data.dataset import Dataset
from pagoda.data.spec import Categorical, FeatureSpec, MultiValued
from pagoda.data.window import Window, to_us
from tests.data.folders import write_dataset

START, DAYS = datetime(2024, 5, 1, tzinfo=UTC), 6
END = START + timedelta(days=DAYS)
END_US = to_us(END)
SPEC = FeatureSpec(
    positives=("click", "like"),
    features=(
        Categorical(name="device", tower="user", source="context", default="none"),
        Categorical(name="city", tower="user"),
        MultiValued(name="genres", tower="item"),
        Categorical(name="maker", tower="item"),
    ),
)
USERS = [{"user_id": 1, "city": "Oslo"}, {"user_id": 2, "city": "Rome"}, {"user_id": 3, "city": None}]
CITY = {1: "Oslo", 2: "Rome", 3: "", 4: ""}
"""As towers read it: user 4 has no profile."""
ITEMS = [
    {
        "item_id": item,
        "genres": [["a"], ["a", "b"], ["b", "b"], None, []][item % 5],
        "maker": [None, "x", "y"][item % 3],
    }
    for item in range(1, 13)
]


class Act(NamedTuple):
    """One interaction, so many minutes after `START`."""

    minute: int
    user: int
    item: int
    event: str
    device: str | None

    @property
    def positive(self) -> bool:
        return self.event != "impression"

    @property
    def hour(self) -> int:
        return self.minute // 60 % 24

    def within(self, days: float) -> bool:
        """Whether it lies in the last days."""
        return self.minute >= (DAYS - days) * 24 * 60


ACTS = st.builds(
    Act,
    minute=st.integers(0, DAYS * 24 * 60 + 600),
    user=st.integers(1, 4),
    item=st.integers(1, 12),
    event=st.sampled_from(["click", "like", "impression"]),
    device=st.sampled_from(["phone", "tv", None]),
)
LOGS = st.lists(ACTS, min_size=1, max_size=60).map(lambda acts: sorted(acts, key=lambda act: act.minute))


@contextmanager
def opened(declared: ChannelConfig, acts: list[Act], items: list[int] | None = None) -> Iterator[Any]:
    """The channel's table as a version has it whose window is the last day; `items` are its candidates."""
    with tempfile.TemporaryDirectory() as folder:
        data = write_dataset(Path(folder, "data"), parts=_parts(acts), users=USERS, items=ITEMS, spec=SPEC)
        candidates = np.array([row["item_id"] for row in ITEMS] if items is None else sorted(items), np.int64)
        source = TableSource(Dataset.open(data), Window(start=END - timedelta(days=1), end=END), candidates, no_vectors)
        write_tables(Path(folder, "channels"), [declared], source)
        yield open_table(Path(folder, "channels"), declared)


def known(past: Sequence[int] = (), moment_us: int = END_US, **values: Any) -> Known:
    """A user with these past items, the newest first."""
    return Known(np.array(past, np.int64), np.zeros(len(past), np.float32), moment_us, values)


def no_vectors() -> Any:
    raise AssertionError("item vectors cost time, and this channel reads none")


def all_of(ids: np.ndarray) -> np.ndarray:
    return np.ones(len(ids), np.bool_)


def ids_of(ranked: Ranked) -> list[int]:
    """Checked as any channel's answer."""
    assert ranked.scores.dtype == np.float32
    assert (np.diff(ranked.scores) <= 0).all()
    assert len(set(ranked.ids.tolist())) == len(ranked.ids)
    return list(map(int, ranked.ids))


def _parts(acts: list[Act]) -> list[tuple[str, list[dict[str, Any]]]]:
    by_day: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for act in acts:
        at = START + timedelta(minutes=act.minute)
        row = {"user_id": act.user, "item_id": act.item, "event": act.event, "timestamp": at, "device": act.device}
        by_day[f"date={at.date().isoformat()}"].append(row)
    return list(by_day.items())
