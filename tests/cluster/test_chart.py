"""The chart on a real API server, with Kubernetes' own controllers where they run."""

from __future__ import annotations

import json
import time

from kubernetes import client

from pagoda.rollout import commands
from pagoda.rollout.backends.kserve.replicas import Bounds
from pagoda.rollout.state.machine import Phase
from tests.helm.charts import in_profile
from tests.helm.kserve_pods import STORAGE_CONTAINER, tower_pod
from tests.rollout.kserve.stage import OnKServe
from tests.rollout.worlds import add_full, quick

from .conftest import STEPS, Release, run

KINDS = "deployments,statefulsets,services,configmaps,networkpolicies,inferenceservices,servingruntimes,roles,milvuses"


def versions(release: Release) -> dict[tuple[str, str], str]:
    """What the API server last wrote of each object, but for statuses."""
    items = release.get(KINDS)["items"]
    return {(each["kind"], each["metadata"]["name"]): each["metadata"].get("generation", 0) for each in items}


def test_a_second_upgrade_changes_nothing(release: Release) -> None:
    release.upgrade()
    before = versions(release)
    release.upgrade()
    assert versions(release) == before


def test_two_installations_of_one_name_leave_each_other_alone(release: Release, other: Release) -> None:
    release.upgrade("objectStorage.url=s3://ours")
    other.upgrade("objectStorage.url=s3://theirs")
    for each, url in ((release, "s3://ours"), (other, "s3://theirs")):
        name = f"{each.namespace}.pagoda-pipelines"
        found = json.loads(run("kubectl", "get", "configmap", name, "-n", STEPS, "-o", "json"))
        assert found["data"]["PAGODA_REGISTRY__LOG"] == f"{url}/log"


def test_autoscaling_keeps_the_pods_when_it_is_switched_on(release: Release) -> None:
    release.upgrade("recall.replicas=6")
    on = ("recall.autoscaling.enabled=true", "recall.autoscaling.minReplicas=3")
    release.upgrade("recall.replicas=6", *on)
    seen = set()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        seen.add(release.get("deployment", "pagoda-recall")["spec"]["replicas"])
    release.upgrade("recall.replicas=6", *on, "recall.logs=text")
    seen.add(release.get("deployment", "pagoda-recall")["spec"]["replicas"])
    assert min(seen) >= 6


def test_a_namespace_that_enforces_restricted_takes_the_tower_s_pods(release: Release) -> None:
    release.upgrade()
    run("kubectl", "label", "namespace", release.namespace, "pod-security.kubernetes.io/enforce=restricted")
    spec = tower_pod(in_profile("minimal"), STORAGE_CONTAINER)
    for container in spec["initContainers"]:
        container.setdefault("image", "kserve/storage-initializer")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tower"}, "spec": spec}
    run("kubectl", "create", "-n", release.namespace, "--dry-run=server", "-f", "-", given=json.dumps(pod))


def test_an_upgrade_at_any_step_of_a_rollout_conflicts_over_nothing(release: Release, api: client.ApiClient) -> None:
    stage = OnKServe(release.place, api, install=lambda: release.upgrade("tower.minReplicas=2"))
    stage.start()
    changes = 0
    while "g1" not in stage.log.state().retired:
        changes += 1
        scaled = changes % 4 == 0
        release.upgrade(
            f"tower.minReplicas={2 + changes % 2}",
            f"tower.nodeSelector.pool=pool-{changes}",
            f"tower.labels.team=team-{changes}",
            f"tower.autoscaling.enabled={str(scaled).lower()}",
            f"tower.batchSize={changes}",
            f"tower.runtime={('torchserve', 'kserve')[changes // 3 % 2]}",
            f"rollout.replicas={1 + changes % 2}",
        )
        stage.bounds = Bounds(2 + changes % 2, 10 if scaled else 0)
        stage.backend = stage.connect()
        stage.driver = stage.drive()
        look = stage.step(5)
        assert not look.trouble
        assert ready(release, stage) >= 2
    assert changes > 5 and stage.log.state().stable == "g2"


def ready(release: Release, stage: OnKServe) -> int:
    """Ready pods of the stable arm's tower."""
    state = stage.log.state()
    uri = state.generation(state.stable or "").tower.uri
    found = [each for each in release.place.find("deployments") if uri in str(each["metadata"].get("annotations"))]
    return sum((each.get("status") or {}).get("readyReplicas", 0) for each in found)


def test_a_second_rollout_follows_an_aborted_one(release: Release, api: client.ApiClient) -> None:
    stage = OnKServe(release.place, api, install=lambda: release.upgrade("tower.minReplicas=2"))
    stage.start()
    stage.until(Phase.CANARY)
    commands.abort(stage.log, by="ann")
    stage.until(Phase.FINISHED)
    commands.start(stage.log, add_full(stage.log, 3), policy=quick(), by="test")
    stage.until(Phase.FINISHED)
    assert stage.log.state().stable == "g3"
