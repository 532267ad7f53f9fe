"""The leaderboard: nothing after a split's moment is known, every row is kept, and gains are paired by user."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.kept_run import KeptRun, UserValues, read_run
from benchmarks.leaderboard.__main__ import jobs_of, main
from benchmarks.leaderboard.document import document
from benchmarks.leaderboard.job import RowJob, one
from benchmarks.leaderboard.questions import ask_users
from benchmarks.leaderboard.sets import BenchmarkSet, sets_of
from benchmarks.leaderboard.splits import SetSplit, open_splits
from benchmarks.leaderboard.tables import tables
from pagoda.data.imports.sequences import LAST
from pagoda.data.window import Window
from pagoda.errors import ConfigError, DataError
from pagoda.simulation import WorldConfig

USERS = 30


def interactions(path: Path) -> list[tuple[int, int, int]]:
    """Users who like three items each again and again, in a file: user, item, second."""
    rng = np.random.default_rng(0)
    rows = [(int(rng.integers(USERS)), second) for second in range(1_500_000_000, 1_500_060_000, 100)]
    log = [(user, int((user + rng.integers(9)) % 40), second) for user, second in rows]
    path.write_text("user_id,item_id,timestamp\n" + "\n".join(",".join(map(str, row)) for row in log))
    return log


def test_a_time_split_knows_nothing_of_its_moment_or_later(tmp_path: Path) -> None:
    log = interactions(tmp_path / "log.csv")
    (which,) = sets_of([tmp_path / "log.csv"])
    _, split = open_splits(which, tmp_path / "splits")
    assert split.name == "time"
    cut = split.asked.start.timestamp()
    assert [second < cut for _, _, second in log].count(True) == pytest.approx(0.8 * len(log), abs=1)
    before = {(user, item) for user, item, second in log if second < cut}
    after = {(user, item) for user, item, second in log if second >= cut}
    asked = ask_users(tmp_path / "splits", split)
    users, items = asked.rows.users, asked.catalogue
    found = asked.relevant
    assert set(zip(users[found.rows].tolist(), items[found.items].tolist(), strict=True)) == after - before
    had = set(zip(users[asked.had.rows].tolist(), items[asked.had.items].tolist(), strict=True))
    assert had == {pair for pair in before if pair[0] in set(users.tolist())}
    padded = asked.histories.padded()
    last = {user: item for user, item, second in log if second < cut}
    assert padded.items[:, -1].tolist() == [last[user] for user in users.tolist()]
    assert (padded.times_us < split.asked.start_us).all()


def test_ids_that_are_strings_are_asked_alike(tmp_path: Path) -> None:
    log = interactions(tmp_path / "numbers.csv")
    named = "\n".join(f"user {user},item {item},{second}" for user, item, second in log)
    (tmp_path / "names.csv").write_text("user_id,item_id,timestamp\n" + named)
    for number in (0, 1):
        numbers, names = (
            ask_users(tmp_path / stem, open_splits(sets_of([tmp_path / f"{stem}.csv"])[0], tmp_path / stem)[number])
            for stem in ("numbers", "names")
        )
        assert sorted(numbers.relevant.counts) == sorted(names.relevant.counts)
        assert len(numbers.had.rows) == len(names.had.rows)


def test_leaving_one_out_asks_for_the_last_new_item_of_each_user(tmp_path: Path) -> None:
    log = interactions(tmp_path / "log.csv")
    split, _ = open_splits(sets_of([tmp_path / "log.csv"])[0], tmp_path / "splits")
    asked = ask_users(tmp_path / "splits", split)
    first = {(user, item): None for user, item, _ in log}
    last = dict(first.keys())
    assert dict(zip(asked.rows.users.tolist(), asked.rows.items.tolist(), strict=True)) == last
    assert asked.relevant.counts.tolist() == [1] * len(last)
    assert len(asked.had.rows) == len(first) - len(last)


def test_sequences_have_no_time_split(tmp_path: Path) -> None:
    (tmp_path / "toy.txt").write_text("1 5 6 7 8\n2 6 9 5\n")
    (which,) = sets_of([tmp_path / "toy.txt"])
    (split,) = open_splits(which, tmp_path / "splits")
    assert (split.name, split.asked.start) == ("leave-one-out", LAST)
    job = RowJob("toy", tmp_path, split, "EASE", 0)
    run = KeptRun(
        {"test": UserValues(np.arange(2), {name: np.zeros(2) for name in METRICS})}, dict.fromkeys(SHOWN, 0.5)
    )
    assert "toy has an order but no times, so there is no time split" in shown({job: run}, ["toy"])


def test_files_of_one_name_and_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv: no such file"):
        sets_of([tmp_path / "nowhere.csv"])
    (tmp_path / "b").mkdir()
    paths = [tmp_path / "log.csv", tmp_path / "b" / "log.csv"]
    for path in paths:
        path.touch()
    with pytest.raises(ConfigError, match="two files are called log"):
        sets_of(paths)


def test_a_row_is_kept_and_a_changed_file_is_another_set(tmp_path: Path) -> None:
    interactions(tmp_path / "log.csv")
    (which,) = sets_of([tmp_path / "log.csv"])
    jobs = [job for job in jobs_of(which, tmp_path / "kept", [3, 4]) if job.model in ("popularity", "EASE", "iALS")]
    assert [(job.model, job.seed) for job in jobs[:4]] == [("popularity", 3), ("EASE", 3), ("iALS", 3), ("iALS", 4)]
    found = dict(one(job) for job in jobs[4:])
    for job, run in found.items():
        kept = read_run(job.kept_at)
        assert kept is not None and kept.facts == run.facts
        np.testing.assert_array_equal(kept.asked["test"].matrix, run.asked["test"].matrix)
    assert read_run(jobs[0].kept_at) is None
    values = [run.asked["test"].values["recall@20"].mean() for run in found.values()]
    assert values[1] > values[0], "who has what tells more than popularity"
    (row, *_) = document(found)
    assert (row["set"], row["split"], row["model"], row["seed"]) == ("log", "time", "popularity", 3)
    assert 0 < row["coverage@10"] <= 1 and 0 <= row["tail@10"] <= 1
    assert row["ndcg@10_low"] <= row["ndcg@10"] <= row["ndcg@10_high"]
    with (tmp_path / "log.csv").open("a") as file:
        file.write("\n1,2,1500060000")
    assert jobs_of(BenchmarkSet("log", tmp_path / "log.csv"), tmp_path / "kept", [0])[0].kept_at != jobs[0].kept_at


def test_towers_learn_a_world_with_its_features(tmp_path: Path) -> None:
    world = BenchmarkSet("world", WorldConfig(users=60, items=80, days=3, events=6_000, seed=1, new_users=0))
    (time, *_) = [job for job in jobs_of(world, tmp_path, [0]) if (job.split.name, job.model) == ("time", "default")]
    popularity = replace(time, model="popularity")
    found = {job.model: one(job)[1].asked["test"].values["recall@20"].mean() for job in (time, popularity)}
    assert found["default"] > found["popularity"]


def test_tables_fit_and_tell_chance_from_gain() -> None:
    rng = np.random.default_rng(0)
    window = Window(start="2020-01-01T00:00:00Z", end="2020-01-02T00:00:00Z")
    split = SetSplit(name="time", learned=window, asked=window)
    base = rng.random(400)
    means = {"popularity": base, "transitions": base + rng.normal(0, 0.1, 400) * 0.01, "sequence": base + 0.1}
    found = {}
    for model, values in means.items():
        for seed in range(1 if model == "popularity" else 3):
            asked = UserValues(np.arange(400), dict.fromkeys(METRICS, values + 0.001 * seed * (model == "sequence")))
            found[RowJob("a-rather-long-name-of-a-set", Path(), split, model, seed)] = KeptRun(
                {"test": asked}, dict.fromkeys(SHOWN, 0.25 + 0.01 * seed)
            )
    text = shown(found, [])
    assert "400 users" in text and "+0.1010" in text
    row = next(line for line in text.splitlines() if line.startswith("transitions") and "(" in line)
    assert row.count("(") == 1, "what may be chance is in brackets, a gain over chance is not"
    assert "±.0025" in text, "of three seeds that lie 0.001 apart: 4.303 / sqrt(3) times that"


def shown(found: dict[RowJob, KeptRun], without_times: list[str]) -> str:
    console = Console(width=100, highlight=False)
    with console.capture() as captured:
        console.print(tables(found, without_times))
    text = captured.get()
    assert "…" not in text, "nothing is cut off"
    return text


METRICS = ("hr@10", "ndcg@10", "recall@20", "recall@50")
SHOWN = ("coverage@10", "tail@10")


@pytest.mark.long
def test_the_whole_of_it_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interactions(tmp_path / "log.csv")
    out = tmp_path / "bench" / "leaderboard.json"
    arguments = ["leaderboard", str(tmp_path / "log.csv"), "--seeds", "0", "1", "--workers", "2", "--out", str(out)]
    monkeypatch.setattr("sys.argv", arguments)
    main()
    rows = json.loads(out.read_text())
    assert len(rows) == 2 * (4 + 3 * 2), "four models without chance, three with, on two splits"
    kept = sorted(tmp_path.rglob("*.npz"))
    times = {path: path.stat().st_mtime_ns for path in kept}
    stopped = next(path for path in kept if path.name == "time-iALS-1.npz")
    stopped.unlink()
    main()
    again = json.loads(out.read_text())
    assert {path for path in kept if path.stat().st_mtime_ns != times[path]} == {stopped}
    assert [{**row, "cpu_seconds": 0} for row in again] == [{**row, "cpu_seconds": 0} for row in rows]
