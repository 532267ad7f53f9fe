"""What only a real MLflow server shows: runs, versions and tags, killed writers, dead and wrong servers, S3."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pytest
from mlflow import MlflowClient

from pagoda.append_log.store import RecordStore
from pagoda.errors import ConfigError, IntegrityError, UnavailableError
from pagoda.generations.release_log import ReleaseLog
from pagoda.registry.base import CHAMPION
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.registry.mlflow_registry import MlflowRegistry
from pagoda.registry.publish import publish, write_aliases
from serving.workers.follower import Follower
from serving.workers.tower_host import LocalTowers

from .server import mlflow_server
from .worlds import World

pytestmark = pytest.mark.integration


def shown(registry: MlflowRegistry) -> tuple[list[Any], list[Any]]:
    """The runs and the model versions that MLflow's pages show."""
    client = registry._server.client
    experiment = client.get_experiment_by_name(registry._model).experiment_id
    return client.search_runs([experiment]), client.search_model_versions(f"name = '{registry._model}'")


def assert_one_of_each(registry: MlflowRegistry) -> None:
    [record] = registry.list()
    [run], [version] = shown(registry)
    assert (run.info.run_id, run.info.status) == (record.run, "FINISHED")
    assert (int(version.version), version.source, version.run_id) == (record.version, record.uri, record.run)
    place = Path(record.uri).parent
    assert sorted(path.name for path in place.iterdir()) == ["state", "version"]
    assert list(place.parent.iterdir()) == [place]  # no attempt of a killed writer is left
    assert sum(r.kind == "registered" for r in registry.log.records()) == 1


def test_artifacts_lie_where_the_record_says_whatever_their_folder_is_called(
    mlflow_uri: str, log: ReleaseLog, world: World, tmp_path: Path
) -> None:
    root = tmp_path / "Jörg's home" / "artifacts"
    model = f"m{uuid.uuid4().hex[:8]}"
    MlflowClient(mlflow_uri).create_experiment(model, artifact_location=root.as_uri())  # as `pagoda up` gives it
    registry = MlflowRegistry(mlflow_uri, model, log)
    record = registry.register(world.full())
    assert Path(record.uri).is_relative_to(root)
    assert registry.fetch(record.version, tmp_path / "copy").is_dir()
    assert registry.fetch_state(record.version, tmp_path / "state").is_dir()


def test_pages_show_lineage_metrics_and_params(on_mlflow: MlflowRegistry, world: World) -> None:
    base = on_mlflow.register(world.full())
    increment = on_mlflow.register(world.incremental(base))
    runs, versions = shown(on_mlflow)
    by_number = {int(version.version): version for version in versions}
    full, incremental = by_number[base.version].tags, by_number[increment.version].tags
    assert full["update"] == "full" and full["window"] == base.window.key and full["code"] == "0.1.0"
    assert (incremental["update"], incremental["base"], incremental["rows"]) == ("incremental", "1", "2")
    assert incremental["key"] == increment.key
    run = next(run for run in runs if run.info.run_id == base.run)
    assert run.data.metrics == {"recall_at_50": 0.25, "ndcg_at_10": 0.1}  # MLflow takes no "@"
    assert run.data.params == {"dim": "4", "epochs": "1"}
    assert run.data.tags["update"] == "full"


def test_the_champion_alias_follows_what_is_stable(on_mlflow: MlflowRegistry, world: World) -> None:
    log = on_mlflow.log
    world.serve_chain(on_mlflow, log, 1)
    publish(log, "g1.2", "stable")
    for _ in range(2):
        write_aliases(log, on_mlflow)
    alias = on_mlflow._server.client.get_model_version_by_alias(on_mlflow._model, CHAMPION)
    assert alias.version == "1"


class Killed(BaseException):
    """What no handler of errors catches, as a killed process does not."""


