"""A replay with real training: nothing is answered by what has learned it, and every policy is what its name says."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.replay import __main__ as benchmark
from benchmarks.replay.__main__ import assemble
from benchmarks.replay.document import draw_sweep, entry, pool, sweep_tables
from benchmarks.replay.job import Job
from benchmarks.replay.settings import DRIFTS, FINAL_SEED, FURTHER_SEEDS
from pagoda.cli.main import app
from pagoda.config.training import TrainConfig, parse_config
from pagoda.data.dataset import Dataset
from pagoda.data.spec import FeatureSpec, History, PastText, Text
from pagoda.data.window import Window
from pagoda.errors import ConfigError
from pagoda.evaluation.offline import answer
from pagoda.evaluation.ranking import Ranks
from pagoda.evaluation.report import Estimate
from pagoda.replay import replay as replaying
from pagoda.replay.dataset_view import view_without_history
from pagoda.replay.plan import Policy, ReplayConfig, make_plan
from pagoda.replay.report import ReplayReport
from pagoda.training.full.update import full_update
from pagoda.version_files.open_version import OpenVersion
from tests.data.folders import write_dataset as write_folder
from tests.evaluation.worlds import HOUR, Event, write_dataset

ITEMS, TOTAL_HOURS = 40, 90
CONFIG = ReplayConfig(first=timedelta(days=1), every=timedelta(hours=4))
QUIET = (52, 60)
"""Hours without a click, so that two steps are empty."""


def train() -> TrainConfig:
    return parse_config("""
batch_size: 64
model:
  dim: 8
  feature_dim: 4
  user: {blocks: [{kind: mlp, hidden: [16]}]}
  item: {blocks: [{kind: mlp, hidden: [16]}]}
