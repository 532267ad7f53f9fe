"""The benchmark of channels: any set by one rule, the test's split left alone where the rule is chosen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.channels.__main__ import main
from benchmarks.channels.document import document
from benchmarks.channels.job import ChannelsJob, one, split_of
from benchmarks.leaderboard.sets import sets_of
from pagoda.data.dataset import Dataset
from pagoda.errors import DataError

SECONDS = range(1_500_000_000, 1_500_050_000, 100)


def interactions(path: Path) -> None:
    """Users who like nine items each again and again, most of 300 items seldom."""
    rng = np.random.default_rng(0)
    users = rng.integers(30, size=len(SECONDS))
    items = (users * 10 + rng.integers(9, size=len(SECONDS))) % 300
    rows = zip(users, items, SECONDS, strict=True)
    path.write_text("user_id,item_id,timestamp\n" + "\n".join(",".join(map(str, row)) for row in rows))


def test_validation_knows_nothing_of_what_the_test_asks(tmp_path: Path) -> None:
    interactions(tmp_path / "log.csv")
    (which,) = sets_of([tmp_path / "log.csv"])
    test, validation = (split_of(ChannelsJob(which, tmp_path / "kept", choosing)) for choosing in (False, True))
    assert validation.asked.end <= test.asked.start
    rows = Dataset.open(tmp_path / "kept" / "validation")
    assert rows.span().end <= test.asked.start
    assert rows.count() == Dataset.open(tmp_path / "kept" / "time").count(test.learned)
    assert rows.count(validation.learned) == pytest.approx(0.8 * rows.count(), abs=2)


def test_a_set_without_times_has_no_part_to_choose_by(tmp_path: Path) -> None:
    (tmp_path / "toy.txt").write_text("1 5 6 7 8\n2 6 9 5\n")
    (which,) = sets_of([tmp_path / "toy.txt"])
    with pytest.raises(DataError, match="toy: has no times"):
        split_of(ChannelsJob(which, tmp_path / "kept", validation=True))
    assert split_of(ChannelsJob(which, tmp_path / "kept", validation=False)).name == "leave-one-out"


def test_a_set_says_what_is_found_beside_the_towers_and_by_which_channel(tmp_path: Path) -> None:
    interactions(tmp_path / "log.csv")
    (which,) = sets_of([tmp_path / "log.csv"])
    (row,) = document({"log": one(ChannelsJob(which, tmp_path / "kept", validation=False))})
    assert row["set"] == "log"
    assert row["gain"] == pytest.approx(row["recall@200_merged"] - row["recall@200_two_tower"])
    assert row["gain_low"] <= row["gain"] <= row["gain_high"]
    assert all(0 < row[f"coverage_{name}"] <= 1 for name in ("two_tower", "merged"))
    assert set(row["channels"]) == {"two_tower", "item_to_item", "popular"}


@pytest.mark.long
def test_the_whole_of_it_leaves_out_what_cannot_be_asked_and_asks_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interactions(tmp_path / "log.csv")
    (tmp_path / "moment.csv").write_text("user_id,item_id,timestamp\n" + "1,2,1500000000\n1,3,1500000000\n")
    out = tmp_path / "bench" / "channels.json"
    files = [str(tmp_path / name) for name in ("log.csv", "moment.csv")]
    monkeypatch.setattr("sys.argv", ["channels", *files, "--sets-only", "--workers", "1", "--out", str(out)])
    main()
    (row,) = json.loads(out.read_text())
    assert row["set"] == "log"
    assert "moment: left out" in capsys.readouterr().err
    (kept,) = tmp_path.rglob("test.json")
    written = kept.stat().st_mtime_ns
    main()
    assert json.loads(out.read_text()) == [row] and kept.stat().st_mtime_ns == written
