"""A user's answer with all that a person wants to see beside it: history, titles, arms, and what a click moves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from pagoda.client import Client, Event, Recommendation, RecommendedItem
from pagoda.client.calls import Options
from pagoda.data.spec import FeatureSpec
from pagoda.errors import ConfigError, RequestError, UnavailableError
from pagoda.generations.arms import Arm
from pagoda.generations.release_log import open_log
from pagoda.generations.state import ReleaseState
from pagoda.rollout.state.log_reading import split_of
from pagoda.settings import Settings
from serving.console.titles import titles_of
from serving.console.users import KnownUser, known_user
from serving.recall.fallback.steps import FIELDS
from serving.users.forgetting import parse_user
from serving.users.keys import Key

_TRY_SECONDS, _PATIENCE_SECONDS = 30.0, 3.0
"""Of a person, who sees nothing meanwhile."""


@dataclass(frozen=True)
class Question:
    """What is asked of each arm."""

    user: Key
    k: int
    filter: Mapping[str, Any]
    text: str
    """Empty: none."""
    arms: tuple[Arm | None, ...]
    """The user's own first; None: whichever it is, for no rollout is on."""
    specs: Mapping[Arm, FeatureSpec]
    """By arm."""

    def options(self, arm: Arm | None) -> Options:
        """What a request to an arm names beside the user."""
        asked: Options = {"k": self.k, "exclude_seen": True, "filter": self.filter}
        if title := self.specs[arm or "stable"].title:
            asked["fields"] = [title]
        if self.text:
            asked["text"] = self.text
        if arm:
            asked["arm"] = arm
        return asked


@dataclass(frozen=True)
class UserSeen:
    """What a person sees of a user."""

    user: Key
    known: KnownUser | None
    """None: this installation names no online store, so it is not seen from here."""
    answers: Sequence[Recommendation]
    """One of each arm that is on, the user's own first."""
    titles: Mapping[Key, str]
    """Of past and of recalled items, as far as they have one."""
    untitled: str
    """Why items have no titles; empty where they have."""
    clicked: Key | None = None
    """The item whose event was sent."""
    event: str = ""
    then: Recommendation | None = None
    """The answer after it, by the user's own arm."""


def look(
    settings: Settings, user: str, *, k: int, wanted: Mapping[str, Any], text: str = "", click: int = 0
) -> UserSeen:
    """Ask for a user's items.

    Args:
        settings: Of this installation.
        user: ID, as a person types it.
        k: Items at most.
        wanted: The filter, as requests have it.
        text: What is looked for in titles and texts, beside what fits the user; empty: nothing.
        click: Number of the item, from 1, for which an event is sent before asking again; 0: none.

    Raises:
        RequestError: The user, the filter or the number is wrong.
        UnavailableError: Nothing was released yet, or a server does not answer.
        ConfigError: The settings do not say where recall is, or it does not take their tokens.
    """
    question, spec = _question(open_log(settings).state(), user, k, wanted, text)
    known = known_user(settings.redis.url, question.user, spec) if settings.redis.url else None
    with asking_recall(settings) as client:
        answers = [_ask(client, question, arm) for arm in question.arms]
        seen = UserSeen(question.user, known, answers, {}, "")
        if click:
            seen = _click(client, question, spec, seen, click)
    return _titled(settings, seen)


@contextmanager
def asking_recall(settings: Settings) -> Iterator[Client]:
    """Asks recall. What it says where that does not answer is for people who run it."""
    if not settings.recall.url:
        raise ConfigError(f"recall: set recall.url (`pagoda up` does, in {settings.home}/endpoints.yaml)")
    try:
        with Client(home=settings.home, timeout=_TRY_SECONDS, patience=_PATIENCE_SECONDS) as client:
            yield client
    except UnavailableError as error:
        raise UnavailableError(f"recall at {error}; see `pagoda status` and `pagoda logs recall`") from error


def moves(before: Sequence[RecommendedItem], after: Sequence[RecommendedItem]) -> list[int | None]:
    """For each item of the later answer how many places it rose; None: it was not in the earlier one."""
    places = {item.item_id: place for place, item in enumerate(before)}
    return [places[item.item_id] - place if item.item_id in places else None for place, item in enumerate(after)]


