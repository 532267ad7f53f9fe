"""What every registry must do, on a folder and on a real MLflow server."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pagoda.embeddings.table import IdTable
from pagoda.errors import ConflictError, IntegrityError, RequestError
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.versions import VersionDraft, VersionRecord
from pagoda.registry.base import CHAMPION, Registry
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.registry.mlflow_registry import MlflowRegistry
from pagoda.storage.checksums import checksum_tree

from .worlds import World


@pytest.fixture(params=["folder", pytest.param("mlflow", marks=pytest.mark.integration)])
def any_registry(request: pytest.FixtureRequest) -> FolderRegistry | MlflowRegistry:
    name = "registry" if request.param == "folder" else "on_mlflow"
    found: FolderRegistry | MlflowRegistry = request.getfixturevalue(name)
    return found


def another(registry: FolderRegistry | MlflowRegistry) -> FolderRegistry | MlflowRegistry:
    """The same registry, opened by another process."""
    log = ReleaseLog("", store=registry.log._store)
    if isinstance(registry, MlflowRegistry):
        return MlflowRegistry(registry._uri, registry._model, log)
    return FolderRegistry(registry._folder, log)


def test_a_registered_version_is_known_everywhere(any_registry: Registry, world: World, tmp_path: Path) -> None:
    draft = world.full()
    record = any_registry.register(draft)
    assert (record.version, record.update, record.base, record.key) == (1, "full", None, draft.key)
    assert (record.metrics, record.tags, record.window) == (draft.metrics, draft.tags, draft.window)
    assert record.checksum == checksum_tree(draft.folder)
    assert another(any_registry).get(1) == record
    assert another(any_registry).list() == [record]


def test_its_artifacts_come_back_whole_or_in_parts(any_registry: Registry, world: World, tmp_path: Path) -> None:
    draft = world.full()
    version = any_registry.register(draft).version
    assert checksum_tree(any_registry.fetch(version, tmp_path / "all")) == checksum_tree(draft.folder)
    assert draft.state_folder is not None
    assert checksum_tree(any_registry.fetch_state(version, tmp_path / "state")) == checksum_tree(draft.state_folder)
    part = any_registry.fetch(version, tmp_path / "part", parts=("users", "encoder.json"))
    assert sorted(path.name for path in part.iterdir()) == ["encoder.json", "users"]
    assert len(IdTable.open(part / "users", verify=True)) == 5
    with pytest.raises(IntegrityError, match="'no such' is not among the files"):
        any_registry.fetch(version, tmp_path / "none", parts=("no such",))


def test_incrementals_carry_their_lineage(any_registry: Registry, world: World) -> None:
    base = any_registry.register(world.full())
    first = any_registry.register(world.incremental(base, 0))
    second = any_registry.register(world.incremental(base, 1, first))
    assert [(r.version, r.base, r.parent, r.rows, r.full_version) for r in (first, second)] == [
        (2, 1, None, 2, 1),
        (3, 1, 2, 2, 1),
    ]
    assert first.segment and second.segment and first.segment != second.segment


def test_the_same_key_is_one_version(any_registry: Registry, world: World) -> None:
    first = any_registry.register(world.full())
    head = any_registry.log.state().head
    # Trained again, and not to the last bit the same.
    assert any_registry.register(world.full(value=2.0)) == first
    assert another(any_registry).register(world.full(value=3.0)) == first
    assert any_registry.log.state().head == head


def test_two_writers_of_one_key_make_one_version(any_registry: Registry, world: World, tmp_path: Path) -> None:
    drafts = [world.full(value=float(number)) for number in range(4)]
    start = threading.Barrier(len(drafts))

    def write(draft: VersionDraft) -> VersionRecord:
        registry = another(any_registry)
        start.wait()
        return registry.register(draft)

    with ThreadPoolExecutor(len(drafts)) as pool:
        found = list(pool.map(write, drafts))
    [record] = any_registry.list()
    assert found == [record] * len(drafts)
    any_registry.fetch(record.version, tmp_path / "fetched")
    any_registry.fetch_state(record.version, tmp_path / "state")


def test_a_damaged_artifact_is_not_fetched(any_registry: Registry, world: World, tmp_path: Path) -> None:
    record = any_registry.register(world.full())
    victim = Path(record.uri) / "users/rows.npy"
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"users/rows\.npy is damaged: its checksum is"):
        any_registry.fetch(record.version, tmp_path / "fetched")
    victim.unlink()
    with pytest.raises(IntegrityError, match=r"users/rows\.npy is missing"):
        any_registry.fetch(record.version, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_a_damaged_copy_is_replaced(registry: FolderRegistry, world: World, tmp_path: Path) -> None:
    record = registry.register(world.full())
    copy = registry.fetch(record.version, tmp_path / "copy")
    (copy / "encoder.json").write_text("tampered")
    registry.fetch(record.version, copy)
    assert (copy / "encoder.json").read_text() == "{}"


def test_lineage_that_does_not_fit_is_refused(registry: FolderRegistry, world: World) -> None:
    base = registry.register(world.full())
    other = registry.register(world.full(1, parent=1))
    first = registry.register(world.incremental(base))
    for draft, complaint in (
        (world.full(2, parent=99), "parent 99 is no registered full version"),
        (world.full(2, parent=first.version), "parent 3 is no registered full version"),
        (world.incremental(base).model_copy(update={"base": 99, "key": "a"}), "base 99 is no registered full version"),
        (world.incremental(base).model_copy(update={"base": 2, "key": "b"}), "is for base 1 .* claims base 2"),
        (world.incremental(other, 1, first), "parent 3 lies over base 1, not over 2"),
        (
            world.incremental(base, 1).model_copy(update={"parent": 3, "key": "c"}),
            f"after segment None, .* after segment {first.segment}",
        ),
    ):
        with pytest.raises(IntegrityError, match=complaint):
            registry.register(draft)
    assert len(registry.list()) == 3


def test_an_empty_folder_is_refused(registry: FolderRegistry, world: World, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(IntegrityError, match="found none"):
        registry.register(world.full().model_copy(update={"folder": tmp_path / "empty"}))


def test_unknown_versions_are_named(registry: FolderRegistry) -> None:
    with pytest.raises(RequestError, match="version 3 is unknown; there are none yet"):
        registry.get(3)


def test_pruned_versions_keep_their_lineage_only(any_registry: Registry, world: World, tmp_path: Path) -> None:
    record = any_registry.register(world.full())
    any_registry.log.append("pruned", {"versions": [1]})
    for _ in range(2):
        any_registry.delete_artifacts(1)
    assert not Path(record.uri).exists()
    assert any_registry.get(1).metrics == record.metrics
    with pytest.raises(IntegrityError, match="retention has deleted its artifacts"):
        any_registry.fetch(1, tmp_path / "fetched")
    assert any_registry.register(world.full()).version == 1


def test_aliases_are_files_without_a_server(registry: FolderRegistry, world: World) -> None:
    record = registry.register(world.full())
    registry.set_alias(CHAMPION, 1)
    assert (registry._folder / CHAMPION).read_text() == f"1 {record.uri}\n"


def test_what_training_leaves_open_is_not_touched(registry: FolderRegistry, world: World) -> None:
    """A version is a copy: its source may be changed or deleted after the registration."""
    draft = world.full()
    record = registry.register(draft)
    np.save(draft.folder / "users/rows.npy", np.zeros(1))
    assert checksum_tree(Path(record.uri)) == record.checksum


def test_a_full_disk_leaves_nothing(registry: FolderRegistry, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copytree", full)
    with pytest.raises(Exception, match="No space left on device"):
        registry.register(world.full())
    assert not list(registry._folder.glob("*"))
    assert registry.list() == []


def test_numbers_go_on_after_a_conflict(log: ReleaseLog, registry: FolderRegistry, world: World) -> None:
    registry.register(world.full())
    with pytest.raises(ConflictError):
        log.append("rollout.note", {}, expected_head=0)
    assert registry.register(world.full(1, parent=1)).version == 2
