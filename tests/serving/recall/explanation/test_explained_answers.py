"""`explain` in a request: what it says, who may ask for it, and that nobody else's answer is another for it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from pagoda.client.explanation import Explanation
from pagoda.data.spec import MultiValued
from pagoda.errors import UnavailableError
from serving.http.fields import PastItems
from serving.recall.api import Prediction, RecallInstance, render_v2
from serving.recall.explanation.id_rows import IdRows
from serving.recall.explanation.user import explained_user
from serving.recall.generations.generation import LiveGeneration
from serving.recall.servers.breaker import FAILURES
from serving.tower.inputs import _last
from serving.users.online_store import KeptVectors, StoredUser
from tests.serving.fakes import manifest
from tests.serving.recall.failing import GONE, Failing
from tests.serving.recall.setting import Setting, begun
from tests.serving.worlds import LENGTH, make_spec

_FORM: TypeAdapter[Explanation] = TypeAdapter(Explanation)
MOMENT = 1_700_000_000_000_000


def explained(prediction: Prediction) -> Explanation:
    """Its explanation, which is what the page says."""
    return _FORM.validate_python(prediction["explanation"], strict=True)


def untimed(prediction: Prediction) -> dict[str, Any]:
    return {name: value for name, value in prediction.items() if name not in ("timing_ms", "explanation")}


@settings(max_examples=25)
@given(
    asked=st.lists(st.tuples(st.integers(0, 500), st.booleans()), min_size=1, max_size=8), percent=st.integers(1, 99)
)
async def test_nobody_gets_another_answer_because_somebody_wants_an_explanation(
    asked: list[tuple[int, bool]], percent: int
) -> None:
    setting = Setting()
    setting.log.try_out(percent)
    await setting.follow()
    plain = await setting.recall.answer([RecallInstance(user_id=user) for user, _ in asked])
    mixed = await setting.recall.answer([RecallInstance(user_id=user, explain=told) for user, told in asked])
    assert list(map(untimed, mixed)) == list(map(untimed, plain))
    assert ["explanation" in one for one in mixed] == [told for _, told in asked]
    rows = [len(timing.group.asked) for timing, _ in setting.ledger.timings if timing.group.counted]
    assert sum(rows) == len(asked) + sum(not told for _, told in asked), "an explained answer is no evidence of its arm"


async def test_a_newcomers_answer_is_explained(failing: Failing) -> None:
    said = explained(await failing.one(explain=True, user_id=404))
    assert said["arm"] == {
        "arm": "stable",
        "generation": "g3",
        "why": "no_rollout",
        "canary": None,
        "canary_percent": 0.0,
    }
    assert said["user"]["id_row"] == {"source": "none", "versions": []}
    assert said["user"]["history"] == {"source": "store", "events": 0, "newest_age_seconds": None}
    assert (said["excluded"], said["filter"], said["prerank"], said["removed"]) == (None, None, None, 0)


async def test_what_is_known_of_a_user_is_told_and_whose_word_it_is(failing: Failing) -> None:
    stored = StoredUser(
        {"age": 60.0, "gender": "M", "shoes": 44}, PastItems((7, 9), (MOMENT - 9, MOMENT - 5)), (7, 9, 1)
    )
    failing.store.users[5] = stored
    one = await failing.one(explain=True, exclude_seen=True, profile={"gender": "F"}, timestamp=MOMENT)
    said = explained(one)
    assert said["user"]["profile"] == {"age": 60.0, "gender": "F"}, "what the tower does not read is not told"
    assert said["user"]["profile_of_request"] == ["gender"]
    assert said["user"]["id_row"] == {"source": "full", "versions": [3]}
    assert said["user"]["history"] == {"source": "store", "events": 2, "newest_age_seconds": 5e-6}
    assert (said["user"]["store"], said["user"]["vector"], said["user"]["interests"]) == ("read", "computed", None)
    assert said["excluded"] == 3
    (towers,) = said["channels"]
    assert (towers["found"], towers["given"], towers["credited"], towers["outcome"]) == (2, 2, 2, "answered")


@given(
    ages=st.lists(st.integers(-3, 20), max_size=9),
    own=st.booleans(),
)
def test_as_many_events_are_told_as_the_tower_reads(ages: list[int], own: bool) -> None:
    past = PastItems(tuple(range(len(ages))), tuple(MOMENT - age for age in ages))
    live = LiveGeneration(manifest(3))
    (lookup,) = begun(live, explain=True, timestamp=MOMENT, **({"history": past.rows()} if own else {}))
    if not own:
        lookup.stored = StoredUser({}, past, ())
    read, said = _last(past, MOMENT, LENGTH), explained_user(live, lookup, IdRows())["history"]
    assert said["events"] == len(read.ids)
    newest = (MOMENT - read.timestamps[-1]) / 1e6 if read.ids else None
    assert (said["source"], said["newest_age_seconds"]) == ("request" if own else "store", newest)


def test_interests_are_told_where_the_dataset_has_them() -> None:
    spec = make_spec()
    likes = MultiValued(name="interests", tower="user")
    live = LiveGeneration(manifest(3, spec.model_copy(update={"features": (*spec.features, likes)})))
    (lookup,) = begun(live, explain=True)
    lookup.stored = StoredUser({"interests": ["Drama"]}, PastItems(), ())
    assert explained_user(live, lookup, IdRows())["interests"] == ["Drama"]


def test_a_vector_that_was_kept_is_said_to_be() -> None:
    live = LiveGeneration(manifest(3))
    (lookup,) = begun(live, explain=True)
    kept = KeptVectors(1, ([1.0, 0.0],))
    lookup.stored, lookup.vectors, lookup.known = StoredUser({}, PastItems(), (), 1, kept), kept.vectors, True
    assert explained_user(live, lookup, IdRows())["vector"] == "kept"


async def test_what_stood_in_is_told(failing: Failing) -> None:
    failing.store.error = failing.index.error = GONE
    failing.down.error = UnavailableError("gone")
    said = explained(await failing.one(explain=True))
    assert (said["user"]["store"], said["user"]["vector"]) == ("store_missing", "tower_oov")
    towers, popular = said["channels"]
    assert (towers["outcome"], towers["error"], towers["found"]) == ("failed", "gone", 0)
    assert popular["channel"] == "index_popular" and popular["found"] == popular["credited"] == 4


async def test_an_open_breaker_is_told() -> None:
    setting = Failing()
    setting.parts = setting.guarded()
    await setting.follow()
    setting.recall = type(setting.recall)(setting.parts, setting.generations, setting.ledger, canary_seconds=5.0)
    assert explained(await setting.one(explain=True))["breakers"]["index items_3"] == "closed"
    setting.index.error = GONE
    for _ in range(FAILURES):
        await setting.one()
    said = explained(await setting.one(explain=True))
    assert said["breakers"]["index items_3"] == "open"
    assert "not asked, since it failed" in (said["channels"][0]["error"] or "")


@pytest.mark.parametrize(
    ("percent", "shadow", "header", "broken", "why"),
    [
        (99, False, None, False, ("canary", "share")),
        (1, False, "stable", False, ("stable", "header")),
        (1, False, "canary", False, ("canary", "header")),
        (99, False, None, True, ("stable", "canary_failed")),
        (99, True, None, False, ("stable", "shadow")),
    ],
)
async def test_why_an_arm_answers_is_told(
    percent: int, shadow: bool, header: str | None, broken: bool, why: tuple[str, str]
) -> None:
    setting = Setting()
    setting.log.try_out(percent, shadow=shadow)
    await setting.follow()
    if broken:
        setting.tower.held = {"g3"}
    (one,) = await setting.recall.answer([RecallInstance(user_id=5, explain=True)], header)
    arm = explained(one)["arm"]
    assert (arm["arm"], arm["why"]) == why
    assert (arm["generation"], arm["canary"], arm["canary_percent"]) == (one["generation"], "g4", percent)


async def test_a_canary_that_is_not_warm_here_is_told() -> None:
    setting = Setting()
    setting.log.try_out(99)
    await setting.follow()
    serving = setting.generations.require()
    setting.generations._serving = type(serving)(serving.split, serving.stable, None)
    (one,) = await setting.recall.answer([RecallInstance(user_id=5, explain=True)])
    assert explained(one)["arm"]["why"] == "canary_not_warm"


async def test_v2_has_it_as_a_text_of_each_user(failing: Failing) -> None:
    asked = [RecallInstance(user_id=5, explain=True), RecallInstance(user_id=6)]
    predictions = await failing.recall.answer(asked)
    outputs = {one["name"]: one["data"] for one in orjson.loads(render_v2(predictions, ""))["outputs"]}
    first, second = map(orjson.loads, outputs["explanation"])
    assert (first, second) == (predictions[0]["explanation"], None)
    plain = orjson.loads(render_v2(predictions[1:], ""))["outputs"]
    assert "explanation" not in {one["name"] for one in plain}
