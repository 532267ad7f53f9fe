"""Publishing and rolling back by hand and by machine: checks, one record, no way back by accident."""

from __future__ import annotations

import pytest

from pagoda.errors import ConflictError, GateError, RequestError
from pagoda.generations.arms import Arms
from pagoda.generations.live import GRACE, live
from pagoda.generations.manifest import Manifest
from pagoda.generations.release_log import ReleaseLog
from pagoda.registry.base import CHAMPION
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.registry.publish import carry_out, plan_publish, plan_rollback, publish, write_aliases

from .conftest import Clock
from .worlds import World


def refuse(manifest: Manifest) -> None:
    raise GateError(f"{manifest.id} is not ready")


@pytest.fixture
def chain(log: ReleaseLog, registry: FolderRegistry, world: World) -> list[Manifest]:
    """g1, g1.2, g1.3; nothing is released."""
    return world.serve_chain(registry, log, 2)


@pytest.fixture
def next_day(chain: list[Manifest], log: ReleaseLog, registry: FolderRegistry, world: World) -> list[Manifest]:
    """g1.3 is stable, g4 and g4.5 are made."""
    publish(log, "g1.3", "stable")
    return world.serve_chain(registry, log, 1, day_number=1)


def test_one_record_makes_a_generation_stable(log: ReleaseLog, chain: list[Manifest]) -> None:
    head = log.state().head
    seen: list[str] = []
    record = publish(log, "g1.2", "stable", checks=[lambda manifest: seen.append(manifest.id)])
    assert record is not None and (record.number, record.kind) == (head + 1, "released")
    assert (log.state().stable, log.state().champion, seen) == ("g1.2", 1, ["g1.2"])


def test_publishing_again_changes_nothing(log: ReleaseLog, chain: list[Manifest]) -> None:
    publish(log, "g1.2", "stable")
    assert publish(log, "g1.2", "stable", checks=[refuse]) is None
    assert publish(log, "g1.2") is None


def test_a_failed_check_changes_nothing(log: ReleaseLog, chain: list[Manifest]) -> None:
    with pytest.raises(GateError, match=r"g1\.2 is not ready"):
        publish(log, "g1.2", "stable", checks=[refuse])
    assert log.state().stable is None


def test_unknown_generations_are_named(log: ReleaseLog, chain: list[Manifest]) -> None:
    with pytest.raises(RequestError, match=r"generation g9 is unknown; there are g1, g1\.2, g1\.3"):
        publish(log, "g9", "stable")


def test_a_delta_goes_to_the_arm_of_its_base(log: ReleaseLog, next_day: list[Manifest]) -> None:
    with pytest.raises(ConflictError, match="no arm serves full version 4"):
        publish(log, "g4.5")
    log.append("rollout.step", {"arms": {"stable": "g1.3", "canary": "g4"}})
    publish(log, "g4.5")
    assert log.state().arms == Arms(stable="g1.3", canary="g4.5")


def test_promotion_and_a_late_delta_of_the_old_base(
    log: ReleaseLog, next_day: list[Manifest], registry: FolderRegistry, world: World
) -> None:
    publish(log, "g4", "stable")
    with pytest.raises(ConflictError, match="no arm serves full version 1"):
        publish(log, "g1.3")
    with pytest.raises(GateError, match=r"g1\.3 is older than g4, .* `pagoda rollback --to g1\.3`"):
        publish(log, "g1.3", "stable")


def test_an_older_delta_is_refused(log: ReleaseLog, chain: list[Manifest]) -> None:
    publish(log, "g1.3", "stable")
    with pytest.raises(GateError, match=r"g1\.2 is older than g1\.3"):
        publish(log, "g1.2")


def test_there_is_no_canary_without_a_rollout(log: ReleaseLog, next_day: list[Manifest]) -> None:
    with pytest.raises(ConflictError, match="pagoda rollout start"):
        publish(log, "g4", "canary")


def test_a_published_canary_is_no_canary_any_more(log: ReleaseLog, next_day: list[Manifest]) -> None:
    log.append("rollout.step", {"arms": {"stable": "g1.3", "canary": "g4"}})
    publish(log, "g4", "stable")
    assert log.state().arms == Arms(stable="g4")


