"""The console's pages: what they show is what the log says, and what their buttons do is in it with a name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from markupsafe import escape

from pagoda.access.roles import ROLES, Role
from pagoda.rollout import commands, showing
from pagoda.rollout.state.history import rollouts
from pagoda.settings import Settings, load_settings
from serving.console import pages
from serving.console.app import build_console
from serving.console.people import Invitations, Person
from tests.cli.test_ask_explained import Explaining
from tests.rollout.worlds import Said, Stage, add_full, add_incremental, quick
from tests.serving.callers import HEADERS
from tests.serving.console.test_ask import Installation, installation

__all__ = ["installation"]
PLACE = "http://127.0.0.1:7000"
EVERYTHING: frozenset[Role] = frozenset(ROLES)


class Browser:
    """Somebody's browser: it keeps cookies and says where forms are from."""

    def __init__(self, stage: Stage, folder: Path, settings: Settings | None = None) -> None:
        self.stage, self.invitations = stage, Invitations(folder / "invited")
        app = build_console(settings or Settings(home=folder), stage.log, self.invitations, ("127.0.0.1",))
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PLACE)
        self.root = ""

    async def come_in(self, roles: frozenset[Role] = EVERYTHING) -> Browser:
        token = self.invitations.invite(Person("ann", roles))
        answer = await self.client.get("/login", params={"token": token})
        assert answer.status_code == 303
        self.root = answer.headers["location"].rstrip("/")
        return self

    async def get(self, path: str, status: int = 200) -> str:
        answer = await self.client.get(self.root + path)
        assert answer.status_code == status, answer.text
        return answer.text

    async def post(self, path: str, status: int = 303, origin: str = PLACE, **form: str) -> str:
        answer = await self.client.post(self.root + path, data=form, headers={"Origin": origin} if origin else {})
        assert answer.status_code == status, answer.text
        return answer.text


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A canary whose clicks hold it."""
    stage = Stage()
    stage.metrics = Said(requests=20_000, users=40, click_rate=0.1)
    stage.driver = stage.drive()
    commands.start(stage.log, "g2", policy=quick(), by="full update")
    stage.turn(5)
    monkeypatch.setattr(showing, "open_log", lambda _: stage.log)
    monkeypatch.setattr(showing, "open_driver", lambda _: stage.drive())
    return stage


@pytest.fixture
async def browser(stage: Stage, tmp_path: Path) -> AsyncIterator[Browser]:
    one = Browser(stage, tmp_path)
    async with one.client:
        yield one


async def test_an_invitation_is_good_once(browser: Browser) -> None:
    assert "pagoda ui" in await browser.get("/", 401)
    token = browser.invitations.invite(Person("ann", EVERYTHING))
    answers = [await browser.client.get("/login", params={"token": token}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 401]
    cookie, browser.root = answers[0].headers["set-cookie"], answers[0].headers["location"].rstrip("/")
    # Browsers send the cookies of 127.0.0.1 to all its ports; those of a path only where they ask below it.
    assert f"path={browser.root}/" in cookie.lower().replace(browser.root.lower(), browser.root)
    assert "httponly" in cookie.lower() and "samesite=strict" in cookie.lower()
    assert token not in "".join(path.name for path in browser.invitations._folder.iterdir())
    await browser.get("/rollouts")
    await browser.post("/logout", 200)
    await browser.get("/rollouts", 401)


@pytest.mark.parametrize(
    ("headers", "said"),
    [({"Host": "evil.example"}, "Host"), ({"Origin": "http://evil.example"}, "Origin"), ({}, "Origin")],
)
async def test_another_site_can_do_nothing(browser: Browser, headers: dict[str, str], said: str) -> None:
    await browser.come_in()
    before = browser.stage.log.state().head
    answer = await browser.client.post(f"{browser.root}/rollouts/r4/abort", headers=headers)
    assert answer.status_code == 403 and answer.text.startswith(said)
    assert browser.stage.log.state().head == before


async def test_neither_the_path_nor_the_cookie_is_enough_alone(browser: Browser) -> None:
    ann = await browser.come_in()
    (cookie,) = ann.client.cookies.jar
    stranger = httpx.AsyncClient(transport=ann.client._transport, base_url=PLACE)
    assert (await stranger.get(f"{ann.root}/")).status_code == 401
    for path in ("/", "/rollouts", f"/{cookie.value}/"):
        shown = {"Cookie": f"{cookie.name}={cookie.value}"}
        assert (await stranger.get(path, headers=shown)).status_code == 401


@pytest.mark.parametrize(("path", "status"), [("/static/none.js", 404), ("/static/%2e%2e/door.py", 404), ("//", 401)])
async def test_who_is_not_in_gets_no_page_and_no_other_file(browser: Browser, path: str, status: int) -> None:
    url = httpx.URL(PLACE).copy_with(raw_path=path.encode())
    answer = await browser.client.get(url)
    assert answer.status_code == status and "ConsoleDoor" not in answer.text


async def test_every_page_lets_a_browser_load_nothing_from_elsewhere(browser: Browser) -> None:
    await browser.come_in()
    (rollout,) = rollouts(browser.stage.log)
    for path in ("/", "/rollouts", f"/rollouts/{rollout.id}", "/versions", "/versions/1", "/versions/1..2", "/try"):
        answer = await browser.client.get(browser.root + path)
        assert answer.status_code == 200, answer.text
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "://" not in answer.text and " style=" not in answer.text and " onclick=" not in answer.text


async def test_a_page_and_its_json_say_the_same(browser: Browser) -> None:
    await browser.come_in()
    (rollout,) = rollouts(browser.stage.log)
    page, shown = await browser.get(f"/rollouts/{rollout.id}"), await browser.get(f"/api/rollouts/{rollout.id}")
    now = json.loads(shown)["now"]
    assert now == json.loads(json.dumps(showing.as_json(showing.see(Settings()))))
    assert now["waits"] and all(escape(wait) in page for wait in now["waits"])
    held = [gate for gate in json.loads(shown)["gates"] if gate["verdict"] == "hold"]
    assert held and all(escape(gate["detail"]) in page for gate in held)
    assert json.loads(await browser.get("/api/rollouts"))["rollouts"][0]["outcome"] == "in progress"


async def test_what_is_done_is_a_record_with_the_name_of_who_did_it(browser: Browser) -> None:
    await browser.come_in()
    (rollout,) = rollouts(browser.stage.log)
    await browser.post(f"/rollouts/{rollout.id}/pause", reason="lunch")
    await browser.post(f"/rollouts/{rollout.id}/resume")
    await browser.post(f"/rollouts/{rollout.id}/abort", reason="the titles look wrong")
    steps = rollouts(browser.stage.log)[0].steps[-3:]
    assert [(step.kind, step.by) for step in steps] == [(kind, "ann") for kind in ("paused", "resumed", "rolled_back")]
    page = await browser.get(f"/rollouts/{rollout.id}")
    assert "the titles look wrong" in page and "rolled back" in page
    assert "is rolled_back" in await browser.post(f"/rollouts/{rollout.id}/abort", 409)


async def test_a_promotion_says_what_it_overrules_and_wants_the_name_typed(browser: Browser) -> None:
    await browser.come_in()
    (rollout,) = rollouts(browser.stage.log)
    overruled = json.loads(await browser.get(f"/api/rollouts/{rollout.id}"))["overrules"]
    assert "clicks" in {gate["gate"] for gate in overruled}
    page = await browser.get(f"/rollouts/{rollout.id}")
    assert all(f"<strong>{gate['gate']}</strong> says" in page for gate in overruled)
    assert "type the candidate" in await browser.post(f"/rollouts/{rollout.id}/promote", 409, typed="g1")
    await browser.post(f"/rollouts/{rollout.id}/promote", typed="g2")
    assert rollouts(browser.stage.log)[0].steps[-1].kind == "forced"


async def test_who_only_watches_is_shown_no_buttons_and_can_press_none(browser: Browser) -> None:
    await browser.come_in(frozenset({"watch"}))
    (rollout,) = rollouts(browser.stage.log)
    assert "<h2>Do</h2>" not in await browser.get(f"/rollouts/{rollout.id}")
    assert "operate" in await browser.post(f"/rollouts/{rollout.id}/abort", 403)
    assert "role `ask`" in await browser.get("/try?user=5", 403)


async def test_a_click_shows_no_profile_to_who_may_not_see_users(browser: Browser) -> None:
    await browser.come_in(EVERYTHING - {"users"})
    assert "role `users`" in await browser.post("/try", 403, user="5", click="1")


async def test_a_rollout_that_was_replaced_meanwhile_is_not_acted_on(browser: Browser) -> None:
    await browser.come_in()
    (first,) = rollouts(browser.stage.log)
    commands.abort(browser.stage.log, by="driver")
    browser.stage.turn(10, seconds=4000)
    commands.start(browser.stage.log, add_full(browser.stage.log, 9), policy=quick(), by="again")
    assert "not the latest" in await browser.post(f"/rollouts/{first.id}/abort", 409)


async def test_an_empty_installation_says_what_to_do_first(tmp_path: Path) -> None:
    browser = Browser(Stage(stable=False), tmp_path)
    async with browser.client:
        await browser.come_in()
        assert "pagoda update full" in await browser.get("/")
        assert "pagoda rollout start" in await browser.get("/rollouts")
        assert "is unknown" in await browser.get("/rollouts/r9", 409)
        assert "nothing was released yet" in await browser.get("/try?user=5")


async def test_versions_show_incrementals_as_beads_on_their_base_and_a_page_has_an_end(browser: Browser) -> None:
    await browser.come_in()
    add_incremental(browser.stage.log, 3, 1, "g1")
    page = json.loads(await browser.get("/api/versions"))
    assert [[one["version"] for one in tree["incrementals"]] for tree in page["trees"]] == [[], [3]]
    assert "Incremental versions on v1" in await browser.get("/versions")
    assert json.loads(await browser.get("/api/versions?before=2"))["trees"][0]["version"] == 1


@pytest.fixture
async def trying(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Browser]:
    """With a service that answers."""
    monkeypatch.setenv("PAGODA_RECALL__URL", installation.url)
    monkeypatch.setenv("PAGODA_REDIS__URL", "redis://nobody")
    one = Browser(Stage(), installation.home, load_settings(installation.home))
    async with one.client:
        yield await one.come_in()


async def test_a_person_sees_what_a_user_is_recommended_and_what_a_click_moves(
    trying: Browser, installation: Installation
) -> None:
    page = await trying.get("/try?user=5&k=3")
    assert "Film 2, whose title" in page and "After the click" not in page and not installation.recall.events
    await trying.get("/try?user=5&k=3&click=2")
    assert not installation.recall.events  # What is only looked at sends nothing.
    page = await trying.post("/try", 200, user="5", k="3", click="2")
    (event,) = installation.recall.events
    assert (event["user_id"], event["item_id"]) == (5, 2)
    assert "After the click" in page and "Sent: click on Film 2" in page
    assert "is not JSON" in await trying.get("/try?user=5&wanted=genres")


async def test_both_arms_stand_side_by_side_with_why(trying: Browser, installation: Installation) -> None:
    installation.recall = Explaining()
    installation.log.try_out(50)
    page = await trying.get("/try?user=5&k=4&explain=true")
    assert "stable g3" in page and "canary g4" in page and "own arm" in page
    assert page.count("Why these, by") == 2


async def test_a_title_is_text_and_no_token_is_on_a_page(trying: Browser, installation: Installation) -> None:
    installation.recall.items["stable"] = [7, 2, 3]
    page = await trying.get("/try?user=5&k=3")
    assert "Alien [red]" in page and HEADERS["Authorization"].split()[1] not in page


async def test_what_a_title_or_a_reason_holds_is_text(browser: Browser) -> None:
    await browser.come_in()
    (rollout,) = rollouts(browser.stage.log)
    await browser.post(f"/rollouts/{rollout.id}/abort", reason="<script>alert(1)</script>")
    assert "<script>alert" not in await browser.get(f"/rollouts/{rollout.id}")


async def test_what_many_follow_is_read_once_for_all_of_them_and_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_EVERY_SECONDS", 0.2)
    reads: list[str] = []

    def read(name: str) -> dict[str, str]:
        reads.append(name)
        return {"name": name}

    shown = pages.Pages()
    found = await asyncio.gather(*(shown._read("page", partial(read, name=name)) for name in ("r1", "r1", "r2", "r1")))
    assert [one["name"] for one in found] == ["r1", "r1", "r2", "r1"] and sorted(reads) == ["r1", "r2"]
    async with asyncio.timeout(10):
        while len(reads) < 3:
            await shown._read("page", partial(read, name="r1"))
            await asyncio.sleep(0.01)
