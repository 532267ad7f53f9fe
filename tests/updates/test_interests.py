"""Several interests from a log to answers, all in this process: full update, incremental, tower, index, recall."""

from __future__ import annotations

from pagoda.generations.release_log import open_log
from pagoda.registry.publish import carry_out, plan_rollback, publish
from pagoda.rollout.measures.candidate import measure
from pagoda.updates.incremental_steps import Done, run_all
from tests.training.worlds import config, hours

from .homes import Home

DIM, INTERESTS = 8, 3
HISTORY = {"kind": "self_attentive", "interests": INTERESTS, "hidden": 8}
SEVERAL = config(
    bootstrap_epochs=2, model={"dim": DIM, "feature_dim": 4, "history": HISTORY}, drift={"max_interest_cosine": 1}
)


async def test_a_plain_model_and_one_of_several_interests_take_each_others_place(home: Home) -> None:
    plain = home.full(hours(0, 38), config(bootstrap_epochs=1))
    publish(open_log(home.settings), plain.id, "stable")
    several = home.full(hours(0, 40), SEVERAL)
    assert (plain.interests, several.interests) == (1, INTERESTS)
    assert "interests" not in plain.model_dump() and several.model_dump()["interests"] == INTERESTS
    evidence = measure(home.settings, several, plain)
    assert evidence.ann_recall == 1
    assert evidence.recall is not None and len(evidence.recall.users)
    before = await home.check(several)
    assert await home.check(plain) != before
    publish(open_log(home.settings), several.id, "stable")
    with home.followed():
        done = run_all(home.settings, str(home.dataset.path), hours(0, 50).end)[several.full_version]
    assert isinstance(done, Done)
    incremental = open_log(home.settings).state().generation(done.manifest.id)
    assert (incremental.interests, incremental.full_version) == (INTERESTS, several.full_version)
    assert await home.check(incremental) != before
    assert await home.check(several) == before
    carry_out(open_log(home.settings), plan_rollback(open_log(home.settings).state(), plain.id))
    await home.check(plain)
