"""A cascade from a log to answers, all in this process: full update, items changed, incremental, rollouts both ways."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pagoda.generations.manifest import Manifest
from pagoda.generations.release_log import open_log
from pagoda.item_changes.changes import removed, upserted
from pagoda.item_changes.log import open_item_log
from pagoda.item_vectors.changed_columns import VECTORS, ChangedColumns
from pagoda.registry.publish import carry_out, plan_rollback, publish
from pagoda.rollout.measures.candidate import measure
from pagoda.storage.copies import local_path
from pagoda.updates import full_steps
from pagoda.updates.incremental_steps import Done, run_all
from serving.workers.items import open_item_worker
from tests.embeddings.test_tables_killed import run_killed_at
from tests.training.worlds import config, hours

from .homes import Home

DIMS, CANDIDATES = (8, 12), 15
MEMBERS = [{"name": "easy"}, {"name": "hard", "dim": DIMS[1]}]
CASCADE = config(bootstrap_epochs=2, ensemble={"members": MEMBERS, "combine": "cascade", "candidates": CANDIDATES})
NEW, GONE = 900, 110


async def test_a_plain_model_and_a_cascade_take_each_others_place(home: Home) -> None:
    plain = home.full(hours(0, 38), config(bootstrap_epochs=1))
    publish(open_log(home.settings), plain.id, "stable")
    cascade = home.full(hours(0, 40), CASCADE)
    assert "cascade" not in plain.model_dump()
    assert cascade.cascade is not None and (cascade.dim, cascade.cascade.dim) == DIMS
    measured = [measure(home.settings, *arms) for arms in ((cascade, plain), (plain, cascade))]
    for evidence in measured:
        assert evidence.ann_recall == 1
        assert evidence.recall is not None and len(evidence.recall.users)
        assert all(said == found for said, found in evidence.checksums.values())
    assert [("vectors of the second member" in one.checksums) for one in measured] == [True, False]
    before = await home.check(cascade)
    assert await home.check(plain) != before
    publish(open_log(home.settings), cascade.id, "stable")
    with home.followed():
        done = run_all(home.settings, str(home.dataset.path), hours(0, 50).end)[cascade.full_version]
    assert isinstance(done, Done)
    incremental = open_log(home.settings).state().generation(done.manifest.id)
    assert (incremental.cascade, incremental.full_version) == (cascade.cascade, cascade.full_version)
    assert await home.check(incremental) != before
    assert await home.check(cascade) == before
    carry_out(open_log(home.settings), plan_rollback(open_log(home.settings).state(), plain.id))
    await home.check(plain)


async def test_changes_of_items_reach_both_members_and_the_next_generation(home: Home) -> None:
    """Member by member as the item tower has it: a new item is found by the one and scored by the other."""
    cascade = home.full(hours(0, 40), CASCADE)
    publish(open_log(home.settings), cascade.id, "stable")
    spec, tags = cascade.spec, {"tags": ["k3", "all"]}
    changes = [upserted(spec, {"item_id": item, **tags}, "item") for item in (NEW, 103)]
    open_item_log(home.settings).append([*changes, removed(spec, GONE, "item")])
    with open_item_worker(home.settings) as worker:
        worker.step()
    await _hold(home, cascade)
    later = home.full(hours(0, 44), CASCADE)
    await _hold(home, later)


async def _hold(home: Home, manifest: Manifest) -> None:
    """Every item of the log is as it says, in what a generation answers."""
    assert manifest.cascade is not None
    changed = ChangedColumns(manifest.cascade.vectors.uri)
    ids, columns = changed.read(changed.newest()) or pytest.fail("no vector has reached the second member")
    vectors = columns[VECTORS]
    assert (ids.tolist(), vectors.shape) == ([103, NEW], (2, DIMS[1]))
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float32), axis=1), 1, atol=1e-3)
    items, scores = await home.answer(manifest, k=100)
    assert {NEW, 103} <= set(items) and GONE not in items
    assert scores == sorted(scores, reverse=True)


@pytest.mark.long
def test_killed_while_the_second_member_is_kept_and_run_again(home: Home, tmp_path: Path) -> None:
    update, before, told = home.exported(hours(0, 40), CASCADE), tmp_path / "before", tmp_path / "told"
    shutil.copytree(home.settings.home, before)
    place = local_path(update.outputs.uri("", "")) or Path()

    def finish() -> None:
        full_steps.build_index(update)
        told.write_text(full_steps.offer(update).model_dump_json(include={"cascade", "collection", "item_count"}))

    killed, offered = 0, set[str]()
    while True:
        shutil.rmtree(home.settings.home)
        shutil.copytree(before, home.settings.home)
        dead = run_killed_at(1 + 3 * killed, finish, place)
        assert not run_killed_at(1 << 30, finish, place), "the same again finishes the job"
        offered.add(told.read_text())
        if not dead:
            break
        killed += 1
    assert killed > 5 and len(offered) == 1
