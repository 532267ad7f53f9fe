"""What a caller of the client gets, whichever of the two it is."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tenacity import RetryCallState, Retrying

from pagoda import Client, Event
from pagoda.access.tokens import make_tokens, token_of
from pagoda.client.calls import change_items, recommend
from pagoda.client.retrying import AgainError, failed, policy, read
from pagoda.errors import ConfigError, RequestError, UnavailableError
from serving.recall.api import check_values, parse_v1
from serving.recall.similar.bodies import parse_similar
from tests.certificates import write_certificate

from .conftest import Ask
from .services import EXPLANATION, HANG_UP, Service, prediction, serving


def test_a_recommendation_is_typed_and_keeps_what_a_newer_service_adds(ask: Ask, service: Service) -> None:
    answer = ask("recommend", np.int64(5), k=3, exclude_seen=True, arm="canary", deadline=0.25)
    assert (answer.user_id, answer.item_ids, answer.generation, answer.known_user) == (5, [0, 1, 2], "g3", True)
    assert answer.items[1].score == 0.9 and answer.items[1].title == "Item 1"
    path, body, headers = service.asked[0]
    assert (path, body) == (
        "/v1/models/recall:predict",
        {"instances": [{"user_id": 5, "k": 3, "exclude_seen": True}]},
    )
    assert (headers["x-pagoda-arm"], headers["x-pagoda-deadline-ms"]) == ("canary", "250")


def test_items_like_others_are_typed(ask: Ask, service: Service) -> None:
    answer = ask("similar", np.int64(5), 7, k=3, by="behaviour", filter={"genres": "Drama"}, user_id=4, deadline=0.25)
    assert (answer.item_ids, answer.unknown, answer.generation, answer.arm) == ([0, 1, 2], (7,), "g3", "stable")
    path, body, headers = service.asked[0]
    instance = {"item_ids": [5, 7], "k": 3, "by": "behaviour", "filter": {"genres": "Drama"}, "user_id": 4}
    assert (path, body) == ("/v1/models/recall:similar", {"instances": [instance]})
    assert headers["x-pagoda-deadline-ms"] == "250"
    assert parse_similar(json.dumps(body).encode())[0].item_ids == (5, 7)


def test_many_users_go_by_the_hundred_over_one_connection(ask: Ask, service: Service) -> None:
    answers = ask("recommend_many", range(250), k=1)
    assert [answer.user_id for answer in answers] == list(range(250))
    assert [len(body["instances"]) for _, body, _ in service.asked] == [100, 100, 50]
    assert service.connections == 1


@pytest.mark.parametrize(
    ("k", "fields"), [(1000, ["title"]), (None, ["title", "year", "genres"]), (1000, list("abcdefghijklmnopqrst"))]
)
def test_no_request_asks_for_more_than_the_service_says_at_once(k: int | None, fields: list[str]) -> None:
    options = {"fields": fields} | ({"k": k} if k else {})
    parts = [parse_v1(call.body) for call in recommend(range(100), options)]
    for part in parts:
        check_values(part)
    assert sum(map(len, parts)) == 100


def test_an_address_that_is_no_url_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match="begins with http"):
        Client("localhost:8080", token="t").recommend(1)  # noqa: S106


def test_an_event_whose_answer_was_lost_is_sent_again_under_its_id(ask: Ask, service: Service) -> None:
    service.answers = [(HANG_UP, None), (503, {"error": "events: not available now"})]
    event = Event("ann", "mug-1", timestamp=datetime(2026, 11, 1, tzinfo=UTC), context={"device": "tv"})
    assert ask("send_events", [event]).event_ids == (event.event_id,)
    bodies = [body for _, body, _ in service.asked]
    assert len(bodies) == 3 and bodies[0] == bodies[1] == bodies[2]
    assert bodies[0]["events"][0]["timestamp"] == "2026-11-01T00:00:00+00:00"


def test_events_go_by_the_two_hundred_and_are_counted_together(ask: Ask, service: Service) -> None:
    taken = ask("send_events", (Event(user, 1) for user in range(450)))
    assert (taken.taken, len(set(taken.event_ids)), len(service.asked)) == (450, 450, 3)


def test_a_receipt_is_handed_back_as_it_came_and_left_out_where_there_is_none(ask: Ask, service: Service) -> None:
    service.answers = [(200, {"predictions": [{**prediction(2), "receipt": "cGFnb2Rh"}]})]
    told, silent = ask("recommend", 5), ask("recommend", 6)
    assert (told.receipt, silent.receipt) == ("cGFnb2Rh", None)
    ask("send_events", [Event(5, 0, receipt=told.receipt), Event(6, 0, receipt=silent.receipt)])
    handed, without = service.asked[-1][1]["events"]
    assert handed["receipt"] == "cGFnb2Rh" and "receipt" not in without


def test_what_a_user_likes_is_put_and_may_be_sent_again(ask: Ask, service: Service) -> None:
    service.answers = [(HANG_UP, None)]
    said = ask("say_interests", np.int64(5), ["Drama", "Comedy"])
    assert (said.interests, said.stored) == (("Drama", "Comedy"), True)
    assert [(path, body) for path, body, _ in service.asked] == [
        ("/v1/users/5/interests", {"interests": ["Drama", "Comedy"]})
    ] * 2


def test_an_explanation_is_asked_for_by_who_operates(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    make_tokens(home / "tokens")
    monkeypatch.setenv("PAGODA_RECALL__URL", service.url)
    with Client(home=home) as client:
        assert client.recommend(5).explanation is None
        assert _shown(service) == f"Bearer {token_of(home / 'tokens', 'ask')}"
        newer = {**EXPLANATION, "weather": "fine"}
        service.answers = [(200, {"predictions": [{**prediction(1), "explanation": newer}]})]
        assert client.recommend(5, explain=True).explanation == newer, "what a newer service adds is kept"
    assert service.asked[-1][1]["instances"] == [{"user_id": 5, "explain": True}]
    assert _shown(service) == f"Bearer {token_of(home / 'tokens', 'operate')}"


def test_an_item_change_that_may_have_been_taken_is_not_sent_again(ask: Ask, service: Service) -> None:
    service.answers = [(HANG_UP, None)]
    with pytest.raises(UnavailableError, match="may have been taken"):
        ask("change_items", remove=[3])
    assert len(service.asked) == 1
    service.answers = [(503, {"error": "items: not available now"})]
    assert ask("change_items", upsert=[{"item_id": 17, "year": 1994}], remove=[3]).changes == 2


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (400, RequestError, "k: must be at least 1"),
        (401, ConfigError, "PAGODA_TOKEN.*role is `ask`"),
        (500, UnavailableError, "500 k: must"),
    ],
)
def test_a_refusal_says_what_to_do_and_is_not_tried_again(
    ask: Ask, service: Service, status: int, kind: type[Exception], says: str
) -> None:
    service.answers = [(status, {"error": "k: must be at least 1"})]
    with pytest.raises(kind, match=says):
        ask("recommend", 5, k=0)
    assert len(service.asked) == 1


@pytest.mark.parametrize("answer", [{"predictions": []}, {"predictions": [{"items": 1}]}, [], "welcome"])
def test_what_is_no_answer_of_the_service_is_said_to_be_none(ask: Ask, service: Service, answer: Any) -> None:
    service.answers = [(200, answer)]
    with pytest.raises(UnavailableError, match=r"no answer of Pagoda's.*is the URL right"):
        ask("recommend", 5)


def test_without_patience_there_is_one_try(ask: Ask, service: Service) -> None:
    service.answers = [(503, {"error": "recall: not available now"})]
    with pytest.raises(UnavailableError, match="503 recall: not available"):
        ask("recommend", 5, options={"patience": 0})
    assert len(service.asked) == 1


def test_readiness_is_waited_for(ask: Ask, service: Service) -> None:
    service.answers = [(503, {"ready": False}), (200, {"ready": False})]
    ask("wait_ready", 10)
    service.answers = [(200, {"ready": False})] * 9
    with pytest.raises(UnavailableError, match="is not ready"):
        ask("wait_ready", 0)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [("7", 7, 7.3), ("", 0, 0.3), ("soon", 0, 0.3), ("Sun, 06 Nov 1994 08:49:37 GMT", 0, 0.3)],
)
def test_nobody_comes_back_before_the_service_asks_them_to(header: str, least: float, most: float) -> None:
    call = next(recommend([5], {}))
    with pytest.raises(AgainError) as caught:
        read(call, "http://here", httpx.Response(503, headers={"Retry-After": header}, json={"error": "later"}))
    state = RetryCallState(Retrying(), None, (), {})
    state.set_exception((AgainError, caught.value, None))
    waits = [policy(30)["wait"](state) for _ in range(20)]
    assert least <= min(waits) and max(waits) <= most
    assert len(set(waits)) == 20, "callers whom one failure hit do not come back together"


def test_what_was_never_sent_may_be_sent_again_whatever_it_is() -> None:
    refused, lost = httpx.ConnectError("refused"), httpx.ReadTimeout("")
    change = change_items([], [3])
    assert isinstance(failed(change, "http://here", refused), AgainError)
    assert not isinstance(failed(change, "http://here", lost), AgainError)


@pytest.mark.parametrize(
    ("value", "says"),
    [(float("nan"), "JSON"), (datetime(2026, 1, 1), "must have a zone"), ({1}, "a set cannot")],
)
def test_what_no_json_can_hold_is_refused_before_it_is_sent(ask: Ask, service: Service, value: Any, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        ask("recommend", 5, context={"at": value})
    assert not service.asked


def _shown(service: Service) -> str | None:
    return service.asked[-1][2].get("Authorization")


def test_the_homes_tokens_are_shown_to_the_homes_addresses_alone(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tokens(tmp_path / "tokens")
    (tmp_path / "endpoints.yaml").write_text(f"recall: {{url: '{service.url}'}}\nitems: {{url: '{service.url}'}}\n")
    with Client(home=tmp_path) as client:
        client.recommend(5)
        assert _shown(service) == f"Bearer {token_of(tmp_path / 'tokens', 'ask')}"
        client.change_items(remove=[1])
        assert _shown(service) == f"Bearer {token_of(tmp_path / 'tokens', 'items')}"
    with serving() as other, Client(other.url, home=tmp_path) as client:
        client.recommend(5)
        assert _shown(other) is None
        monkeypatch.setenv("PAGODA_TOKEN", "from the environment")
    with Client(home=tmp_path) as client, Client(home=tmp_path, token="given") as named:  # noqa: S106
        client.recommend(5)
        assert _shown(service) == "Bearer from the environment"
        named.recommend(5)
        assert _shown(service) == "Bearer given"


def test_who_knows_no_address_is_told_how_to_name_one(tmp_path: Path) -> None:
    with Client(home=tmp_path) as client:
        with pytest.raises(ConfigError, match=r"pass url=.*PAGODA_RECALL__URL.*PAGODA_HOME"):
            client.recommend(5)
        with pytest.raises(ConfigError, match=r"pass items_url=.*PAGODA_ITEMS__URL"):
            client.change_items(remove=[1])


def test_a_private_authority_is_named_by_its_file(tmp_path: Path) -> None:
    public = write_certificate(tmp_path / "tls")
    with serving(tmp_path / "tls") as secure:
        with Client(secure.url, verify=public) as client:
            assert client.recommend(5).generation == "g3"
        with Client(secure.url) as stranger, pytest.raises(ConfigError, match="verify=… names"):
            stranger.recommend(5)
    with pytest.raises(ConfigError, match="no certificates of an authority"):
        Client(secure.url, verify=tmp_path / "absent.pem")
