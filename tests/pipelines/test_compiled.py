"""The compiled pipelines: what Kubeflow's own format knows, resources, retries, names a person understands."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from pagoda.errors import ConfigError
from pipelines.compile import COMPILED
from pipelines.kubernetes_platform import LABELS, SETTINGS_KEYS
from pipelines.pipeline_package import Names, Package, available
from tests.pipelines.kubeflow.fake_kubeflow import checked_pipeline

Spec = dict[str, Any]

SECRETS = {
    *("pagoda-object-storage", "pagoda-milvus-token", "pagoda-elasticsearch"),
    *("pagoda-mlflow-login", "pagoda-signing-key"),
}


@pytest.fixture(params=available())
def package(request: pytest.FixtureRequest) -> Package:
    """Each pipeline."""
    return Package.of(request.param)


def _documents(package: Package) -> tuple[Spec, Spec]:
    spec, platforms = yaml.safe_load_all(package.text)
    return spec, platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def _tasks(spec: Spec) -> dict[str, Spec]:
    groups = [spec["root"], *spec["components"].values()]
    return {name: task for group in groups for name, task in group.get("dag", {}).get("tasks", {}).items()}


def test_are_what_kubeflows_own_format_says(package: Package) -> None:
    assert checked_pipeline(package.text)["pipeline_spec"]["pipelineInfo"]["name"] == package.name


def test_ask_people_for_parameters_with_descriptions_and_defaults(package: Package) -> None:
    assert package.description
    for name, about in package.parameters.items():
        assert about["description"], name
        assert about["isOptional"] and "defaultValue" in about, name


def test_cache_nothing_and_try_again(package: Package) -> None:
    spec, _ = _documents(package)
    containers = {name: one for name, one in _tasks(spec).items() if _runs(spec, one)}
    for name, task in containers.items():
        assert not task["cachingOptions"].get("enableCache"), name
        assert task["retryPolicy"]["maxRetryCount"] == 2, name


def _runs(spec: Spec, task: Spec) -> bool:
    return "executorLabel" in spec["components"][task["componentRef"]["name"]]


def test_bound_memory_of_every_step(package: Package) -> None:
    for executor in _documents(package)[0]["deploymentSpec"]["executors"].values():
        resources = executor["container"]["resources"]
        assert resources["resourceMemoryLimit"] == resources["resourceMemoryRequest"]
        assert resources["resourceCpuRequest"]


def test_give_every_step_settings_secrets_and_labels(package: Package) -> None:
    spec, platforms = _documents(package)
    assert set(platforms) == set(spec["deploymentSpec"]["executors"])
    for step in platforms.values():
        (settings,) = step["configMapAsEnv"]
        assert {one["configMapKey"] for one in settings["keyToEnv"]} == set(SETTINGS_KEYS)
        assert {one["secretName"] for one in step["secretAsEnv"]} == SECRETS
        assert step["podMetadata"]["labels"] == LABELS
        assert step["securityContext"]["runAsNonRoot"]


def test_train_on_gpus_and_nodes_that_parameters_name() -> None:
    spec, platforms = _documents(Package.of("full-update"))
    accelerator = spec["deploymentSpec"]["executors"]["exec-train"]["container"]["resources"]["accelerator"]
    assert "place-training-accelerators" in accelerator["resourceCount"]
    assert "place-training" in str(platforms["exec-train"]["nodeSelector"])
    placed = spec["root"]["dag"]["tasks"]["place-training"]["inputs"]["parameters"]
    for name in ("cpu", "memory", "accelerators", "node_selector"):
        assert placed[name] == {"componentInputParameter": f"train_{name}"}


def test_take_an_installations_own_names() -> None:
    names = Names("registry/steps:2", "prod-pipelines", "prod-storage", "prod-milvus")
    text = Package.of("full-update", names).text
    assert not {"ghcr.io/pagoda/components:0.1.0", ": pagoda-pipelines\n", ": pagoda-object-storage\n"} & set(
        text.split("\n")
    )
    assert "pagoda-object-storage" not in text
    assert text.count("image: registry/steps:2\n") == (COMPILED / "full-update.yaml").read_text().count("image: ")
    assert Package.of("full-update", names).version != Package.of("full-update").version


def test_queue_training_alone_and_only_where_there_is_a_queue(package: Package) -> None:
    label = "kueue.x-k8s.io/queue-name"
    assert label not in package.text  # Kueue refuses a pod with an empty one.
    queued = Package.of(package.name, Names(queue="team"))
    assert checked_pipeline(queued.text)["pipeline_spec"] == checked_pipeline(package.text)["pipeline_spec"]
    labels = {name: step["podMetadata"]["labels"].get(label) for name, step in _documents(queued)[1].items()}
    assert {name for name, queue in labels.items() if queue == "team"} == {"exec-train"} & set(labels)
    assert {queue for name, queue in labels.items() if name != "exec-train"} <= {None}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dataset": "d", "datset": "d"}, "unknown parameter 'datset'"),
        ({"dataset": "d", "train_accelerators": "two"}, "train_accelerators='two' is no NUMBER_INTEGER"),
        ({"dataset": "d", "train_node_selector": "[1]"}, "train_node_selector=.* is no STRUCT"),
    ],
)
def test_refuse_wrong_parameters(given: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Package.of("full-update").read_parameters(given)


def test_read_parameters_by_their_types() -> None:
    given = {"dataset": "s3://b/d", "train_accelerators": "2", "train_node_selector": '{"gpu": "a100"}'}
    assert Package.of("full-update").read_parameters(given) == {
        "dataset": "s3://b/d",
        "train_accelerators": 2,
        "train_node_selector": {"gpu": "a100"},
    }


def test_name_the_pipelines_there_are() -> None:
    with pytest.raises(ConfigError, match=r"there are .*full-update"):
        Package.of("weekly")
