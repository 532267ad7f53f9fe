"""Upload, run and schedule against Kubeflow's HTTP API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.errors import ConfigError, UnavailableError
from pipelines import recurring
from pipelines.kubeflow import Kubeflow
from pipelines.pipeline_package import Names, Package
from pipelines.schedule import Schedule

from .fake_kubeflow import FakeKubeflow, kubeflow

DAILY = Schedule("daily", cron="0 3 * * *")
DATASET = {"dataset": "s3://bucket/data"}


@pytest.fixture(autouse=True)
def no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was begun is known at once."""
    monkeypatch.setattr(recurring, "SETTLING_SECONDS", 0)


@pytest.fixture
def fake() -> Iterator[FakeKubeflow]:
    """A Kubeflow of one user."""
    with kubeflow() as server:
        yield server


@pytest.fixture
def client(fake: FakeKubeflow) -> Kubeflow:
    """A client of it that has uploaded the full update."""
    connected = Kubeflow(fake.url)
    connected.upload(Package.of("full-update"))
    return connected


def test_uploads_a_version_once(fake: FakeKubeflow) -> None:
    client, package = Kubeflow(fake.url), Package.of("full-update")
    first, second = client.upload(package), client.upload(package)
    assert (first[1].done, second[1].done) == ("created", "unchanged")
    assert first[0] == second[0]
    assert [one["display_name"] for one in fake.versions] == ["full-update", package.version]
    assert fake.pipelines[0]["description"] == package.description


def test_uploads_what_changed_as_another_version(fake: FakeKubeflow, client: Kubeflow) -> None:
    client.upload(Package.of("full-update", Names(image="other:1")))
    assert len(fake.pipelines) == 1
    assert "image: other:1" in str(fake.versions[-1]["pipeline_spec"]).replace("'", "")


def test_finishes_an_upload_that_was_broken_off(fake: FakeKubeflow) -> None:
    client = Kubeflow(fake.url)
    fake.refuse = "upload_version"
    with pytest.raises(UnavailableError, match="503: the database is away"):
        client.upload(Package.of("full-update"))
    fake.refuse = ""
    assert client.upload(Package.of("full-update"))[1].done == "created"
    assert len(fake.pipelines) == 1


def test_runs_the_newest_version(fake: FakeKubeflow, client: Kubeflow) -> None:
    run = client.run("full-update", DATASET, "trainer")
    (made,) = fake.runs
    assert made["run_id"] == run
    assert made["pipeline_version_reference"]["pipeline_version_id"] == fake.versions[-1]["pipeline_version_id"]
    assert made["runtime_config"]["parameters"] == DATASET
    assert made["service_account"] == "trainer"


def test_says_what_to_do_when_nothing_was_uploaded(fake: FakeKubeflow) -> None:
    with pytest.raises(ConfigError, match="run `pagoda pipelines upload`"):
        Kubeflow(fake.url).run("full-update", DATASET)


@pytest.mark.parametrize(
    ("multi_user", "store", "said"),
    [
        (False, "database", "in a database.*env/cert-manager/platform-agnostic-k8s-native"),
        (True, "database", "in a database.*env/cert-manager/platform-agnostic-multi-user-k8s-native"),
        (False, "kubernetes", "those in the namespace of its API server alone"),
        (True, "kubernetes", "those in the namespace of other"),
    ],
)
def test_says_why_a_pipeline_resource_is_not_seen(*, multi_user: bool, store: str, said: str) -> None:
    with kubeflow(multi_user=multi_user, store=store) as fake:
        fake.apply("full-update", "team", "full-update")
        with pytest.raises(ConfigError, match=f"'full-update' is not in Kubeflow.*{said}"):
            Kubeflow(fake.url, "other").schedule("full-update", DAILY, DATASET, version="full-update-1")


def test_says_that_a_pipeline_resource_needs_its_display_name() -> None:
    with kubeflow(store="kubernetes") as fake:
        fake.apply("full-update", "kubeflow")
        with pytest.raises(ConfigError, match="apply the Pipeline resource with this displayName"):
            Kubeflow(fake.url).schedule("full-update", DAILY, DATASET)


@pytest.mark.parametrize(("multi_user", "namespace"), [(True, "team"), (False, "kubeflow")])
def test_schedules_a_pipeline_resource(*, multi_user: bool, namespace: str) -> None:
    with kubeflow(multi_user=multi_user, store="kubernetes") as fake:
        fake.apply("full-update", namespace, "full-update")
        assert Kubeflow(fake.url, namespace).schedule("full-update", DAILY, DATASET).done == "created"
        with pytest.raises(ConfigError, match=r"version 'full-update-2' .* reads those in the namespace"):
            Kubeflow(fake.url, namespace).schedule("full-update", DAILY, DATASET, version="full-update-2")