def as_json(seen: UserSeen) -> dict[str, Any]:
    """All of it for scripts, with the title beside each item."""

    def titled(answer: Recommendation) -> dict[str, Any]:
        items = [
            {
                "item_id": one.item_id,
                "title": seen.titles.get(one.item_id),
                "score": one.score,
                **({"channels": one.channels} if one.channels else {}),
            }
            for one in answer.items
        ]
        return {"items": items, **answer.model_dump(mode="json", exclude={"items", "user_id"})}

    known = asdict(seen.known) if seen.known else None
    if known:
        known["events"] = [{**event, "title": seen.titles.get(event["item_id"])} for event in known["events"]]
    return {
        "user_id": seen.user,
        "known": known,
        "answers": [titled(answer) for answer in seen.answers],
        "clicked": None if seen.then is None else {"item_id": seen.clicked, "event": seen.event},
        "then": titled(seen.then) if seen.then else None,
    }


def name_of(titles: Mapping[Key, str], item: Key | None) -> str:
    """What a person knows an item by, on one line and without what would steer a terminal."""
    return one_line("" if item is None else titles.get(item, str(item)))


def one_line(text: str) -> str:
    """A text on one line and without what would steer a terminal."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def value_of(value: Any) -> str:
    """A raw value of a feature."""
    if isinstance(value, list):
        return "/".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_filter(text: str) -> dict[str, Any]:
    """A filter as a person typed it; nothing is none.

    Raises:
        RequestError: It is no JSON object.
    """
    try:
        content = json.loads(text or "{}")
    except ValueError as error:
        raise RequestError(f"filter {text}: is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise RequestError(f"filter {text}: must be a JSON object, such as " + '{"genres": ["Comedy"]}')
    return content


def _question(
    state: ReleaseState, typed: str, k: int, wanted: Mapping[str, Any], text: str
) -> tuple[Question, FeatureSpec]:
    split = split_of(state)
    if split is None:
        raise UnavailableError("nothing was released yet, so nobody is answered; `pagoda update full` makes the first")
    stable = state.generation(split.stable).spec
    parsed = parse_user(stable, typed)
    user: Key = int(parsed) if stable.id_type == "int64" else parsed
    generations: dict[Arm, str] = {"stable": split.stable, **({"canary": split.canary} if split.canary else {})}
    own = split.choose(user).arm
    specs = {arm: state.generation(id_).spec for arm, id_ in generations.items()}
    arms: tuple[Arm | None, ...] = (own, *(arm for arm in generations if arm != own)) if split.canary else (None,)
    return Question(user, k, wanted, text, arms, specs), specs[own]


def _ask(client: Client, question: Question, arm: Arm | None) -> Recommendation:
    return client.recommend(question.user, **question.options(arm))


def _click(client: Client, question: Question, spec: FeatureSpec, seen: UserSeen, number: int) -> UserSeen:
    items = seen.answers[0].items
    if number > len(items):
        raise RequestError(f"--click {number}: the answer has {len(items)} items")
    item, event = items[number - 1].item_id, spec.positives[0]
    client.send_events([Event(question.user, item, event)])
    return replace(seen, clicked=item, event=event, then=_ask(client, question, question.arms[0]))


def _titled(settings: Settings, seen: UserSeen) -> UserSeen:
    """With titles: those of the answers, and of what the user had from the generation's own file."""
    state = open_log(settings).state()  # Another generation may have been released since.
    shown = [*seen.answers, *([seen.then] if seen.then else [])]
    own = seen.answers[0]
    past = list(dict.fromkeys(event["item_id"] for event in seen.known.events)) if seen.known else []
    titles, why = titles_of(settings, state.generation(own.generation), past)
    for answer in shown:
        name = state.generation(answer.generation).spec.title
        told = {item.item_id: item.fields.get(name or "") for item in answer.items}
        titles |= {item: title for item, title in told.items() if title}
        if FIELDS in answer.degraded and not why:
            why = f"generation {answer.generation} says no titles; `pagoda logs recall` has the reason"
    return replace(seen, titles=titles, untitled=why)