""")


def events(seed: int = 0, other_after: int = TOTAL_HOURS) -> list[Event]:
    """Users of four kinds click their own; from hour `other_after` on another log goes on."""
    before, after = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    found = []
    for hour in range(TOTAL_HOURS):
        rng = before if hour < other_after else after
        for user in rng.choice(30, 6, replace=False) if not QUIET[0] <= hour < QUIET[1] else ():
            item = int(rng.integers(ITEMS // 4)) * 4 + int(user) % 4
            found.append((int(user), 100 + item, hour, "click"))
    return found


def test_a_view_without_history_is_without_the_texts_of_its_events(tmp_path: Path) -> None:
    said = (Text(name="query", tower="user", source="context"), PastText(name="searches", of="query"))
    write_folder(tmp_path / "d", spec=FeatureSpec(features=said))
    spec = Dataset.open(view_without_history(tmp_path / "d", tmp_path / "view")).spec
    assert (spec.history, [feature.name for feature in spec.features]) == (None, ["query"])


def walk(
    path: Path, log: list[Event], monkeypatch: pytest.MonkeyPatch
) -> tuple[ReplayReport, dict[Policy, Ranks], Any]:
    """Replay a log; also the ranks of each policy and the questions."""
    noted: dict[str, Any] = {}
    estimating = replaying.Estimating

    def note(questions: Any, ranks: dict[Policy, Ranks], found: Any, seed: int) -> Any:
        noted.update(questions=questions, ranks=ranks)
        return estimating(questions, ranks, found, seed)

    monkeypatch.setattr(replaying, "Estimating", note)
    dataset = write_dataset(path, log, ITEMS, FeatureSpec(history=History(length=3)))
    report = replaying.replay(dataset, CONFIG, train(), path.parent)
    monkeypatch.undo()
    return report, noted["ranks"], noted["questions"]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ReplayReport, dict[Policy, Ranks], Any]:
    folder = tmp_path_factory.mktemp("replayed")
    with pytest.MonkeyPatch.context() as monkeypatch:
        return folder, *walk(folder / "data", events(), monkeypatch)


def test_what_comes_later_changes_no_earlier_answer(
    replayed: tuple[Path, ReplayReport, dict[Policy, Ranks], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = 70  # not a moment of an update: the step around it has begun
    _, _, ranks, questions = replayed
    _, other_ranks, other = walk(tmp_path / "data", events(other_after=turn), monkeypatch)
    count = int((questions.rows.times_us < turn * HOUR).sum())
    assert count > 50
    np.testing.assert_array_equal(questions.rows.items[:count], other.rows.items[:count])
    for policy in Policy:
        np.testing.assert_array_equal(ranks[policy].above[:count], other_ranks[policy].above[:count])
    after = [ranks[Policy.BOTH].above[count:].tolist(), other_ranks[Policy.BOTH].above[count:].tolist()]
    assert after[0] != after[1]


def test_policies_differ_from_the_moment_their_updates_serve(
    replayed: tuple[Path, ReplayReport, dict[Policy, Ranks], Any],
) -> None:
    _, report, ranks, questions = replayed
    hour = questions.rows.times_us // HOUR
    frozen = ranks[Policy.FROZEN].above
    first_step, first_day = hour < 24 + 4, hour < 48
    for policy in Policy:
        np.testing.assert_array_equal(ranks[policy].above[first_step], frozen[first_step])
    np.testing.assert_array_equal(ranks[Policy.FULL].above[first_day], frozen[first_day])
    np.testing.assert_array_equal(ranks[Policy.BOTH].above[first_day], ranks[Policy.INCREMENTAL].above[first_day])
    assert (ranks[Policy.INCREMENTAL].above[first_day] != frozen[first_day]).any()
    assert (ranks[Policy.FULL].above[~first_day] != frozen[~first_day]).any()
    # The first step after a full update is answered by that version alone.
    fresh = (hour >= 72) & (hour < 76)
    np.testing.assert_array_equal(ranks[Policy.BOTH].above[fresh], ranks[Policy.FULL].above[fresh])
    assert report.overall.rows == len(hour) == report.available - report.repeats


def test_frozen_is_the_first_version_as_offline_evaluation_sees_it(
    replayed: tuple[Path, ReplayReport, dict[Policy, Ranks], Any], tmp_path: Path
) -> None:
    folder, report, ranks, questions = replayed
    dataset = Dataset.open(folder / "data")
    files = full_update(dataset, report.first, None, train(), tmp_path / "v")
    found = answer(
        OpenVersion(files, dataset), dataset, report.window, protocol="each", limit=10_000, seed=0, shown_at=()
    )
    np.testing.assert_array_equal(found.rows.items, questions.rows.items)
    np.testing.assert_array_equal(found.ranks["live"].above, ranks[Policy.FROZEN].above)


def test_costs_count_the_updates_of_each_policy(replayed: tuple[Path, ReplayReport, dict[Policy, Ranks], Any]) -> None:
    folder, report, _, _ = replayed
    costs = report.costs
    assert costs[Policy.FROZEN].seconds == 0
    assert [costs[policy].full_updates for policy in Policy] == [0, 2, 0, 2]
    steps = make_plan(Dataset.open(folder / "data").span(), CONFIG).step_count
    # Nothing follows the last step, and two are empty.
    assert [costs[policy].incremental_updates for policy in Policy] == [0, 0, steps - 3, steps - 3]
    assert costs[Policy.BOTH].seconds > costs[Policy.FULL].seconds > 0
    assert [path.name for path in folder.iterdir()] == ["data"]  # no version is left


def test_windows_of_several_days_follow_one_another_to_the_end_of_the_log() -> None:
    span = Window(start=datetime(2026, 3, 1, tzinfo=UTC), end=datetime(2026, 3, 9, 7, tzinfo=UTC))
    plan = make_plan(span, CONFIG.model_copy(update={"window_days": 3}))
    assert [(day.start, day.end) for day in plan.days] == [
        (datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 5, tzinfo=UTC)),
        (datetime(2026, 3, 5, tzinfo=UTC), datetime(2026, 3, 8, tzinfo=UTC)),
        (datetime(2026, 3, 8, tzinfo=UTC), span.end),
    ]
    steps = [step for day in plan.days for step in plan.steps(day)]
    assert len(steps) == plan.step_count
    assert [step.start for step in steps[1:]] == [step.end for step in steps[:-1]]


def test_cli_writes_report_and_plot(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", events(), ITEMS, FeatureSpec())
    (tmp_path / "train.yaml").write_text(train().to_yaml())
    out = tmp_path / "results" / "replay"
    arguments = ["replay", "--data", str(tmp_path / "data"), "--config", str(tmp_path / "train.yaml")]
    options = ["--first", "2d", "--every", "12h", "--policies", "frozen,incremental", "--without-history"]
    done = CliRunner().invoke(app, [*arguments, *options, "--out", str(out), "--output", "json"])
    assert done.exit_code == 0, done.output
    report = ReplayReport.model_validate_json((out / "replay.json").read_text())
    assert json.loads(done.stdout)["overall"] == json.loads(report.model_dump_json())["overall"]
    assert list(report.overall.policies) == ["frozen", "incremental"]
    assert report.history == 0
    assert sorted(path.name for path in out.iterdir()) == ["replay.json", "replay.png"]
    again = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert "exists already" in str(again.exception)


def test_validation_is_refused_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "ask", None)
    dataset = write_dataset(tmp_path / "data", events(), ITEMS, FeatureSpec())
    config = TrainConfig.model_validate(train().model_dump() | {"validation": {"hours": 1}})
    with pytest.raises(ConfigError, match="validation holds back the end of a window"):
        replaying.replay(dataset, CONFIG, config, tmp_path)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--every", "half an hour", "no duration, like 30m"),
        ("--every", "2d", "every"),
        ("--full-at", "25:00", "neither midnight nor"),
        ("--policies", "hourly", "full\\+incremental"),
    ],
)
def test_cli_names_what_is_wrong(tmp_path: Path, option: str, value: str, message: str) -> None:
    done = CliRunner().invoke(app, ["replay", "--data", "x", "--out", str(tmp_path / "out"), option, value])
    assert done.exception is not None
    with pytest.raises(type(done.exception), match=message):
        raise done.exception


def test_the_benchmark_has_every_promised_figure(
    replayed: tuple[Path, ReplayReport, dict[Policy, Ranks], Any], tmp_path: Path
) -> None:
    _, report, _, _ = replayed
    jobs = [Job(drift, history, 7, None) for drift in (*DRIFTS, None) for history in (False, True)]
    document = assemble(dict.fromkeys(jobs, report))
    for name in ("world", "movielens-100k"):
        for policy in ("frozen", "full", "incremental", "full+incremental"):
            found = document[name][policy]
            assert set(found) == {"recall@50", "low", "high", "cost_seconds"}
            assert found["low"] <= found["recall@50"] <= found["high"]
        for minus in ("full", "incremental"):
            difference = document[name]["paired"][f"full+incremental minus {minus}"]
            assert difference["low"] <= difference["difference"] <= difference["high"]
    assert list(assemble({Job(None, history=False, seed=7, config=None): report})) == ["movielens-100k", "sweep"]
    assert list(document["sweep"]) == ["none", "low", "default", "high"]
    assert all(set(found) == {"without_history", "with_history"} for found in document["sweep"].values())
    draw_sweep(document["sweep"], tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("drift", "low", "high", "tie"),
    [
        ("none", -0.004, -0.001, True),
        ("none", -0.006, -0.001, False),
        ("low", 0.001, 0.004, False),
        ("low", -0.001, 0.02, True),
    ],
)
def test_a_small_difference_is_a_tie_where_nothing_drifts_alone(drift: str, low: float, high: float, tie: bool) -> None:
    pair = {"difference": (low + high) / 2, "low": low, "high": high}
    paired = {f"full+incremental minus {other}": pair for other in ("full", "incremental")}
    result = {**{policy.value: {"recall@50": 0.5} for policy in Policy}, "paired": paired}
    console = Console(width=120, record=True)
    console.print(sweep_tables({"sweep": {drift: {"without_history": result}}}))
    assert console.export_text().count("tie") == (2 if tie else 0)


def test_the_benchmark_goes_on_where_it_was(
    replayed: tuple[Path, ReplayReport, dict[Policy, Ranks], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, report, _, _ = replayed
    ran: list[list[str]] = []

    def run(jobs: list[Job], workers: int) -> Iterator[tuple[Job, ReplayReport]]:
        ran.append([job.name for job in jobs])
        yield from ((job, report) for job in jobs)

    monkeypatch.setattr(benchmark, "run", run)
    out = tmp_path / "bench" / "replay.json"
    for more in (["none"], ["none", "default"], ["default", "--seeds", "101"]):
        monkeypatch.setattr(
            "sys.argv", ["replay", "--history", "without", "--no-movielens", "--out", str(out), "--drifts", *more]
        )
        benchmark.main()
    results = (FINAL_SEED, *FURTHER_SEEDS)
    assert ran == [
        [f"world-{drift}-without_history-{seed}" for seed in seeds]
        for drift, seeds in (("none", results), ("default", results), ("default", (101,)))
    ]
    assert json.loads(out.read_text())["paired"] == entry({101: report})["paired"]


def test_worlds_together_are_surer_than_each() -> None:
    one, other = Estimate(value=0.1, low=0.07, high=0.13), Estimate(value=0.2, low=0.16, high=0.24)
    assert pool([one], [5]) == one
    both = pool([one, other], [300, 100])
    assert both.value == pytest.approx(0.125)
    assert both.high - both.value == both.value - both.low == pytest.approx(np.hypot(0.75 * 0.03, 0.25 * 0.04))
