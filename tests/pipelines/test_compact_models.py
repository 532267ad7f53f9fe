"""Other models than the plain one on the compact profile: from it and back to it, with incrementals on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pagoda.data.window import Window, to_us
from pagoda.embeddings.overlay import Overlay
from pagoda.embeddings.segment import Segment
from pagoda.model.table_inputs import histories_at
from pagoda.storage.copies import local_path
from pagoda.updates import full_steps
from pagoda.updates.full import FullUpdate
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from tests.training.worlds import config, hours
from tests.updates.test_models import WHOLE
from tests.waiting import wait_for

from .served.homes import Home
from .test_compact import USER, K, answer, made, roll_out, serving

pytestmark = [pytest.mark.integration, pytest.mark.long]


def first_version(home: Home, end: int, **changes: Any) -> str:
    """The generation of a version of the first hours that starts from no other, as one of another model must."""
    window = Window(start=home.dataset.span().start, end=hours(0, end).end)
    update = FullUpdate(home.settings, str(home.dataset.path), window, None)
    return full_steps.offer(made(update, config(**changes))).id


def test_users_come_from_the_plain_model_to_each_other_one_and_back(tmp_path: Path) -> None:
    with serving(tmp_path, "evaluation: {first_version: false}\n", profile="compact") as home:
        for end, changes in enumerate(WHOLE.values(), 51):
            roll_out(home, first_version(home, end, **changes))
            home.now = hours(0, end).end
            newest = home.learn().manifest.id
            wait_for(lambda newest=newest: answer(home)[0] == newest)
            assert_computed(home)
        roll_out(home, first_version(home, 51 + len(WHOLE)))


def assert_computed(home: Home) -> None:
    """What a user is answered is what the version's files and its incremental give in process."""
    generation, items, scores = answer(home)
    state, end = home.state(), home.dataset.span().end
    manifest = state.generation(generation)
    files = FullVersionFiles(folder_of(home, manifest.full_version), Path())
    segments = [Segment.open(folder_of(home, one.version) / "segment") for one in manifest.segments]
    version = OpenVersion(files, home.dataset)
    users, moments = np.array([USER]), np.array([to_us(end)])
    read = histories_at(home.dataset, end, None, None)
    assert read is not None
    (vector,) = version.under(Overlay(files.users, segments)).user_vectors(users, moments, read.read(users, moments))
    expected = dict(zip(home.dataset.items()["item_id"].to_pylist(), version.item_vectors() @ vector, strict=True))
    np.testing.assert_allclose(scores, sorted(expected.values(), reverse=True)[:K], atol=1e-4)
    np.testing.assert_allclose([expected[int(item)] for item in items], scores, atol=1e-4)


def folder_of(home: Home, version: int) -> Path:
    """Where a registered version's files are."""
    folder = local_path(home.state().versions[version].uri)
    assert folder is not None
    return folder
