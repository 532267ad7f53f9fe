"""A full update with channels and a pre-ranker, killed at any step and run again, ends as if never killed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pagoda.generations.manifest import Manifest
from pagoda.generations.release_log import open_log
from pagoda.storage.copies import local_path
from pagoda.updates.full import FullUpdate
from tests.embeddings.test_tables_killed import run_killed_at
from tests.training.prerank.worlds import PRERANK, make_shown
from tests.training.worlds import config, hours

from .homes import Home

WINDOW = hours(0, 40)
MIXTURE = (
    {"kind": "two_tower", "share": 0.5},
    {"kind": "item_to_item", "share": 0.2, "method": "item_cf"},
    {"kind": "popular", "share": 0.1, "by": "hour"},
    {"kind": "fresh", "share": 0.2},
)
ALL = config(bootstrap_epochs=1, prerank=PRERANK.prerank, channels=MIXTURE)
_FIRST, _LEARNED = 40, 120
"""Touches of files before which the version has its towers alone, and after which it is there."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path, make_shown)
    yield made
    made.follower.close()


@pytest.mark.long
def test_killed_at_any_step_of_a_full_update_and_run_again(home: Home, tmp_path: Path) -> None:
    """Tables of channels, the pre-ranker and its items are those of a run that nobody killed, to the bit."""
    told, before = tmp_path / "told", tmp_path / "before"
    shutil.copytree(home.settings.home, before) if home.settings.home.exists() else before.mkdir()
    place = local_path(FullUpdate(home.settings, str(home.dataset.path), WINDOW, None).outputs.uri("", "")) or Path()

    def finish() -> None:
        torch.set_num_threads(1)  # A child that was forked has none of the others.
        told.write_text(home.full(WINDOW, ALL).model_dump_json())

    offered, step = list[Manifest](), _FIRST
    while True:
        shutil.rmtree(home.settings.home, ignore_errors=True)
        shutil.copytree(before, home.settings.home)
        dead = run_killed_at(step, finish, place)
        if dead:
            assert not open_log(home.settings).state().generations
        assert not run_killed_at(1 << 30, finish, place), "the same again finishes the job"
        offered.append(Manifest.model_validate_json(told.read_text()))
        if not dead:
            break
        step += 16 if step < _LEARNED else 80
    last = offered[-1]
    assert step > _LEARNED and last.mixture and last.prerank
    assert {name.partition("/")[0] for name in last.mixture.tables} == {"item_to_item", "popular", "fresh"}
    # Where the files lie says which try wrote them.
    assert all(checksums(one.model_dump()) == checksums(last.model_dump()) for one in offered)


def checksums(part: Any) -> list[str]:
    """Of everything that a manifest names, in its order."""
    if isinstance(part, dict):
        own = [part["checksum"]] if "checksum" in part else []
        return own + [each for inner in part.values() for each in checksums(inner)]
    return [each for inner in part for each in checksums(inner)] if isinstance(part, list | tuple) else []
