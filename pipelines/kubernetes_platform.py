"""What a pipeline's step gets on a cluster: resources, settings, secrets, retries.

On one machine none of it has an effect: the local runner ignores it, but for the retries, which `run_locally` removes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from kfp import kubernetes
from kfp.dsl import PipelineTask
from kfp.dsl.pipeline_channel import PipelineParameterChannel

SETTINGS, STORAGE_SECRET, MILVUS_SECRET = "pagoda-pipelines", "pagoda-object-storage", "pagoda-milvus-token"
ELASTICSEARCH_SECRET = "pagoda-elasticsearch"  # noqa: S105 - the secret's name
SIGNING_SECRET = "pagoda-signing-key"  # noqa: S105 - the secret's name
MLFLOW_SECRET = "pagoda-mlflow-login"  # noqa: S105 - its name
"""Names of the ConfigMap and the secrets; whoever uploads a pipeline puts the installation's own in their place."""

SETTINGS_KEYS = (
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "MLFLOW_S3_ENDPOINT_URL",
    "PAGODA_ELASTICSEARCH__DIALECT",
    "PAGODA_ELASTICSEARCH__REPLICAS",
    "PAGODA_ELASTICSEARCH__SHARDS",
    "PAGODA_EVALUATION__FIRST_VERSION",
    "PAGODA_EVALUATION__REPEATS",
    "PAGODA_EVENTS__DATASET",
    "PAGODA_INDEX",
    "PAGODA_INDEX__BACKEND",
    "PAGODA_INDEX__STORE",
    "PAGODA_MILVUS__IMPORTS",
    "PAGODA_MILVUS__URI",
    "PAGODA_RECALL__URL",
    "PAGODA_REGISTRY__ARTIFACTS",
    "PAGODA_REGISTRY__LOG",
    "PAGODA_REGISTRY__MODEL",
    "PAGODA_REGISTRY__URI",
    "PAGODA_ROLLOUT__BACKEND",
    "PAGODA_ROLLOUT__FULL_POLICY",
    "PAGODA_ROLLOUT__INCREMENTAL_POLICY",
    "PAGODA_TOWER__HOSTS",
    "PAGODA_TOWER__RUNTIME",
    "PAGODA_TOWER__URL",
    "PAGODA_TRAINING__CLAIM",
    "PAGODA_TRAINING__JOBS",
    "PAGODA_TRAINING__QUEUE",
    "PAGODA_TRAINING__RUNTIME",
)
LABELS = {"app.kubernetes.io/name": "pagoda", "app.kubernetes.io/component": "pipelines"}
"""Labels of a step's pod, by which network policies know it."""
QUEUE_LABEL, QUEUED = "kueue.x-k8s.io/queue-name", "exec-train"
"""Kueue's label, and the step that gets it where an installation names a queue. Elsewhere the label is absent: Kueue
refuses a pod whose label is empty (kubernetes-sigs/kueue ff69552, pkg/controller/jobframework/validation.go:146)."""

Quantity: TypeAlias = str | PipelineParameterChannel


@dataclass(frozen=True, slots=True)
class StepResources:
    """Resources of a step: requests, and for memory the limit too, so that a step cannot take a node down."""

    cpu: Quantity
    memory: Quantity


@dataclass(frozen=True, slots=True)
class Accelerators:
    """GPUs of a step and the nodes that have them, as parameters of the pipeline."""

    count: PipelineParameterChannel
    resource: PipelineParameterChannel
    """Kubernetes' name, `nvidia.com/gpu`, say."""
    node_selector: PipelineParameterChannel


SMALL = StepResources("500m", "2Gi")
LARGE = StepResources("2", "8Gi")


def on_cluster(
    task: PipelineTask, needs: StepResources = SMALL, accelerators: Accelerators | None = None
) -> PipelineTask:
    """Say how `task` runs on a cluster, and return it.

    Caching is off for every step: each has effects outside Kubeflow (registry, bucket, Milvus), depends on what is
    there, and recognises finished work by its own key, which Kubeflow's cache knows nothing of.
    """
    task.set_caching_options(enable_caching=False)
    task.set_retry(num_retries=2, backoff_duration="60s", backoff_factor=2.0, backoff_max_duration="600s")
    task.set_cpu_request(needs.cpu).set_memory_request(needs.memory).set_memory_limit(needs.memory)
    if accelerators:
        task.set_accelerator_type(accelerators.resource).set_accelerator_limit(accelerators.count)
        kubernetes.add_node_selector_json(task, accelerators.node_selector)
    for key, value in LABELS.items():
        kubernetes.add_pod_label(task, key, value)
    kubernetes.set_security_context(task, run_as_non_root=True)
    return _with_environment(task)


def _with_environment(task: PipelineTask) -> PipelineTask:
    kubernetes.use_config_map_as_env(task, SETTINGS, {key: key for key in SETTINGS_KEYS}, optional=True)
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    kubernetes.use_secret_as_env(task, STORAGE_SECRET, {key: key for key in keys}, optional=True)
    kubernetes.use_secret_as_env(task, MILVUS_SECRET, {"token": "PAGODA_MILVUS__TOKEN"}, optional=True)
    search = {key: f"PAGODA_ELASTICSEARCH__{key.upper()}" for key in ("url", "api_key")}
    # Optional is each key of a secret, not the secret alone (kubeflow/pipelines, backend/src/v2/driver/k8s.go@008dcd6).
    kubernetes.use_secret_as_env(task, ELASTICSEARCH_SECRET, search, optional=True)
    kubernetes.use_secret_as_env(task, SIGNING_SECRET, {"key": "PAGODA_REGISTRY__SIGNING_KEY"}, optional=True)
    login = {name: f"MLFLOW_TRACKING_{name.upper()}" for name in ("username", "password")}
    kubernetes.use_secret_as_env(task, MLFLOW_SECRET, login, optional=True)
    return task
