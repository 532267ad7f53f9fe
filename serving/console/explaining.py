"""How a user's answers come about, in words for people and as values for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pagoda.client import Recommendation
from pagoda.client.calls import Options
from pagoda.client.explanation import Explanation, UserExplained
from pagoda.settings import Settings
from serving.console.asking import UserSeen, asking_recall, one_line, value_of

_WHY = {
    "no_rollout": "there is one arm",
    "share": "by the user's share",
    "shadow": "the other gets copies alone",
    "header": "it was asked for",
    "canary_not_warm": "the user's canary is not ready here",
    "canary_failed": "the canary failed or was late",
}
_ROW = {
    "full": "of full version {}",
    "incremental": "of incremental version {}",
    "none": "none; what stands for unknown users was taken",
    "unseen": "there is one; its tables are not on recall's host",
}
_VECTOR = {
    "computed": "computed by the tower",
    "kept": "kept from before, and still right",
    "tower_cached": "kept from before, in place of the tower",
    "tower_oov": "of a user of whom nothing is known, in place of the tower",
}
_SHOWN = 60
"""Characters of a feature's value, which may be a long vector."""
_AGES = ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))


def explained(
    settings: Settings, seen: UserSeen, *, k: int, wanted: Mapping[str, Any], text: str
) -> list[Recommendation]:
    """What each arm that was asked says of an answer to the same, asked for once more.

    Raises:
        ConfigError: The settings have no token of the role `operate`.
        UnavailableError: Recall does not answer.
    """
    asked: Options = {"k": k, "exclude_seen": True, "filter": wanted, "explain": True}
    if text:
        asked["text"] = text
    # The user's own arm is not named, so that the answer says why it is theirs.
    others: list[Options] = [{**asked, "arm": answer.arm} for answer in seen.answers[1:]]
    with asking_recall(settings) as client:
        return [client.recommend(seen.user, **one) for one in (asked, *others)]


def explained_as_json(answers: Sequence[Recommendation]) -> list[dict[str, Any]]:
    """All of it for scripts, beside the answers."""
    told = {"generation", "arm", "degraded", "timing_ms", "explanation"}
    return [answer.model_dump(mode="json", include=told) for answer in answers]


def lines_of(answer: Recommendation) -> list[tuple[str, str]]:
    """What an answer says of itself beside its channels: what each line is about, and the line; none unless it was
    asked to explain."""
    said = answer.explanation
    if said is None:
        return []
    return [(name, one_line(told)) for name, told in (*_about(said), *_run(answer, said))]


def _about(said: Explanation) -> Iterator[tuple[str, str]]:
    arm, user = said["arm"], said["user"]
    rollout = f"; {arm['canary']} has {arm['canary_percent']:g} %" if arm["canary"] else ""
    yield "arm", f"{arm['arm']}: {_WHY.get(arm['why'], arm['why'])}{rollout}"
    versions = ", ".join(map(str, user["id_row"]["versions"]))
    yield "ID row", _ROW.get(user["id_row"]["source"], user["id_row"]["source"]).format(versions)
    yield "vector", _VECTOR.get(user["vector"], user["vector"])
    if user["store"] != "read":
        yield "store", user["store"]
    yield "profile", ", ".join(_profile(user)) or "none"
    if user["interests"] is not None:
        yield "interests", ", ".join(user["interests"]) or "none"
    yield "history", _history(user)


def _profile(user: UserExplained) -> Iterator[str]:
    for name, value in user["profile"].items():
        yield f"{name} {_cut(value_of(value))}{' (of the request)' if name in user['profile_of_request'] else ''}"


def _cut(value: str) -> str:
    return value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"


def _history(user: UserExplained) -> str:
    history = user["history"]
    if history["newest_age_seconds"] is None:
        return "no event that the tower reads"
    return f"{history['events']:,} events read, the newest {_age(history['newest_age_seconds'])} old"


def _age(seconds: float) -> str:
    unit, name = next((one for one in _AGES if seconds >= one[0]), _AGES[-1])
    return f"{seconds / unit:.1f} {name}"


def _run(answer: Recommendation, said: Explanation) -> Iterator[tuple[str, str]]:
    had = "" if said["excluded"] is None else f"{said['excluded']:,} items that the user had, "
    yield "left out", f"{had}{said['removed']:,} that were removed"
    if (kept := said["filter"]) is not None:
        about = "" if kept["exact"] else "about "
        yield "filter", f"keeps {about}{kept['kept']:,} of {kept['total']:,} items"
    if (prerank := said["prerank"]) is not None:
        error = f": {prerank['error']}" if prerank["error"] else ""
        yield "pre-ranker", f"{prerank['outcome']}, {prerank['scored']:,} items scored{error}"
    moved = [f"{server} {state}" for server, state in said["breakers"].items() if state != "closed"]
    yield "breakers", ", ".join(moved) or "none is open"
    if answer.degraded:
        yield "degraded", ", ".join(answer.degraded)
    yield "ms", ", ".join(f"{stage} {took:g}" for stage, took in answer.timing_ms.items())
