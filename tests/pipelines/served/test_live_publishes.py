"""Publishes and rollbacks while requests run: no error, nothing stale, no mixture of two overlays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from pagoda.generations.arms import Arms, ArmsChange
from pagoda.registry.publish import carry_out, plan_rollback, publish
from pagoda.updates.readiness import checks_of
from tests.waiting import wait_for

from .homes import Home
from .traffic import Answer, Traffic, mixed, stale

USERS = (1, 2, 3, 4, 5)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("changes", "rate"),
    [((5, 2), 40), pytest.param((50, 10), 200, marks=pytest.mark.long)],
    ids=["few", "50 publishes and 10 rollbacks at 200 requests a second"],
)
def test_requests_while_generations_change(
    served: Home, tmp_path: Path, request: pytest.FixtureRequest, changes: tuple[int, int], rate: float
) -> None:
    publishes, rollbacks = changes
    log, settings = served.log, served.settings
    changed: dict[int, int] = {}
    with Traffic(settings, USERS, rate) as traffic:
        for number in range(publishes):
            user = USERS[number % len(USERS)]
            record, manifest = served.register(served.draft(tmp_path / str(number), [user]))
            changed[record.version] = user
            publish(log, manifest.id, checks=checks_of(settings, log.state()), reason="incremental")
            if (number + 1) % (publishes // rollbacks) == 0:
                carry_out(log, plan_rollback(log.state()))
        wait_for(lambda: traffic.generation == log.state().stable)
    assert not traffic.problems

    state = log.state()

    def source(generation: str, user: int) -> int | None:
        segments = state.generation(generation).segments
        return next((one.version for one in segments if changed.get(one.version) == user), None)

    assert mixed(traffic.answers, source) == []
    wrong, seconds = stale(traffic.answers, state.releases)
    assert wrong == []
    generations = {answer.generation for answer in traffic.answers}
    asked = (traffic.answers[-1].answered - traffic.answers[0].asked).total_seconds()
    request.node.user_properties += [("answers", len(traffic.answers)), ("seconds", asked), ("to follow", seconds)]
    assert len(generations) > 3


def at(seconds: float) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def answer(asked: float, answered: float, generation: str, **scores: float) -> Answer:
    return Answer(at(asked), at(answered), generation, {int(name[1:]): np.array([of]) for name, of in scores.items()})


def releases(*stable: str) -> list[ArmsChange]:
    """One every ten seconds."""
    return [ArmsChange(number, at(10 * number), Arms(stable=id_), "") for number, id_ in enumerate(stable)]


@pytest.mark.parametrize(
    ("answers", "count"),
    [
        ([answer(1, 2, "a"), answer(11, 12, "a"), answer(13, 14, "b"), answer(21, 22, "a")], 0),
        ([answer(1, 2, "b")], 1),
        ([answer(11, 12, "b"), answer(13, 14, "a")], 1),
        ([answer(11, 13, "b"), answer(12, 14, "a")], 0),
        ([answer(21, 22, "c")], 1),
    ],
    ids=["as released", "before its release", "back without a release", "side by side", "never released"],
)
def test_stale_answers_are_noticed(answers: list[Answer], count: int) -> None:
    assert len(stale(answers, releases("a", "b", "a"))[0]) == count


def test_how_long_a_release_took_is_noticed() -> None:
    assert stale([answer(12, 13, "a"), answer(14, 15, "b")], releases("a", "b"))[1] == 2


def test_mixtures_are_noticed() -> None:
    source = {("a", 1): None, ("a", 2): None, ("b", 1): 7, ("b", 2): None}
    fine = [answer(0, 0, "a", u1=0.1, u2=0.2), answer(0, 0, "b", u1=0.5, u2=0.2)]
    assert mixed(fine, lambda generation, user: source[generation, user]) == []
    for wrong in (answer(0, 0, "b", u1=0.1, u2=0.2), answer(0, 0, "a", u1=0.5, u2=0.2)):
        assert mixed([*fine, wrong], lambda generation, user: source[generation, user])
    alike = [fine[0], answer(0, 0, "b", u1=0.1, u2=0.2)]
    assert mixed(alike, lambda generation, user: source[generation, user])
