"""`pagoda ask` and `pagoda similar`: what a person sees of a user and of items, by title, within 80 columns."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import Result
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.client.calls import SIMILAR
from pagoda.data.window import to_us
from pagoda.errors import ConfigError, PagodaError, RequestError, UnavailableError
from pagoda.generations.arms import Arms
from pagoda.generations.manifest import Artifact, Manifest
from pagoda.item_vectors.item_fields import write_item_fields
from pagoda.rollout.state.log_reading import split_of
from pagoda.rollout.state.split import ARM_HEADER
from pagoda.storage.checksums import checksum_file
from serving.console import asking, similar
from serving.console.users import KnownUser
from tests.serving.callers import HEADERS, give_token
from tests.serving.fakes import FakeLog, manifest
from tests.serving.worlds import make_spec

SPEC = make_spec().model_copy(update={"title": "title"})
TITLES = {number: f"Film {number}, whose title goes on for longer than a column is wide" for number in range(1, 40)}
TITLES |= {7: "Alien [red]\x1b[31m\n(1979)"}
PAST = to_us(datetime(1998, 4, 22, 23, 10, tzinfo=UTC))


@dataclass
class FakeRecall:
    """Answers with the items of an arm, but for those of events; without fields if it is told so."""

    items: dict[str, list[int]] = field(default_factory=lambda: {"stable": [1, 2, 3, 4, 5], "canary": [3, 1, 9, 8, 7]})
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    missing: bool = False
    known: bool = True
    lost: bool = False
    unknown: tuple[int, ...] = ()

    def answer(self, path: str, arm: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """What the service at a path says."""
        if path == "/v1/events":
            self.events += body["events"]
            if self.lost:  # The event is taken, and nobody hears of it.
                self.lost = False
                return 503, {"error": "try again"}
            return 200, {"event_ids": [event["event_id"] for event in body["events"]], "taken": 1, "duplicates": 0}
        (instance,) = body["instances"]
        self.asked.append((arm, instance))
        if path == SIMILAR:
            return 200, {"predictions": [{**self._prediction("stable", [2, 7]), "unknown": self.unknown}]}
        if "colour" in instance["filter"]:
            return 400, {"error": "instances.0.filter.colour: unknown"}
        gone = {event["item_id"] for event in self.events}
        items = [item for item in [*self.items[arm or "stable"], 20][: instance["k"] + 1] if item not in gone]
        return 200, {"predictions": [self._prediction(arm or "stable", items[: instance["k"]])]}

    def _prediction(self, arm: str, items: list[int]) -> dict[str, Any]:
        def item(number: int) -> dict[str, Any]:
            fields = {} if self.missing else {"fields": {"title": TITLES[number]}}
            return {"item_id": number, "score": 1 / number, **fields}

        return {
            "items": [item(number) for number in items],
            "generation": {"stable": "g3", "canary": "g4"}[arm],
            "arm": arm,
            "known_user": self.known,
            "degraded": ["fields_missing"] if self.missing else [],
            "timing_ms": {"total": 1.0},
        }


class Installation:
    """A home, a service, and a log in which g3 is stable."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.recall = home, FakeRecall()
        give_token(home / "tokens")
        fields = home / "fields.arrow"
        write_item_fields(fields, SPEC, _items())
        file = Artifact(uri=f"file://{fields}", checksum=checksum_file(fields))
        made: list[Manifest] = [manifest(n, SPEC).model_copy(update={"item_fields": (file,)}) for n in (3, 4)]
        self.log = FakeLog(made, Arms(stable="g3"))
        self.user = KnownUser({"age": 60.0, "gender": "M"}, [{"item_id": 7, "timestamp": PAST}], 12)
        for module in (asking, similar):
            monkeypatch.setattr(module, "open_log", lambda _: self.log.as_log())
        monkeypatch.setattr(asking, "known_user", lambda *_: self.user)

    def ask(self, *words: str, verb: str = "ask") -> Result:
        """`pagoda ask WORDS`, or another verb, on a terminal of 80 columns; an error is raised."""
        environment = {"COLUMNS": "80", "PAGODA_RECALL__URL": self.url, "PAGODA_REDIS__URL": "redis://nobody"}
        done = CliRunner().invoke(app, [verb, "--home", str(self.home), *words], env=environment)
        if isinstance(done.exception, PagodaError):
            raise done.exception
        assert done.exception is None, done.exception
        return done

    def see(self, *words: str, verb: str = "ask") -> str:
        """What it prints, and that it fits."""
        shown = self.ask(*words, verb=verb).stdout
        assert max(map(len, shown.splitlines())) <= 80
        assert "\x1b" not in shown
        return shown

    url = ""


