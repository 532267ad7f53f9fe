"""Who is being forgotten is known exactly as long as some version has a row of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pagoda.data.spec import FeatureSpec
from pagoda.erasure.pending import COMPLETE, STARTED, TAG, Pending
from pagoda.errors import UnavailableError
from pagoda.generations.release_log import ReleaseLog
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.registry.publish import publish
from tests.registry.test_retention import Place
from tests.registry.worlds import World

SPEC = FeatureSpec()


def kinds(log: ReleaseLog) -> list[str]:
    return [record.kind for record in log.records() if record.kind.startswith("forgetting.")]


def test_an_entry_goes_when_no_version_that_is_left_has_a_row_and_no_record_says_whose_it_was(tmp_path: Path) -> None:
    place = Place(tmp_path)
    pending = Pending(str(tmp_path / "log"), place.log)
    pending.start("471147114711")
    for day in (4, 5):
        forgotten = pending.forgotten(SPEC)
        assert forgotten.ids.tolist() == [471147114711]
        draft = place.world.full(day, place.log.state().champion)
        draft = draft.model_copy(update={"tags": {TAG: str(forgotten.known)}})
        version = place.registry.register(draft).version
        publish(place.log, place.world.generation(place.log, version).id, "stable")
        place.clock.forward(hours=48)
        assert pending.settle() == 0  # A rollback could bring back a version that has the row.
        place.clean()
    assert pending.settle() == 1
    assert kinds(place.log) == [STARTED, COMPLETE]
    files = [path for path in (tmp_path / "log").rglob("*") if path.is_file()]
    assert not any(b"471147114711" in path.read_bytes() for path in files)


def test_starting_again_goes_on_with_the_same_receipt_also_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = ReleaseLog(str(tmp_path / "log"))
    pending = Pending(str(tmp_path / "log"), log)

    def fails(*_: object) -> None:
        raise UnavailableError("killed here")

    with monkeypatch.context() as patched, pytest.raises(UnavailableError):
        patched.setattr(ReleaseLog, "append", fails)
        pending.start("7")
    receipt = pending.start("7")
    assert pending.start("7") == receipt
    assert (pending.users(), kinds(log)) == (frozenset({"7"}), [STARTED])


def test_a_version_that_began_before_counts_for_nothing(tmp_path: Path) -> None:
    log = ReleaseLog(str(tmp_path / "log"))
    pending, world = Pending(str(tmp_path / "log"), log), World(tmp_path / "made")
    before = pending.forgotten(SPEC)
    pending.start("7")
    draft = world.full(0).model_copy(update={"tags": {TAG: str(before.known)}})
    FolderRegistry(tmp_path / "versions", log).register(draft)
    assert pending.settle() == 0
