"""The jobs that are asked for: what their CRDs take, what their pods get, and which kind a cluster has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.cluster import Cluster
from pagoda.errors import ConfigError
from pagoda.training_jobs.job import WORK, JobDraft, PodNeeds
from pagoda.training_jobs.kinds import KINDS, kind_in
from pagoda.training_jobs.train_job import TRAIN_JOB
from tests.rollout.kserve.fakes.apiserver import served
from tests.training_jobs.fakes.namespace import FakeNamespace, schema
from tests.training_jobs.steps import draft_in

GPUS = PodNeeds("8", "64Gi", 2, "nvidia.com/gpu", {"gpu": "a100"})


def draft(home: Path, **training: str) -> JobDraft:
    """Of four processes in two pods, with all that a job may have."""
    given = {"queue": "team", "claim": "training", "runtime": "torch-distributed", **training}
    return draft_in(home, pods=2, needs=GPUS, **given)


def pods_of(job: dict[str, Any]) -> list[dict[str, Any]]:
    """The pods' template of each role, as the job's own fields give it."""
    if job["kind"] == "PyTorchJob":
        return [role["template"] for role in job["spec"]["pytorchReplicaSpecs"].values()]
    (patch,) = job["spec"]["runtimePatches"]
    (node,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    template = node["template"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    trainer = job["spec"]["trainer"]
    runs = {"image": trainer["image"], "env": trainer["env"], "resources": trainer["resourcesPerNode"]}
    return [{**template, "spec": {**template["spec"], "containers": [{**container, **runs}]}}]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_are_what_their_definitions_take(kind: Any, tmp_path: Path) -> None:
    for wanted in (draft(tmp_path), draft_in(tmp_path)):
        assert not [error.message for error in schema(kind.plural).iter_errors(kind.body(wanted))]


def test_lose_nothing_in_the_models_of_kubeflow(tmp_path: Path) -> None:
    """The models pass over what they do not know; so the definition is asked, and each part looked for."""
    job = TRAIN_JOB.body(draft(tmp_path))
    (pod,) = pods_of(job)
    assert set(pod["spec"]) == {
        *("securityContext", "volumes", "containers", "serviceAccountName", "imagePullSecrets"),
        *("nodeSelector", "tolerations"),
    }
    assert set(pod["spec"]["containers"][0]) == {
        *("name", "volumeMounts", "securityContext"),
        "image",
        "env",
        "resources",
    }
    assert job["spec"]["trainer"]["numNodes"] * job["spec"]["trainer"]["numProcPerNode"] == 4


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_have_pods_like_the_steps_own(kind: Any, tmp_path: Path) -> None:
    job = kind.body(draft(tmp_path))
    assert job["metadata"]["ownerReferences"] == [
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "full-update-abc", "uid": "w-1"}
    ]
    for pod in pods_of(job):
        spec, (container,) = pod["spec"], pod["spec"]["containers"]
        assert container["image"] == "registry.corp/components:1"
        names = {each["name"]: each for each in container["env"]}
        assert set(names) == {"AWS_SECRET_ACCESS_KEY", "PAGODA_REGISTRY__URI", "PAGODA_HOME"}
        assert names["AWS_SECRET_ACCESS_KEY"]["valueFrom"]["secretKeyRef"]["name"] == "pagoda-object-storage"
        assert spec["serviceAccountName"] == "pipeline-runner"
        assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
        assert spec["nodeSelector"] == {"gpu": "a100"}
        assert container["resources"]["limits"] == {"memory": "64Gi", "nvidia.com/gpu": "2"}
        assert spec["volumes"][0]["persistentVolumeClaim"]["claimName"] == "training"
        assert container["volumeMounts"][0]["mountPath"] == names["PAGODA_HOME"]["value"] == WORK
        # Argo's controller would take pods with its labels for steps.
        assert not [key for key in pod["metadata"]["labels"] if "argoproj" in key]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_meet_the_restricted_standard(kind: Any, tmp_path: Path) -> None:
    for pod in pods_of(kind.body(draft(tmp_path))):
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        assert pod["spec"]["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        for container in pod["spec"]["containers"]:
            confined = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
            assert container["securityContext"] == confined


@given(parent=st.integers(0, 10**9), place=st.text(max_size=80))
def test_are_named_as_kubernetes_names_and_jobset_makes_longer_ones_of_it(parent: int, place: str) -> None:
    name = draft_in(Path(f"/home/{place}".replace("\0", "0"))).name
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
    # Pod of JobSet: {name}-node-0-{index}-{5 characters}; of the operator: {name}-worker-{index}.
    assert len(f"{name}-node-0-9999-abcde") <= 63


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pods": 3, "claim": "shared"}, r"train_pods 3: must divide distributed\.processes, which is 4"),
        ({"pods": 2}, "share no volume; set training.claim"),
        ({"needs": PodNeeds("4", "16Gi", 1)}, "train_accelerators 1: each of the 4 processes"),
    ],
)
def test_contradictions_are_refused_before_anything_is_made(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        draft_in(tmp_path, **changed)


@pytest.mark.parametrize(
    ("there", "named", "found"),
    [
        (["trainjobs", "pytorchjobs"], "detected", "TrainJob"),
        (["pytorchjobs"], "detected", "PyTorchJob"),
        (["trainjobs", "pytorchjobs"], "PyTorchJob", "PyTorchJob"),
        (["pytorchjobs"], "TrainJob", r"no TrainJob \(trainer\.kubeflow\.org/v1alpha1\)\. Install"),
        ([], "detected", r"no TrainJob .* nor PyTorchJob \(kubeflow\.org/v1\)\."),
    ],
)
def test_the_kind_is_one_that_the_cluster_has(there: list[str], named: str, found: str) -> None:
    with served(FakeNamespace(*there)) as api:
        cluster = Cluster("recall", api, attempts=1)
        if found in KINDS:
            assert kind_in(cluster, named).name == found
        else:
            with pytest.raises(ConfigError, match=found):
                kind_in(cluster, named)