def _items() -> pa.Table:
    ids = sorted(TITLES)
    columns = {"item_id": ids, "title": [TITLES[item] for item in ids], "year": [None] * len(ids)}
    return pa.table({**columns, "genres": pa.array([None] * len(ids), pa.list_(pa.string()))})


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """With its service at its URL."""
    made = Installation(tmp_path, monkeypatch)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["authorization"] == HEADERS["Authorization"]
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, content = made.recall.answer(self.path, self.headers.get(ARM_HEADER, ""), body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        made.url = f"http://127.0.0.1:{server.server_port}"
        yield made
        server.shutdown()
        thread.join()


def test_history_and_recommendations_have_titles_and_what_is_known_is_said(installation: Installation) -> None:
    shown = installation.see("5", "--k", "3", "--filter", '{"genres": ["Comedy"]}', "--text", "alien")
    assert "User 5: has an ID row; events read: 1; items had: 12" in shown
    assert "Profile: age 60, gender M" in shown
    assert "1998-04-22 23:10  Alien [red] [31m (1979)" in shown, "a title is no markup and steers no terminal"
    assert "recommended by g3 (stable)" in shown
    assert "Film 1, whose title" in shown and "1.000" in shown and "Film 4" not in shown
    assert installation.recall.asked == [
        (
            "",
            {
                "user_id": 5,
                "k": 3,
                "exclude_seen": True,
                "filter": {"genres": ["Comedy"]},
                "fields": ["title"],
                "text": "alien",
            },
        )
    ]


def test_a_click_is_sent_and_what_it_moved_is_seen(installation: Installation) -> None:
    shown = installation.see("5", "--k", "5", "--click", "2")
    (sent,) = installation.recall.events
    assert len(sent.pop("event_id")) == 32 and sent == {"user_id": 5, "item_id": 2, "event": "click"}
    before, after = shown.split("before, g3 (stable)")
    assert "Sent: click on Film 2" in before
    rows = [line.split() for line in after.splitlines()[1:6]]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [next(w for w in row if w in ("=", "↑1", "new")) for row in rows] == ["=", "↑1", "↑1", "↑1", "new"]
    with pytest.raises(RequestError, match="--click 6: the answer has 5 items"):
        installation.ask("5", "--k", "5", "--click", "6")


def test_a_click_whose_answer_was_lost_is_sent_again_as_the_same(installation: Installation) -> None:
    installation.recall.lost = True
    installation.see("5", "--click", "2")
    first, again = installation.recall.events
    assert first == again, "the service takes it once"


def test_both_arms_stand_side_by_side_the_users_own_first(installation: Installation) -> None:
    installation.log.try_out(50)
    split = split_of(installation.log.state())
    user = next(user for user in range(100) if split and split.choose(user).arm == "canary")
    shown = installation.see(str(user))
    assert [arm for arm, _ in installation.recall.asked] == ["canary", "stable"]
    assert "g4 (canary), own arm" in shown and "g3 (stable)" in shown
    assert "Alien [red] [31m (1979)" in shown and "new" in shown and "↑1" in shown


def test_nothing_known_and_no_history_are_said(installation: Installation) -> None:
    installation.user, installation.recall.known = KnownUser({}, [], 0), False
    shown = installation.see("5")
    assert (
        "has no ID row, so is answered as a newcomer" in shown
        and "Nothing is known of them" in shown
        and "1.000" in shown
    )
    installation.user = KnownUser({"age": 20.0}, [], 0)
    assert "No history: no event of theirs is one that the tower reads." in installation.see("5")


def test_where_there_are_no_titles_ids_are_shown_and_why(installation: Installation) -> None:
    installation.recall.missing = True
    installation.log.manifests = [manifest(3, SPEC)]
    shown = installation.see("5")
    assert "g3 (stable): degraded, fields_missing" in shown
    assert "Without titles: generation g3: was made without fields of items" in " ".join(shown.split())


def test_scripts_get_all_of_it(installation: Installation) -> None:
    told = json.loads(installation.ask("5", "--k", "2", "--click", "1", "--output", "json").stdout)
    assert told["known"]["events"] == [{"item_id": 7, "timestamp": PAST, "title": TITLES[7]}]
    assert [item["title"] for item in told["answers"][0]["items"]] == [TITLES[1], TITLES[2]]
    assert told["clicked"] == {"item_id": 1, "event": "click"}
    assert [item["item_id"] for item in told["then"]["items"]] == [2, 3]


@pytest.mark.parametrize(
    ("words", "kind", "named"),
    [
        (("five",), RequestError, "user: must be an integer"),
        (("5", "--filter", "genres=Comedy"), RequestError, "filter genres=Comedy: is not JSON"),
        (("5", "--filter", "[1]"), RequestError, 'must be a JSON object, such as {"genres"'),
        (("5", "--filter", '{"colour": "red"}'), RequestError, "instances.0.filter.colour: unknown"),
    ],
)
def test_what_is_wrong_is_named(
    installation: Installation, words: tuple[str, ...], kind: type[PagodaError], named: str
) -> None:
    with pytest.raises(kind) as error:
        installation.ask(*words)
    assert named in str(error.value)


def test_what_does_not_answer_or_is_not_there_yet_is_named(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_PATIENCE_SECONDS", 0.0)
    url, installation.url = installation.url, ""
    with pytest.raises(ConfigError, match=r"set recall\.url"):
        installation.ask("5")
    installation.url = "http://127.0.0.1:9"
    with pytest.raises(UnavailableError, match=r"recall at http://127\.0\.0\.1:9/v1.*see `pagoda status`"):
        installation.ask("5")
    installation.url, installation.log.arms = url, Arms()
    with pytest.raises(UnavailableError, match="nothing was released yet"):
        installation.ask("5")


def test_items_like_others_have_titles(installation: Installation) -> None:
    installation.recall.unknown = (99,)
    words = ("7", "99", "--k", "2", "--by", "behaviour", "--filter", '{"genres": ["Comedy"]}')
    shown = installation.see(*words, verb="similar")
    assert "like Alien [red] [31m (1979)" in shown
    assert "1  Film 2, whose title" in shown and "0.500" in shown
    assert "g3 does not have 99" in shown
    instance = {"item_ids": [7, 99], "k": 2, "by": "behaviour", "filter": {"genres": ["Comedy"]}}
    assert installation.recall.asked == [("", instance)]
    told = json.loads(installation.ask(*words, "--output", "json", verb="similar").stdout)
    assert (told["item_ids"], told["unknown"], told["items"][0]["title"]) == ([7, 99], [99], TITLES[2])


def test_an_item_that_is_none_of_the_dataset_is_refused(installation: Installation) -> None:
    with pytest.raises(RequestError, match="item: must be an integer"):
        installation.ask("alien", verb="similar")
    assert not installation.recall.asked
