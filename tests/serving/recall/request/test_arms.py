"""Arms: who is answered by which generation, and what becomes of it when a canary fails, is late, or is not there."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.errors import IntegrityError, NotHeldError, NotHereYetError, RequestError, UnavailableError
from pagoda.generations.arms import Arms
from pagoda.rollout.state.split import Split
from serving.http.deadlines import deadline, left
from serving.recall.api import Prediction, RecallInstance
from serving.recall.fallback.fallback import Fallback
from serving.recall.generations.generation import LiveGeneration
from serving.recall.metrics import ERRORS, FALLBACKS
from serving.recall.request.arm_group import cost_of
from serving.recall.request.service import Recall
from serving.users.online_store import StoredUser
from tests.serving.fakes import FakeStore, manifest
from tests.serving.recall.setting import CANARY_SECONDS, Setting
from tests.serving.worlds import make_spec

USERS = range(400)


def instances(users: list[int]) -> list[RecallInstance]:
    return [RecallInstance(user_id=user, k=2) for user in users]


async def trial(percent: int, *, shadow: bool = False) -> Setting:
    """g3 is stable; g4 is tried on a share of the users."""
    made = Setting()
    made.log.try_out(percent, shadow=shadow)
    await made.follow()
    return made


def assert_whole(prediction: Prediction) -> None:
    """Tower and collection are those of the generation that the answer names."""
    number = prediction["generation"][1:]
    assert prediction["items"] and {item["item_id"] for item in prediction["items"]} == {f"items_{number}/{number}"}
    assert prediction["arm"] in ("stable", "canary")


def failures() -> list[float]:
    """What Prometheus was told of arms that failed."""
    metrics = [metric for counter in (ERRORS, FALLBACKS) for metric in counter.collect()]
    return [sample.value for metric in metrics for sample in metric.samples if sample.name.endswith("_total")]


def split_of(setting: Setting) -> Split:
    return setting.generations.require().split


@settings(max_examples=60)
@given(
    percent=st.integers(1, 99),
    users=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30),
    header=st.sampled_from([None, None, "stable", " Canary "]),
)
async def test_each_user_is_answered_wholly_by_the_arm_of_the_split(
    percent: int, users: list[int], header: str | None
) -> None:
    setting = await trial(percent)
    before = len(setting.tower.asked)
    predictions = await setting.recall.answer(instances(users), header)
    for user, prediction in zip(users, predictions, strict=True):
        assert_whole(prediction)
        choice = split_of(setting).choose(user, header)
        assert (prediction["arm"], prediction["generation"]) == (choice.arm, choice.generation)
    calls = [{one["user_id"] for one in told} for _, _, told in setting.tower.asked[before:]]
    arms = {user: prediction["arm"] for user, prediction in zip(users, predictions, strict=True)}
    assert all(len({arms[user] for user in call}) == 1 for call in calls)
    assert all(timing.group.counted is (header is None) for timing, _ in setting.ledger.timings)


async def test_shares_are_exact_and_users_stay() -> None:
    setting = await trial(30)
    asked = [instances([user]) for user in USERS]
    arms = [(await setting.recall.answer(one))[0]["arm"] for one in asked]
    assert arms == [(await setting.recall.answer(one))[0]["arm"] for one in asked]
    assert arms == [split_of(setting).choose(user).arm for user in USERS]
    assert 0.2 < Counter(arms)["canary"] / len(USERS) < 0.4


async def test_a_header_that_names_no_arm_is_refused() -> None:
    setting = await trial(30)
    for made in (setting, Setting()):
        await made.generations.refresh()
        with pytest.raises(RequestError, match="x-pagoda-arm"):
            await made.recall.answer(instances([5]), "blue")


@pytest.mark.parametrize(
    "error",
    [UnavailableError("down"), NotHeldError("gone"), IntegrityError("odd"), RequestError("age"), ZeroDivisionError()],
)
async def test_the_stable_arm_stands_in_for_a_canary_that_fails(error: Exception) -> None:
    async def fail(generation: str) -> None:
        if generation == "g4":
            raise error

    setting = await trial(30)
    setting.tower.wait = fail
    predictions = await setting.recall.answer(instances(list(USERS[:100])))
    for prediction in predictions:
        assert_whole(prediction)
        assert (prediction["arm"], prediction["generation"]) == ("stable", "g3")
    outcomes = Counter(
        (timing.group.arm, timing.failed) for timing, _ in setting.ledger.timings for _ in timing.group.asked
    )
    in_canary = sum(split_of(setting).choose(user).arm == "canary" for user in USERS[:100])
    assert outcomes == {("stable", False): 100 - in_canary, ("canary", True): in_canary}


async def test_the_stable_arm_stands_in_for_a_canary_that_is_late() -> None:
    async def hang(generation: str) -> None:
        if generation == "g4":
            await asyncio.Event().wait()

    setting = await trial(99)
    setting.recall._arms._canary_seconds = 0.05
    setting.tower.wait = hang
    (prediction,) = await setting.recall.answer(instances([5]), "canary")
    assert_whole(prediction)
    assert prediction["generation"] == "g3"
    ((timing, answered),) = setting.ledger.timings
    assert timing.failed and timing.ms >= 50 and answered == [prediction] and timing.group.arm == "canary"


async def test_what_is_late_in_the_stable_arm_is_counted_alike() -> None:
    async def linger(generation: str) -> None:
        await asyncio.sleep(0.06)

    setting = await trial(50)
    setting.recall._arms._canary_seconds = 0.05
    setting.tower.wait = linger
    (prediction,) = await setting.recall.answer(instances([5]), "stable")
    assert prediction["generation"] == "g3"
    assert setting.ledger.timings[0][0].failed


async def test_a_callers_fault_is_no_arms_fault() -> None:
    setting, before = await trial(50), failures()
    for header in ("stable", "canary"):
        with pytest.raises(RequestError, match=r"instances\.1\.profile\.shoe"):
            await setting.recall.answer([*instances([5]), RecallInstance(user_id=6, profile={"shoe": 43})], header)
    assert not setting.ledger.timings and failures() == before


async def test_a_field_is_named_by_its_place_in_the_request() -> None:
    setting = await trial(50)
    users = list(USERS[:20])
    asked = [
        RecallInstance.model_validate({"user_id": user, "context": {"moon": 1} if user == 13 else {}}) for user in users
    ]
    with pytest.raises(RequestError, match=r"instances\.13\.context\.moon"):
        await setting.recall.answer(asked)


async def test_a_canary_whose_declaration_lacks_a_feature_fails_alone() -> None:
    setting = Setting()
    spec = make_spec()
    fewer = spec.model_copy(update={"features": tuple(one for one in spec.features if one.name != "age")})
    setting.log.manifests = [manifest(3), manifest(4, fewer)]
    setting.log.try_out(50)
    await setting.follow()
    (prediction,) = await setting.recall.answer([RecallInstance(user_id=5, profile={"age": 3})], "canary")
    assert prediction["generation"] == "g3"
    assert setting.ledger.timings[0][0].failed


async def test_both_arms_down_is_an_error_of_each() -> None:
    async def fail(_: str) -> None:
        raise UnavailableError("down")

    setting = await trial(50)
    setting.tower.wait = fail
    with pytest.raises(UnavailableError):
        await setting.recall.answer(instances(list(USERS[:50])))
    assert {(timing.group.arm, timing.failed, found) for timing, found in setting.ledger.timings} == {
        ("stable", True, None),
        ("canary", True, None),
    }


async def test_trouble_of_a_server_that_both_arms_share_counts_for_both() -> None:
    class Down(FakeStore):
        async def read(self, *_: object) -> list[StoredUser]:
            raise UnavailableError("online store")

    setting = await trial(50)
    parts = replace(setting.parts, store=Down(), fallback=Fallback())
    recall = Recall(parts, setting.generations, setting.ledger, canary_seconds=CANARY_SECONDS)
    for prediction in await recall.answer(instances(list(USERS[:50]))):
        assert_whole(prediction)
        assert (prediction["generation"], prediction["degraded"]) == ("g3", ["store_missing"])
    assert {(timing.group.arm, timing.failed) for timing, _ in setting.ledger.timings} == {
        ("stable", True),
        ("canary", True),
    }


async def test_while_a_canary_is_warmed_the_stable_arm_answers_and_nobody_is_counted() -> None:
    go_on = asyncio.Event()

    async def hang(generation: str) -> None:
        if generation == "g4":
            await go_on.wait()

    setting = Setting()
    setting.tower.wait = hang
    setting.log.try_out(50)
    await setting.generations.refresh()
    (prediction,) = await setting.recall.answer(instances([5]), "canary")
    assert prediction["generation"] == "g3"
    await setting.recall.answer(instances(list(USERS[:50])))
    assert {(timing.group.arm, timing.group.counted) for timing, _ in setting.ledger.timings} == {
        ("stable", True),
        ("stable", False),
    }
    go_on.set()
    await setting.follow()
    (prediction,) = await setting.recall.answer(instances([5]), "canary")
    assert prediction["generation"] == "g4"


async def test_where_a_canary_was_not_brought_yet_it_has_not_failed_and_nobody_is_counted() -> None:
    class Host(Setting):
        here = False

        async def warm(self, generation: LiveGeneration) -> None:
            if generation.id == "g4" and not self.here:
                raise NotHereYetError("the follower has not brought it yet")
            await super().warm(generation)

    host = Host()
    host.log.try_out(50)
    await host.follow()
    assert {one["generation"] for one in await host.recall.answer(instances(list(USERS[:50])))} == {"g3"}
    assert {(timing.group.arm, timing.group.counted, timing.failed) for timing, _ in host.ledger.timings} == {
        ("stable", True, False),
        ("stable", False, False),
    }
    host.here = True
    await host.follow()
    assert (await host.recall.answer(instances([5]), "canary"))[0]["generation"] == "g4"


async def test_a_canary_that_cannot_be_warmed_fails_its_users_requests_at_once() -> None:
    setting = Setting()
    setting.tower.held = {"g3"}
    setting.log.try_out(50)
    await setting.follow()
    asked = len(setting.tower.asked)
    predictions = await setting.recall.answer(instances(list(USERS[:50])))
    assert {prediction["generation"] for prediction in predictions} == {"g3"}
    assert {generation for _, generation, _ in setting.tower.asked[asked:]} == {"g3"}
    assert {(timing.group.arm, timing.failed) for timing, _ in setting.ledger.timings} == {
        ("stable", False),
        ("canary", True),
    }
    setting.tower.held = {"g3", "g4"}
    await setting.follow()
    assert (await setting.recall.answer(instances([5]), "canary"))[0]["generation"] == "g4"


async def test_a_canary_loses_its_users_though_another_generation_hangs() -> None:
    async def hang(generation: str) -> None:
        if generation == "g5":
            await asyncio.Event().wait()

    setting = await trial(50)
    setting.log.manifests.append(manifest(5))
    setting.tower.wait = hang
    setting.log.others, setting.log.arms = (), Arms(stable="g5")
    waiting = asyncio.create_task(setting.generations.refresh())
    while split_of(setting).canary:
        await asyncio.sleep(0)
    predictions = await setting.recall.answer(instances(list(USERS[:50])))
    assert {prediction["generation"] for prediction in predictions} == {"g3"}
    waiting.cancel()


async def test_a_shadow_gets_copies_and_answers_nobody() -> None:
    setting = await trial(40, shadow=True)
    for user in USERS[:100]:
        (prediction,) = await setting.recall.answer(instances([user]))
        assert (prediction["arm"], prediction["generation"]) == ("stable", "g3")
        assert_whole(prediction)
        while setting.recall._arms._shadow._under_way:
            await asyncio.sleep(0)
    shadow = [timing.group.asked[0].user_id for timing, _ in setting.ledger.timings if timing.shadow]
    assert sorted(shadow) == [user for user in USERS[:100] if split_of(setting).shadow_of(user)]
    assert 20 < len(shadow) < 60


async def test_a_shadow_that_hangs_takes_a_bounded_part_of_the_service() -> None:
    async def hang(generation: str) -> None:
        if generation == "g4":
            await asyncio.Event().wait()

    setting = await trial(100, shadow=True)
    setting.tower.wait = hang
    for user in USERS[:100]:
        await setting.recall.answer(instances([user]))
    assert len(setting.recall._arms._shadow._under_way) == 16
    await setting.recall.close()
    assert not setting.recall._arms._shadow._under_way


async def test_a_copy_has_the_canarys_own_time_however_much_of_a_hurry_the_caller_is_in() -> None:
    found: dict[str, float] = {}

    async def note(generation: str) -> None:
        found[generation] = left(60)

    setting = await trial(100, shadow=True)
    setting.tower.wait = note
    with deadline("0.001"):
        await setting.recall.answer(instances([5]))
    await asyncio.gather(*setting.recall._arms._shadow._under_way)
    assert found["g4"] == 60


async def test_no_answer_is_a_mixture_while_a_rollout_comes_and_goes() -> None:
    setting = await trial(50)
    seen: set[str] = set()

    async def steer() -> None:
        for number in range(40):
            if number % 4 == 3:
                setting.log.others, setting.log.arms = (), Arms(stable=("g3", "g4")[number % 8 == 7])
            else:
                setting.log.try_out((1, 50, 99)[number % 4])
            await setting.generations.refresh()
            await asyncio.sleep(0)

    async def ask(_: Any) -> None:
        for number in range(60):
            for prediction in await setting.recall.answer(instances([number, number + 1, -number])):
                assert_whole(prediction)
                seen.add(f"{prediction['arm']} {prediction['generation']}")

    await asyncio.gather(steer(), *(ask(n) for n in range(3)))
    assert seen >= {"stable g3", "canary g4"}


def test_a_text_costs_as_its_words_do_up_to_those_that_count() -> None:
    costs = [
        cost_of(RecallInstance(user_id=1, text=text)) for text in ("dune", "many words " * 5, "red " * 32, "x" * 999)
    ]
    assert costs == sorted(costs) and 2 < costs[0] < 2.2 and costs[2:] == [4, 4]
    plain, worded = (cost_of(RecallInstance(user_id=1, k=1000, text=text)) for text in (None, "red dress"))
    assert worded - plain < 2, "how many are wanted hardly matters to words"
    assert cost_of(RecallInstance(user_id=1, text="dune", filter={"genres": "Drama"})) > 8
