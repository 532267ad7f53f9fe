"""`pagoda data check` by several processes says what one says, in the same order."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pagoda.data.checks.check import check_dataset
from pagoda.data.checks.problems import Kind
from pagoda.data.spec import FeatureSpec
from pagoda.errors import UnavailableError
from tests.data.folders import Row, interaction, moment, write_dataset

STRINGS = FeatureSpec(id_type="string")


def a_bad_dataset(path: Path) -> Path:
    """Dates with a fault of their own, one that all have more of than are named, ties, and a damaged file."""
    days = []
    for number in range(4):
        day = f"2024-05-0{number + 1}"
        at = moment("10:00").replace(day=number + 1)
        rows: list[Row] = [interaction(at, f"u{n}", "i0") for n in range(9)] + [interaction(at, "u0", "i1")]
        rows += [interaction(at, f"u{n}", "i0", "wave") for n in range(8)]
        own = (
            [interaction(at, "", "i0")],
            [interaction(at, "u1", "gone")],
            [interaction(moment("09:00"), "u1", "i0")],
            [],
        )
        rows += own[number]
        days.append((f"date={day}", [{name: row[name] for name in row if name != "device"} for row in rows]))
    items = [{"item_id": name} for name in ("i0", "i1", "i1")]
    write_dataset(path, spec=STRINGS, parts=days, users=[{"user_id": "u0"}], items=items)
    damaged = path / "interactions" / "date=2024-05-04" / "part-0.parquet"
    content = bytearray(damaged.read_bytes())
    content[40:60] = bytes(20)
    damaged.write_bytes(bytes(content))
    return path


def test_the_findings_are_those_of_one_process_in_the_same_order(tmp_path: Path) -> None:
    path = a_bad_dataset(tmp_path / "d")
    one = check_dataset(path, 1)
    assert {Kind.EMPTY_ID, Kind.UNKNOWN_EVENT, Kind.UNKNOWN_ITEM, Kind.ORDER, Kind.DUPLICATE, Kind.CORRUPT} <= set(
        one.report.counts
    )
    several = check_dataset(path, 3)
    assert several.as_dict() == one.as_dict()
    assert list(several.report.counts.items()) == list(one.report.counts.items())
    assert one.tied_share > 0


def test_a_process_that_is_killed_is_said_and_nothing_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = a_bad_dataset(tmp_path / "d")
    monkeypatch.setattr("pagoda.data.checks.check.check_partition", _die)
    with pytest.raises(UnavailableError, match="was killed"):
        check_dataset(path, 2)


def _die(check: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
