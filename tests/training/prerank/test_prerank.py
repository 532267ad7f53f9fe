"""A full update trains a pre-ranker that orders what is shown better than the towers, and changes nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pagoda.data.dataset import Dataset
from pagoda.errors import ConfigError, DataError
from pagoda.model.program_file import read_program
from pagoda.prerank.groups import in_order, number_groups, without_vectors
from pagoda.prerank.report import PrerankReport
from pagoda.training.full.refusals import refuse_what_the_data_lacks
from pagoda.training.full.update import full_update
from pagoda.version_files.full import CONFIG, PRERANK, PRERANK_PROGRAM, FullVersionFiles
from tests.training.worlds import SPEC, config, hours, make

from .worlds import GROUPS, make_shown, pre_ranked, until
from .worlds import PRERANK as HOW

WINDOW = hours(0, 40)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_shown(tmp_path_factory.mktemp("shown") / "data")


@pytest.fixture(scope="module")
def version(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> FullVersionFiles:
    return full_update(dataset, WINDOW, None, HOW, tmp_path_factory.mktemp("version") / "out")


def report_of(files: FullVersionFiles) -> PrerankReport:
    return PrerankReport.model_validate_json((files.folder / PRERANK).read_bytes())


def test_the_towers_are_those_of_a_training_without(
    dataset: Dataset, version: FullVersionFiles, tmp_path: Path
) -> None:
    plain = full_update(dataset, WINDOW, None, config(bootstrap_epochs=2), tmp_path / "out")
    theirs = {path.relative_to(plain.folder.parent) for path in plain.folder.parent.rglob("*") if path.is_file()}
    ours = {path.relative_to(version.folder.parent) for path in version.folder.parent.rglob("*") if path.is_file()}
    assert {path.name for path in ours - theirs} == {PRERANK, PRERANK_PROGRAM}
    assert "\nprerank:" not in (plain.folder / CONFIG).read_text()
    told = {CONFIG, "lineage.json", "metrics.json", "user_tower.pt2", "item_tower.pt2"}
    for path in theirs:
        if path.name not in told:
            assert (plain.folder.parent / path).read_bytes() == (version.folder.parent / path).read_bytes(), path


def test_it_learns_what_users_take_of_what_they_are_shown(version: FullVersionFiles) -> None:
    report = report_of(version)
    assert report.groups == without_vectors(SPEC, GROUPS), "a first version's lie elsewhere than a rehearsal's"
    assert report.gauc > report.gauc_cosine + 0.02
    read_program(version.folder / PRERANK_PROGRAM)


@pytest.mark.long
def test_features_are_chosen_by_gates_within_the_budget(dataset: Dataset, tmp_path: Path) -> None:
    files = full_update(dataset, WINDOW, None, pre_ranked(), tmp_path / "free")
    report = report_of(files)
    assert set(report.gates) == set(number_groups(SPEC))
    assert [set(one.groups) < set(more.groups) for one, more in zip(report.curve, report.curve[1:], strict=False)]
    best = max(point.gauc for point in report.curve)
    chosen = next(point for point in report.curve if set(point.groups) == set(report.groups))
    assert chosen.gauc > best - 0.05
    tight = report_of(full_update(dataset, WINDOW, None, pre_ranked(budget_ms=1e-6), tmp_path / "tight"))
    quickest = min(tight.curve, key=lambda point: point.milliseconds)
    assert set(tight.groups) == set(quickest.groups)


def test_what_cannot_be_is_refused_by_name(dataset: Dataset, tmp_path: Path) -> None:
    def refused(how: object, data: Dataset = dataset) -> str:
        with pytest.raises(ConfigError) as error:
            full_update(data, WINDOW, None, how, tmp_path / "out")  # type: ignore[arg-type]
        return str(error.value)

    assert "no event impression" in refused(HOW, make(tmp_path / "data"))
    assert "there is no group 'item.colour'; these are: user_vector" in refused(pre_ranked(features=["item.colour"]))
    assert "say nothing of items" in refused(pre_ranked(features=["user_vector", "user.kind"]))
    with pytest.raises(ConfigError, match=r"no group 'item\.colour'"):  # Before any work starts.
        refuse_what_the_data_lacks(pre_ranked(features=["item.colour"]), dataset, WINDOW)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)


def test_too_little_that_was_shown_is_refused_before_any_work_starts(dataset: Dataset) -> None:
    refuse_what_the_data_lacks(HOW, dataset, until(dataset, 12))
    with pytest.raises(DataError, match=r"impressions in .*, and prerank needs 10 at least .* take a longer window"):
        refuse_what_the_data_lacks(HOW, dataset, until(dataset, 4))


@pytest.mark.long
def test_a_version_with_a_parent_has_one_of_its_own(
    dataset: Dataset, version: FullVersionFiles, tmp_path: Path
) -> None:
    later = full_update(dataset, hours(40, 50), version, HOW, tmp_path / "out")
    assert report_of(later).groups == in_order(SPEC, GROUPS), "its vectors lie where its parent's lie"
    before, after = ((files.folder / PRERANK_PROGRAM).read_bytes() for files in (version, later))
    assert before != after
    assert np.isfinite(report_of(later).gauc)