class Countdown:
    """Kills at the `step`th call from outside, before or after it took effect."""

    def __init__(self, step: int) -> None:
        self.left, self.names = step, list[str]()

    def guard(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self._tick(f"before {name}")
            answer = call(*args, **kwargs)
            self._tick(f"after {name}")
            return answer

        return guarded

    def _tick(self, name: str) -> None:
        self.names.append(name)
        self.left -= 1
        if self.left == 0:
            raise Killed(name)


class GuardedClient:
    def __init__(self, client: MlflowClient, countdown: Countdown) -> None:
        self._client, self._countdown = client, countdown

    def __getattr__(self, name: str) -> Any:
        return self._countdown.guard(name, getattr(self._client, name))


class GuardedStore:
    def __init__(self, store: RecordStore, countdown: Countdown) -> None:
        self.put = countdown.guard("put", store.put)
        self._store = store

    def read(self, names: Sequence[str]) -> list[bytes]:
        return self._store.read(names)


def guarded(registry: MlflowRegistry, step: int) -> tuple[MlflowRegistry, Countdown]:
    countdown = Countdown(step)
    client = GuardedClient(MlflowClient(registry._uri, registry._uri), countdown)
    log = ReleaseLog("", store=GuardedStore(registry.log._store, countdown))  # type: ignore[arg-type]
    return MlflowRegistry(registry._uri, registry._model, log, client=client), countdown


def enumerate_steps(mlflow_uri: str, folder: Path) -> list[str]:
    registry, countdown = guarded(MlflowRegistry(mlflow_uri, uuid.uuid4().hex, ReleaseLog(str(folder / "log"))), 0)
    registry.register(World(folder / "made").full())
    return countdown.names


@pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("retrained", [False, True], ids=["same", "retrained"])
def test_killed_at_a_step_and_run_again(mlflow_uri: str, tmp_path: Path, stride: int, retrained: bool) -> None:
    steps = enumerate_steps(mlflow_uri, tmp_path / "enumerated")
    assert {"after put", "after log_artifacts", "before create_model_version"} <= set(steps)
    for step in range(1 + stride // 2, len(steps) + 1, stride):
        folder = tmp_path / str(step)
        plain = MlflowRegistry(mlflow_uri, uuid.uuid4().hex, ReleaseLog(str(folder / "log")))
        world = World(folder / "made")
        draft = world.full()
        with pytest.raises(Killed):
            guarded(plain, step)[0].register(draft)
        record = plain.register(world.full(value=2.0) if retrained else draft)
        assert_one_of_each(plain)
        plain.fetch(record.version, folder / "fetched")
        plain.fetch_state(record.version, folder / "fetched state")


def test_an_upload_cut_short_is_not_taken_for_the_version(on_mlflow: MlflowRegistry, world: World) -> None:
    registry, _ = guarded(on_mlflow, 10_000)
    draft = world.full()

    def half(run: str, folder: str, place: str) -> None:
        on_mlflow._server.client.log_artifact(run, f"{folder}/encoder.json", place)
        raise Killed("in the middle of the upload")

    registry._server.client.__dict__["log_artifacts"] = half
    with pytest.raises(Killed):
        registry.register(draft)
    on_mlflow.register(draft)
    assert_one_of_each(on_mlflow)


def test_a_run_deleted_by_hand_is_brought_back(on_mlflow: MlflowRegistry, world: World) -> None:
    draft = world.full()
    names = enumerate_steps(on_mlflow._uri, world.folder / "enumerated")
    with pytest.raises(Killed):
        guarded(on_mlflow, names.index("before create_model_version") + 1)[0].register(draft)
    client = MlflowClient(on_mlflow._uri)
    client.delete_run(on_mlflow.log.state().runs[draft.key])
    on_mlflow.register(draft)
    assert_one_of_each(on_mlflow)


def test_a_registered_model_that_somebody_deleted_is_made_again(on_mlflow: MlflowRegistry, world: World) -> None:
    first, second = on_mlflow.register(world.full()), on_mlflow.register(world.full(1, parent=1))
    client = MlflowClient(on_mlflow._uri)
    client.delete_registered_model(on_mlflow._model)
    third = on_mlflow.register(world.full(2, parent=2))
    assert third.version == 3
    found = {int(one.version): one.source for one in client.search_model_versions(f"name = '{on_mlflow._model}'")}
    assert found == {record.version: record.uri for record in (first, second, third)}
    on_mlflow.set_alias(CHAMPION, 1)


def test_a_server_that_forgot_its_versions_is_refused(on_mlflow: MlflowRegistry, world: World) -> None:
    on_mlflow.register(world.full())
    elsewhere = MlflowRegistry(on_mlflow._uri, uuid.uuid4().hex, on_mlflow.log)
    with pytest.raises(IntegrityError, match="do not belong together"):
        elsewhere.register(world.full(1, parent=1))


def test_versions_of_before_the_server_stay_untouched(
    on_mlflow: MlflowRegistry, registry: FolderRegistry, world: World, tmp_path: Path
) -> None:
    drafts = [world.full(), world.full(1, parent=1)]
    before = [registry.register(draft) for draft in drafts]
    assert [on_mlflow.register(draft) for draft in drafts] == before
    for record in before:
        on_mlflow.fetch(record.version, tmp_path / str(record.version))
    on_mlflow.delete_artifacts(1)
    assert not Path(before[0].uri).exists() and Path(before[1].uri).exists()


def test_a_server_that_hands_out_artifacts_itself_is_refused(on_mlflow: MlflowRegistry, world: World) -> None:
    MlflowClient(on_mlflow._uri).create_experiment(on_mlflow._model, artifact_location="mlflow-artifacts:/somewhere")
    with pytest.raises(ConfigError, match="--no-serve-artifacts"):
        on_mlflow.register(world.full())


class Models:
    """A tower's server that takes any archive."""

    def __init__(self) -> None:
        self.archives: dict[int, bytes] = {}

    def ensure(self, full_version: int, archive: Path) -> None:
        self.archives[full_version] = archive.read_bytes()

    def retire(self, full_version: int) -> None:
        del self.archives[full_version]

    def held(self) -> list[int]:
        return list(self.archives)


def test_artifacts_may_lie_in_a_bucket(on_mlflow: MlflowRegistry, world: World, bucket: str, tmp_path: Path) -> None:
    place = f"{bucket}/{uuid.uuid4().hex}"
    MlflowClient(on_mlflow._uri).create_experiment(on_mlflow._model, artifact_location=place)
    record = on_mlflow.register(world.full())
    assert record.uri.startswith(place)
    assert on_mlflow.register(world.full(value=2.0)) == record
    assert (on_mlflow.fetch(1, tmp_path / "all") / "users/rows.npy").exists()

    archive = world.archive(1)
    fsspec.filesystem("s3").put_file(archive.uri, f"{place}/pagoda-1.mar")
    stored = archive.model_copy(update={"uri": f"{place}/pagoda-1.mar"})
    manifest = world.generation(on_mlflow.log, 1, tower=stored)
    models = Models()
    follower = Follower(on_mlflow.log, tmp_path / "tables", LocalTowers(models))
    assert follower.step().held == (manifest.id,)
    assert models.archives == {1: b"archive of 1"}
    follower.close()

    on_mlflow.log.append("pruned", {"versions": [1]})
    on_mlflow.delete_artifacts(1)
    on_mlflow.delete_artifacts(1)


def test_a_dead_server_is_named_at_once(log: ReleaseLog, world: World) -> None:
    registry = MlflowRegistry("http://127.0.0.1:9", "recall", log)
    begin = time.monotonic()
    with pytest.raises(UnavailableError, match=r"http://127\.0\.0\.1:9 does not answer"):
        registry.register(world.full())
    assert time.monotonic() - begin < 2
    assert log.records() == []


@pytest.mark.long
def test_a_server_killed_in_the_middle_and_started_again(tmp_path: Path, world: World, log: ReleaseLog) -> None:
    """The old state stays, the error names the server, and the next run completes."""
    with mlflow_server(tmp_path) as server:
        registry = MlflowRegistry(server.uri, "recall", log)
        registry.register(world.full())
        draft = world.full(1, parent=1)
        create = registry._server.client.create_model_version

        def dies(*args: Any, **kwargs: Any) -> Any:
            server.kill()
            return create(*args, **kwargs)

        registry._server.client.create_model_version = dies
        begin = time.monotonic()
        with pytest.raises(UnavailableError, match=server.uri):
            registry.register(draft)
        assert time.monotonic() - begin < 20
        assert [record.version for record in registry.list()] == [1]
        server.start()
        again = MlflowRegistry(server.uri, "recall", log)
        assert again.register(draft).version == 2
        runs, versions = shown(again)
        assert (len(runs), len(versions)) == (2, 2)