def test_schedules_without_catch_up_and_one_at_a_time(fake: FakeKubeflow, client: Kubeflow) -> None:
    assert client.schedule("full-update", DAILY, DATASET).done == "created"
    (made,) = fake.recurring
    assert made["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert (made["no_catchup"], int(made["max_concurrency"]), made["mode"]) == (True, 1, "ENABLE")


def test_leaves_a_schedule_alone_that_is_as_it_should_be(fake: FakeKubeflow, client: Kubeflow) -> None:
    often = Schedule("often", every_minutes=10)
    first = [client.schedule("full-update", one, DATASET) for one in (DAILY, often)]
    before = json.dumps(fake.recurring)
    again = [client.schedule("full-update", one, DATASET) for one in (DAILY, often)]
    assert [one.done for one in again] == ["unchanged", "unchanged"]
    assert [one.id for one in again] == [one.id for one in first]
    assert json.dumps(fake.recurring) == before


def test_replaces_a_schedule_that_is_different(fake: FakeKubeflow, client: Kubeflow) -> None:
    client.schedule("full-update", DAILY, DATASET)
    client.schedule("full-update", Schedule("weekly", cron="0 3 * * 0"), DATASET)
    assert client.schedule("full-update", Schedule("daily", cron="0 4 * * *"), DATASET).done == "replaced"
    assert client.schedule("full-update", Schedule("daily", cron="0 4 * * *"), {"dataset": "other"}).done == "replaced"
    client.upload(Package.of("full-update", Names(image="other:1")))
    assert client.schedule("full-update", Schedule("daily", cron="0 4 * * *"), {"dataset": "other"}).done == "replaced"
    assert sorted(one["display_name"] for one in fake.recurring) == ["daily", "weekly"]


def test_schedules_the_version_that_an_installation_went_back_to(fake: FakeKubeflow, client: Kubeflow) -> None:
    old, new = Package.of("full-update"), Package.of("full-update", Names(image="other:1"))
    client.upload(new)
    assert client.schedule("full-update", DAILY, DATASET, version=new.version).done == "created"
    client.upload(old)  # It is there already, and so not the newest.
    assert client.schedule("full-update", DAILY, DATASET, version=old.version).done == "replaced"
    (run,) = fake.recurring
    ids = {one["display_name"]: one["pipeline_version_id"] for one in fake.versions}
    assert run["pipeline_version_reference"]["pipeline_version_id"] == ids[old.version]
    with pytest.raises(ConfigError, match="full-update-0"):
        client.schedule("full-update", DAILY, DATASET, version="full-update-0")


def test_keeps_a_schedule_paused_that_somebody_paused(fake: FakeKubeflow, client: Kubeflow) -> None:
    client.schedule("full-update", DAILY, DATASET)
    fake.recurring[0]["mode"] = "DISABLE"
    assert client.schedule("full-update", DAILY, DATASET).done == "unchanged"
    client.schedule("full-update", Schedule("daily", cron="0 5 * * *"), DATASET)
    assert [one["mode"] for one in fake.recurring] == ["DISABLE"]


LATER = Schedule("daily", cron="0 5 * * *")


@pytest.mark.parametrize("orphans", [True, False], ids=["2.17", "before 2.16"])
def test_a_running_update_goes_on_while_its_schedule_is_replaced(
    fake: FakeKubeflow, client: Kubeflow, *, orphans: bool
) -> None:
    fake.orphans = orphans
    old = client.schedule("full-update", DAILY, DATASET).id
    run = fake.start(old)
    new = client.schedule("full-update", LATER, DATASET).id
    assert not fake.killed
    assert in_force(fake) == [new]
    run["state"] = "SUCCEEDED"
    assert client.schedule("full-update", LATER, DATASET).done == "unchanged"
    assert [one["recurring_run_id"] for one in fake.recurring] == [new]
    assert not fake.killed


def test_an_update_that_has_just_begun_goes_on_too(
    fake: FakeKubeflow, client: Kubeflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.start(client.schedule("full-update", DAILY, DATASET).id, reported=False)
    monkeypatch.setattr(recurring.time, "sleep", lambda _: fake.report())
    client.schedule("full-update", LATER, DATASET)
    assert not fake.killed
    assert len(fake.recurring) == 2


def test_going_back_while_an_update_runs_puts_the_schedule_in_force_again(fake: FakeKubeflow, client: Kubeflow) -> None:
    fake.start(client.schedule("full-update", DAILY, DATASET).id)
    client.schedule("full-update", LATER, DATASET)
    back = client.schedule("full-update", DAILY, DATASET)
    assert back.done == "replaced"
    assert in_force(fake) == [back.id]
    assert not fake.killed


def test_a_schedule_paused_after_it_was_replaced_stays_paused(fake: FakeKubeflow, client: Kubeflow) -> None:
    fake.start(client.schedule("full-update", DAILY, DATASET).id)
    paused = client.schedule("full-update", LATER, DATASET).id
    fake.disable_recurring({}, b"", "", paused)
    client.schedule("full-update", Schedule("daily", cron="0 6 * * *"), DATASET)
    assert in_force(fake) == []


@pytest.mark.parametrize("call", [":disable", "/runs"])
def test_replacing_ends_well_when_it_was_broken_off(fake: FakeKubeflow, client: Kubeflow, call: str) -> None:
    client.schedule("full-update", DAILY, DATASET)
    fake.refuse = call
    with pytest.raises(UnavailableError):
        client.schedule("full-update", LATER, DATASET)
    fake.refuse = ""
    (new,) = [client.schedule("full-update", LATER, DATASET).id]
    assert [one["recurring_run_id"] for one in fake.recurring] == in_force(fake) == [new]


def test_replaces_a_schedule_of_the_same_name_that_has_no_parameters(fake: FakeKubeflow, client: Kubeflow) -> None:
    client.schedule("full-update", DAILY, DATASET)
    del fake.recurring[0]["runtime_config"]
    assert client.schedule("full-update", DAILY, DATASET).done == "replaced"
    assert [one["runtime_config"]["parameters"] for one in fake.recurring] == [DATASET]


def in_force(fake: FakeKubeflow) -> list[str]:
    """Ids of the recurring runs that begin something."""
    return [one["recurring_run_id"] for one in fake.recurring if one["mode"] == "ENABLE"]


def test_removes_what_a_crash_left_twice(fake: FakeKubeflow, client: Kubeflow) -> None:
    client.schedule("full-update", DAILY, DATASET)
    fake.recurring += [{**fake.recurring[0], "recurring_run_id": f"twin-{number}"} for number in range(4)]
    assert client.schedule("full-update", DAILY, DATASET).done == "unchanged"
    assert len(fake.recurring) == 1


def test_asks_as_its_service_account(fake: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("secret-of-the-pod")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    Kubeflow(fake.url).upload(Package.of("full-update"))
    assert fake.authorization == {"Bearer secret-of-the-pod"}


def test_works_in_a_namespace_where_kubeflow_has_several_users() -> None:
    with kubeflow(multi_user=True) as fake:
        client = Kubeflow(fake.url, "team")
        client.upload(Package.of("full-update"))
        client.run("full-update", DATASET)
        client.schedule("full-update", DAILY, DATASET)
        assert {one["namespace"] for one in (*fake.pipelines, *fake.experiments)} == {"team"}
        with pytest.raises(ConfigError, match="--namespace"):
            Kubeflow(fake.url)


def test_says_which_kubeflow_does_not_answer() -> None:
    with kubeflow() as fake:
        url = fake.url
    with pytest.raises(UnavailableError, match=f"Kubeflow at {url} does not answer"):
        Kubeflow(url)


@pytest.mark.parametrize(
    ("name", "cron", "minutes"), [("a", "", 0), ("a", "0 3 * * *", 5), ("a", "0 0 3 * * *", 0), ("a", "", -1)]
)
def test_refuses_schedules_without_a_time(name: str, cron: str, minutes: int) -> None:
    with pytest.raises(ConfigError, match="schedule 'a'"):
        Schedule(name, cron, minutes)


def test_does_it_all_from_the_command_line(fake: FakeKubeflow) -> None:
    def call(*arguments: str) -> list[dict[str, str]]:
        done = CliRunner().invoke(app, ["pipelines", *arguments, "--host", fake.url, "--output", "json"])
        assert done.exit_code == 0, done.output
        rows: list[dict[str, str]] = json.loads(done.stdout)
        return rows

    assert "full-update" in {one["pipeline"] for one in call("upload")}
    (scheduled,) = call("schedule", "full-update", "--cron", "0 3 * * *", "-p", "dataset=s3://bucket/data")
    assert (scheduled["schedule"], scheduled["done"]) == ("full-update", "created")
    call("upload", "--image", "other:1")
    scheduling = ("schedule", "full-update", "--cron", "0 3 * * *", "-p", "dataset=s3://bucket/data")
    assert call(*scheduling, "--image", "other:1")[0]["done"] == "replaced"
    assert call(*scheduling, "--version", Package.of("full-update").version)[0]["done"] == "replaced"
    (run,) = call("run", "full-update", "-p", "dataset=s3://bucket/data", "-p", "train_accelerators=1")
    assert run["url"] == f"{fake.url}/#/runs/details/{run['run']}"
    assert fake.runs[0]["runtime_config"]["parameters"]["train_accelerators"] == 1
