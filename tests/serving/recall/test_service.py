"""One generation answers one request, whatever is released meanwhile; and who is to blame for what is wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pagoda.data.ids import hash_ids
from pagoda.data.spec import FeatureSpec, History, Rules
from pagoda.errors import IntegrityError, NotHeldError, RequestError, UnavailableError
from pagoda.generations.arms import Arms
from pagoda.item_vectors.filter import EVERYTHING
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.scoring import CENTRE, SCALE
from serving.http.deadlines import deadline, left
from serving.http.fields import PastItems
from serving.recall.generations import follower
from serving.recall.generations.follower import Generations
from serving.recall.generations.generation import LiveGeneration
from serving.users.online_store import StoredUser
from tests.serving.recall.setting import Setting, ask
from tests.serving.worlds import LENGTH, NOW_US, make_spec


@pytest.fixture
async def setting() -> Setting:
    """Generation g3 serves, g4 exists."""
    made = Setting()
    await made.generations.refresh()
    return made


async def test_nothing_is_answered_before_a_generation_is_warm() -> None:
    cold = Setting()
    assert not cold.generations.ready
    with pytest.raises(UnavailableError, match="not ready"):
        await cold.recall.answer(ask())
    cold.index.items = 0
    await cold.generations.refresh()
    with pytest.raises(UnavailableError, match="collection items_3 is empty"):
        await cold.recall.answer(ask())
    cold.index.items = 2
    await cold.generations.refresh()
    assert cold.generations.ready
    assert (await cold.recall.answer(ask()))[0]["generation"] == "g3"


async def test_what_is_warmed_up_is_named_until_it_answers() -> None:
    cold = Setting()
    gate = asyncio.Event()
    warm = cold.warm

    async def held(generation: LiveGeneration) -> None:
        await gate.wait()
        await warm(generation)

    cold.generations = Generations(cold.log.as_log(), held)
    refreshing = asyncio.create_task(cold.generations.refresh())
    while not cold.generations.warming:
        await asyncio.sleep(0)
    with pytest.raises(UnavailableError, match="not ready: generation g3 is being warmed up"):
        cold.generations.require()
    gate.set()
    await refreshing
    assert cold.generations.ready


async def test_what_fails_after_long_is_not_tried_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cold, now, tried = Setting(), [100.0], []
    monkeypatch.setattr(follower.time, "monotonic", lambda: now[0])

    async def fail(generation: LiveGeneration) -> None:
        tried.append(now[0])
        now[0] += 4.0
        raise UnavailableError("no memory")

    cold.generations = Generations(cold.log.as_log(), fail)
    for seconds in (0.0, 20.0, 20.0):
        now[0] += seconds
        await cold.generations.refresh()
    assert tried == [100.0, 144.0]


async def test_a_release_takes_over_only_when_warm(setting: Setting) -> None:
    setting.log.arms = Arms(stable="g4")
    setting.tower.held = {"g3"}
    await setting.generations.refresh()
    assert (await setting.recall.answer(ask()))[0]["generation"] == "g3"
    setting.tower.held = {"g3", "g4"}
    await setting.generations.refresh()
    (prediction,) = await setting.recall.answer(ask())
    assert prediction["generation"] == "g4"
    assert prediction["items"][0]["item_id"] == "items_4/4"


async def test_no_answer_is_a_mixture_while_releases_come_and_go(setting: Setting) -> None:
    released = asyncio.Event()

    async def release() -> None:
        for number in range(40):
            setting.log.arms = Arms(stable=("g3", "g4")[number % 2])
            await setting.generations.refresh()
            await asyncio.sleep(0)
        released.set()

    async def many() -> list[Any]:
        answers = []
        while not released.is_set():
            answers += await setting.recall.answer(ask(user_id=len(answers)))
        return answers

    _, *answers = await asyncio.gather(release(), many(), many())
    seen = set()
    for prediction in (one for group in answers for one in group):
        number = prediction["generation"][1:]
        assert {item["item_id"] for item in prediction["items"]} == {f"items_{number}/{number}"}
        seen.add(number)
    assert seen == {"3", "4"}


async def test_a_generation_that_was_let_go_is_replaced_by_the_released_one(setting: Setting) -> None:
    setting.log.arms = Arms(stable="g4")
    setting.tower.held = {"g4"}
    (prediction,) = await setting.recall.answer(ask())
    assert prediction["generation"] == "g4"
    assert prediction["items"][0]["item_id"] == "items_4/4"


async def test_a_callers_deadline_is_not_that_of_a_generation_being_warmed(setting: Setting) -> None:
    found: list[float] = []

    async def note(generation: str) -> None:
        found.append(left(60))

    setting.log.arms = Arms(stable="g4")
    setting.tower.held, setting.tower.wait = {"g4"}, note
    with deadline("10000"):
        assert (await setting.recall.answer(ask()))[0]["generation"] == "g4"
    asked_by_the_caller, *warming, again = found
    assert asked_by_the_caller < 10 and again < 10
    assert set(warming) == {60}


async def test_a_generation_that_is_not_held_anywhere_is_an_error(setting: Setting) -> None:
    setting.tower.held = set()
    with pytest.raises(NotHeldError):
        await setting.recall.answer(ask())


async def test_the_tower_gets_raw_values_those_of_the_request_first(setting: Setting) -> None:
    stored = PastItems((1,), (NOW_US - 5,))
    setting.store.users[5] = StoredUser({"age": 30, "gender": "F", "nickname": "x"}, stored, ())
    await setting.recall.answer(ask(profile={"age": 31}, context={"device": "tv"}, timestamp=NOW_US))
    _, generation, (told,) = setting.tower.asked[-1]
    assert generation == "g3"
    assert told == {
        "user_id": 5,
        "timestamp": NOW_US,
        "profile": {"age": 31, "gender": "F"},
        "context": {"device": "tv"},
        "history": stored,
    }
    override = [{"item_id": 9, "timestamp": NOW_US - 1}]
    await setting.recall.answer(ask(history=override))
    assert list(setting.tower.asked[-1][2][0]["history"]) == override
    await setting.recall.answer(ask(history=[]))
    assert list(setting.tower.asked[-1][2][0]["history"]) == []


TELLING = History(length=LENGTH, events=("click", "like"), embed_event=True)


@pytest.mark.parametrize(
    ("spec", "events"),
    [(make_spec(), ()), (make_spec().model_copy(update={"history": TELLING}), ("like", None))],
    ids=["histories say no event", "histories say events"],
)
async def test_the_tower_is_told_what_its_generation_reads_whoever_asked_the_store(
    spec: FeatureSpec, events: tuple[str | None, ...]
) -> None:
    setting = Setting(spec)
    await setting.generations.refresh()
    past = PastItems((1, 2), (NOW_US - 5, NOW_US - 4), ("like", "gone"), ("shoes", None))
    setting.store.users[5] = StoredUser({}, past, ())
    await setting.recall.answer(ask())
    assert setting.tower.asked[-1][2][0]["history"] == past._replace(events=events, texts=())


async def test_a_past_event_that_the_generation_does_not_read_is_refused(setting: Setting) -> None:
    for told, says in ({"event": "like"}, "do not say it"), ({"text": "shoes"}, "no feature of past texts"):
        with pytest.raises(RequestError, match=f"history.{next(iter(told))}: .*{says}"):
            await setting.recall.answer(ask(history=[{"item_id": 9, "timestamp": 1, **told}]))


async def test_the_search_gets_filter_and_seen_items(setting: Setting) -> None:
    setting.store.users[5] = StoredUser({}, PastItems(), (11, 12))
    await setting.recall.answer(ask(filter={"year": {"gte": 1990}}))
    assert setting.index.asked[-1][1:] == (FilterParser(make_spec()).parse({"year": {"gte": 1990}}), ())
    await setting.recall.answer(ask(exclude_seen=True, history=[{"item_id": 13, "timestamp": 1}]))
    assert setting.index.asked[-1][1] == EVERYTHING
    assert set(setting.index.asked[-1][2]) == {11, 12, 13}


async def test_string_ids_are_hashed_for_the_search_alone() -> None:
    setting = Setting(make_spec("string"))
    await setting.generations.refresh()
    setting.store.users["ann"] = StoredUser({}, PastItems(), ("film",))
    await setting.recall.answer(ask(user_id="ann", exclude_seen=True))
    assert setting.index.asked[-1][2] == (hash_ids(["film"])[0],)
    assert setting.tower.asked[-1][2][0]["user_id"] == "ann"


async def test_unknown_users_are_answered_and_marked(setting: Setting) -> None:
    known, unknown = await setting.recall.answer([*ask(), *ask(user_id=404)])
    assert (known["known_user"], unknown["known_user"]) == (True, False)
    assert unknown["items"]
    assert {"store", "tower", "index", "total"} == unknown["timing_ms"].keys()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"user_id": "five"}, "instances.0.user_id: must be an integer"),
        ({"history": [{"item_id": "x", "timestamp": 1}]}, "instances.0.history.item_id: "),
        ({"profile": {"shoe": 43}}, "instances.0.profile.shoe: unknown field"),
        ({"context": {"moon": "full"}}, "instances.0.context.moon: unknown field"),
        ({"filter": {"colour": "red"}}, "instances.0.filter.colour: "),
        ({"filter": {"year": {"above": 3}}}, "instances.0.filter.year: "),
    ],
)
async def test_what_no_generation_knows_is_refused_before_any_server_is_asked(
    setting: Setting, fields: dict[str, Any], message: str
) -> None:
    asked = len(setting.tower.asked)
    with pytest.raises(RequestError) as error:
        await setting.recall.answer(ask(**fields))
    assert str(error.value).startswith(message)
    assert len(setting.tower.asked) == asked


async def test_the_caller_is_not_blamed_for_what_the_store_holds(setting: Setting) -> None:
    def refuse() -> None:
        raise RequestError("feature 'age': got 'old', expected a number")

    setting.tower.before = refuse
    with pytest.raises(IntegrityError, match="online store"):
        await setting.recall.answer(ask())
    with pytest.raises(RequestError):
        await setting.recall.answer(ask(profile={"age": "old"}))


async def test_a_penalty_reaches_the_search_and_the_scores_and_is_refused_where_nothing_declares_it() -> None:
    ruled = Setting(make_spec().model_copy(update={"rules": Rules(popularity=True, penalty=0.5)}))
    await ruled.generations.refresh()
    for fields, penalty in (({}, 0.5), ({"popularity_penalty": 0}, 0.0), ({"popularity_penalty": 0.25}, 0.25)):
        (prediction,) = await ruled.recall.answer(ask(**fields))
        assert ruled.index.queries[-1] == [3.0, 0.0, penalty / SCALE]
        assert prediction["items"][0]["score"] == pytest.approx(0.5 + penalty * CENTRE)
    plain = Setting()
    await plain.generations.refresh()
    await plain.recall.answer(ask())
    assert plain.index.queries[-1] == [3.0, 0.0]
    with pytest.raises(RequestError, match=r"instances\.0\.popularity_penalty"):
        await plain.recall.answer(ask(popularity_penalty=0.1))