def test_rolling_back_goes_one_step_each_time(log: ReleaseLog, next_day: list[Manifest]) -> None:
    publish(log, "g4", "stable")
    publish(log, "g4.5")
    for expected in ("g4", "g1.3"):
        carry_out(log, plan_rollback(log.state()))
        assert log.state().stable == expected
    with pytest.raises(GateError, match="nothing to roll back to"):
        plan_rollback(log.state())
    # And forward again, by the ordinary way.
    publish(log, "g4", "stable")
    assert [release.arms.stable for release in log.state().releases] == ["g1.3", "g4", "g4.5", "g4", "g1.3", "g4"]
    assert log.state().trail == ("g1.3", "g4")


def test_rolling_back_further_and_ending_a_canary(log: ReleaseLog, next_day: list[Manifest]) -> None:
    publish(log, "g4", "stable")
    publish(log, "g4.5")
    carry_out(log, plan_rollback(log.state(), to="g1.3"))
    assert log.state().stable == "g1.3" and log.state().previous is None
    log.append("rollout.step", {"arms": {"stable": "g1.3", "canary": "g4"}})
    publish(log, "g4", "stable")
    log.append("rollout.step", {"arms": {"stable": "g4", "canary": "g4.5"}})
    carry_out(log, plan_rollback(log.state()))
    assert log.state().arms == Arms(stable="g1.3")


def test_two_people_rolling_back_at_once_go_one_step(log: ReleaseLog, chain: list[Manifest]) -> None:
    for id_ in ("g1", "g1.2", "g1.3"):
        publish(log, id_, "stable")
    mine, yours = plan_rollback(log.state()), plan_rollback(log.state())
    assert carry_out(log, mine) is not None
    assert carry_out(log, yours) is None
    assert log.state().stable == "g1.2"


def test_a_plan_that_others_overtook_is_refused(log: ReleaseLog, chain: list[Manifest]) -> None:
    publish(log, "g1", "stable")
    plan = plan_publish(log.state(), "g1.2")
    publish(log, "g1.3")
    with pytest.raises(ConflictError, match="look again"):
        carry_out(log, plan)
    assert log.state().stable == "g1.3"


def test_what_hosts_may_have_dropped_is_asked_for_first(
    log: ReleaseLog, next_day: list[Manifest], clock: Clock
) -> None:
    clock.forward(hours=3)
    assert "g4" not in live(log.state(), log.now())
    during: list[bool] = []
    publish(log, "g4", "stable", checks=[lambda m: during.append(m.id in live(log.state(), log.now()))])
    assert during == [True]


def test_what_is_retired_cannot_serve_again(log: ReleaseLog, next_day: list[Manifest]) -> None:
    publish(log, "g4", "stable")
    log.append("retired", {"generation": "g1.3"})
    assert log.state().previous is None
    for attempt in (lambda: plan_rollback(log.state(), to="g1.3"), lambda: publish(log, "g1.3", "stable")):
        with pytest.raises(GateError, match=r"g1\.3 is retired"):
            attempt()


def test_live_is_what_serves_what_a_rollback_needs_and_what_is_to_come(
    log: ReleaseLog, next_day: list[Manifest], clock: Clock
) -> None:
    assert set(live(log.state(), log.now())) == {"g1", "g1.2", "g1.3", "g4", "g4.5"}
    clock.forward(hours=2)
    publish(log, "g4", "stable")
    assert live(log.state(), log.now())[0] == "g4"
    clock.forward(seconds=GRACE.total_seconds() - 1)
    assert set(live(log.state(), log.now())) == {"g4", "g1.3"}
    clock.forward(seconds=2)
    assert set(live(log.state(), log.now())) == {"g4"}


def test_the_alias_is_written_last_and_again(log: ReleaseLog, chain: list[Manifest], registry: FolderRegistry) -> None:
    write_aliases(log, registry)
    assert not (registry._folder / CHAMPION).exists()
    publish(log, "g1.2", "stable")
    for _ in range(2):
        write_aliases(log, registry)
    assert (registry._folder / CHAMPION).read_text().startswith("1 ")
