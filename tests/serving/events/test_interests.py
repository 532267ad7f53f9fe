"""What a user says they like is in the next answer, stays through loads, and goes when they are forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import redis

from pagoda.data.spec import FeatureSpec, MultiValued
from serving.events.interests import InterestIntake, interests_router
from serving.recall.server import RecallServer
from serving.users.interests import InterestStore
from serving.users.keys import interests_key, profile_key
from serving.users.online_store import OnlineStore, StoredUser
from serving.users.tombstones import Tombstones
from tests.redis_databases import database
from tests.serving.callers import HEADERS, tokens
from tests.serving.recall.setting import Setting
from tests.serving.worlds import make_spec

pytestmark = pytest.mark.integration
PLAIN = make_spec()
FEATURE = MultiValued(name="interests", tower="user", max_values=3)
SPEC = PLAIN.model_copy(update={"features": (*PLAIN.features, FEATURE)})
PATH = "/v1/users/5/interests"


class Specs:
    """A declaration."""

    def __init__(self) -> None:
        self.given = SPEC

    async def spec(self) -> FeatureSpec:
        return self.given


@pytest.fixture
def url(redis_url: str) -> str:
    """An empty database of the shared Redis."""
    return database(redis_url, 12)


@pytest.fixture
def specs() -> Specs:
    return Specs()


@pytest.fixture
async def client(url: str, specs: Specs) -> AsyncIterator[httpx.AsyncClient]:
    setting, store = Setting(), InterestStore(url)
    routers = [interests_router(InterestIntake(store, specs))]
    app = RecallServer(setting.recall, setting.generations, tokens(), routers).app
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://recall", headers=HEADERS) as made:
        yield made
    await store.close()


async def stored(url: str, spec: FeatureSpec = SPEC) -> StoredUser:
    store = OnlineStore(url)
    (found,) = await store.read([(5, False)], spec)
    await store.close()
    return found


async def test_the_next_answer_knows_them_and_is_made_anew(client: httpx.AsyncClient, url: str) -> None:
    with redis.Redis.from_url(url) as loaded:
        loaded.set(profile_key(5), '{"age": 33, "interests": ["Western"]}')
    before = await stored(url)
    assert before.profile == {"age": 33, "interests": ["Western"]}
    answer = await client.put(PATH, json={"interests": ["Drama", "Comedy", "Drama"]})
    assert (answer.status_code, answer.json()) == (200, {"interests": ["Drama", "Comedy"], "stored": True})
    after = await stored(url)
    assert after.profile == {"age": 33, "interests": ["Drama", "Comedy"]}
    assert after.basis != before.basis  # So a vector that was kept is not used again.
    with redis.Redis.from_url(url) as loaded:
        loaded.set(profile_key(5), '{"age": 34}')
    assert (await stored(url)).profile == {"age": 34, "interests": ["Drama", "Comedy"]}
    await client.put(PATH, json={"interests": []})
    assert (await stored(url)).profile == {"age": 34}


async def test_a_generation_without_the_feature_reads_nothing_of_them(client: httpx.AsyncClient, url: str) -> None:
    await client.put(PATH, json={"interests": ["Drama"]})
    assert (await stored(url, PLAIN)).profile == {}


async def test_nothing_of_a_user_who_is_being_forgotten_comes_back(client: httpx.AsyncClient, url: str) -> None:
    with redis.Redis.from_url(url) as connection:
        Tombstones(connection).put("5", 8)
        answer = await client.put(PATH, json={"interests": ["Drama"]})
        assert answer.json() == {"interests": ["Drama"], "stored": False}
        assert not connection.exists(interests_key(5))


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (PATH, {"interests": ["a", "b", "c", "d"]}, "interests: at most 3 count (got 4)"),
        (PATH, {"interests": "Drama"}, "interests: input should be a valid list"),
        (PATH, {"interests": [""]}, "interests.0: string should have at least 1 character"),
        (PATH, {}, "interests: is required"),
        (PATH, {"interests": [], "until": 5}, "until: unknown field"),
        ("/v1/users/ann/interests", {"interests": []}, "user: must be an integer"),
    ],
)
async def test_what_cannot_be_said_is_refused_by_name(
    client: httpx.AsyncClient, path: str, body: dict[str, object], expected: str
) -> None:
    answer = await client.put(path, json=body)
    assert (answer.status_code, answer.json()["error"].startswith(expected)) == (400, True), answer.json()


async def test_where_nothing_can_be_said_it_says_how(client: httpx.AsyncClient, specs: Specs) -> None:
    specs.given = PLAIN
    answer = await client.put(PATH, json={"interests": ["Drama"]})
    assert answer.status_code == 400
    assert "add {kind: multi, name: interests, tower: user} to features.yaml" in answer.json()["error"]


async def test_it_takes_a_token_of_users(client: httpx.AsyncClient) -> None:
    page = (await client.get("/openapi.json")).json()
    assert page["paths"]["/v1/users/{user_id}/interests"]["put"]["security"] == [{"token": ["users"]}]
    answer = await client.put(PATH, json={"interests": []}, headers={"Authorization": "Bearer nobody"})
    assert answer.status_code == 401
