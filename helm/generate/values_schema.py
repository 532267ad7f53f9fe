"""values.schema.json: types from the defaults in values.yaml, and below what defaults cannot say."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

Schema = dict[str, Any]

_TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_PEERS: Schema = {"type": "array", "items": {"type": "object", "minProperties": 1}}
_QUANTITIES: Schema = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
_RESOURCES: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"requests": _QUANTITIES, "limits": _QUANTITIES, "claims": {"type": "array"}},
}
_REPLICAS: Schema = {"type": "integer", "minimum": 1}
_SHARE: Schema = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
_TIME: Schema = {"type": "number", "exclusiveMinimum": 0}
_NAMED: Schema = {"type": "array", "items": {"type": "object", "required": ["name"]}}
_OBJECTS: Schema = {"type": "array", "items": {"type": "object"}}
_OPEN: Schema = {"type": "object"}
_SCHEDULE: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["enabled", "pipeline"],
    "properties": {
        "enabled": {"type": "boolean"},
        "pipeline": {"type": "string", "minLength": 1},
        "cron": {"type": "string"},
        "everyMinutes": {"type": "integer", "minimum": 0},
        "parameters": {"type": "object"},
    },
}

_KAFKA: dict[str, Schema] = {
    "servers": {"type": "string", "pattern": "^([^:, ]+:[0-9]+(,[^:, ]+:[0-9]+)*)?$"},
    "topic": {"type": "string", "minLength": 1},
    "mechanism": {"enum": ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]},
}

BY_NAME: dict[str, Schema] = {
    "resources": _RESOURCES,
    "nodeSelector": _TEXTS,
    "annotations": _TEXTS,
    "labels": _TEXTS,
    "podLabels": _TEXTS,
    "podAnnotations": _TEXTS,
    "affinity": _OPEN,
    "tolerations": _OBJECTS,
    "extraEnv": _NAMED,
    "extraEnvFrom": _OBJECTS,
    "extraVolumes": _NAMED,
    "extraVolumeMounts": {"type": "array", "items": {"type": "object", "required": ["name", "mountPath"]}},
    "podSecurityContext": _OPEN,
    "securityContext": _OPEN,
    "startupProbe": _OPEN,
    "readinessProbe": _OPEN,
    "livenessProbe": _OPEN,
    "hostAliases": {"type": "array", "items": {"type": "object", "required": ["ip", "hostnames"]}},
    "dnsPolicy": {"enum": ["", "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]},
    "dnsConfig": _OPEN,
    "ipFamilyPolicy": {"enum": ["", "SingleStack", "PreferDualStack", "RequireDualStack"]},
    "ipFamilies": {"type": "array", "items": {"enum": ["IPv4", "IPv6"]}, "maxItems": 2, "uniqueItems": True},
    "replicas": _REPLICAS,
    "minReplicas": _REPLICAS,
    "maxReplicas": _REPLICAS,
    "maxUnavailable": {"type": ["integer", "string"]},
    "digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
}
"""By a key's own name, wherever it is."""

BY_PATH: dict[str, Schema] = {
    "images.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "images.pullSecrets": {"type": "array", "items": {"type": "string"}},
    "runAs.user": {"type": ["integer", "null"], "minimum": 1},
    "runAs.group": {"type": ["integer", "null"], "minimum": 1},
    "objectStorage.url": {"type": "string", "pattern": "^s3://[^/]+"},
    "objectStorage.endpoint": {"type": "string", "pattern": "^(https?://[^/]+/?)?$"},
    "events.dataset": {"type": "string", "pattern": "^(s3://[^/]+/.+)?$"},
    "events.format": {"enum": ["parquet", "tfrecord"]},
    "tracing.endpoint": {"type": "string", "pattern": "^(https?://.+)?$"},
    "tracing.share": {"type": "number", "minimum": 0, "maximum": 1},
    "recall.logs": {"enum": ["text", "json"]},
    # Where collections are, the chart knows.
    "index": {
        "type": "object",
        "properties": {"backend": {"enum": ["milvus", "in_process", "elasticsearch"]}, "store": {"const": ""}},
    },
    **{
        f"events.{key}": {"type": "integer", "minimum": 1}
        for key in ("streamLength", "lateDays", "newcomers", "newcomerDays")
    },
    "events.aheadSeconds": {"type": "integer", "minimum": 0},
    "events.memoryShare": _SHARE,
    "events.forgottenDays": _TIME,
    "items.removalShare": _SHARE,
    "items.removalHours": _TIME,
    "items.undoDays": _TIME,
    **{
        f"recall.{key}": {"type": "integer", "minimum": 1}
        for key in ("usersAtOnce", "connections", "connectionsOfClient")
    },
    **{f"{section}.kafka.{key}": schema for section in ("events", "items") for key, schema in _KAFKA.items()},
    "items.kafka.group": {"type": "string", "minLength": 1},
    "recall.httpRoute.parentRefs": {
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name"],
            "properties": {key: {"type": "string"} for key in ("name", "namespace", "sectionName")},
        },
    },
    "recall.httpRoute.hostnames": {"type": "array", "items": {"type": "string"}},
    "recall.ingress.hostnames": {"type": "array", "items": {"type": "string"}},
    "recall.ingress.tls": {
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"hosts": {"type": "array", "items": {"type": "string"}}, "secretName": {"type": "string"}},
        },
    },
    "tower.runtime": {"enum": ["torchserve", "kserve", "in_process"]},
    "tower.mode": {"enum": ["Standard", "Knative"]},
    "tower.autoscaling.metric": {"enum": ["cpu", "memory", "concurrency", "rps"]},
    # Knative scales to as few as this; a tower that is gone answers nobody, and its tables take minutes to come back.
    "tower.minReplicas": _REPLICAS,
    "tower.workers": _REPLICAS,
    "tower.batchSize": _REPLICAS,
    "access.tokensSecret": {"type": "string", "minLength": 1},
    "redis.usersSecret": {"type": "string", "minLength": 1},
    "mlflow.loginSecret": {"type": "string", "minLength": 1},
    "mlflow.mode": {"enum": ["embedded", "external"]},
    "mlflow.uri": {"type": "string", "pattern": "^(https?://.+)?$"},
    "redis.mode": {"enum": ["embedded", "external"]},
    "milvus.mode": {"enum": ["standalone", "cluster", "external"]},
    "milvus.uri": {"type": "string", "pattern": "^(https?://.+)?$"},
    "milvus.imports": {"type": "string", "pattern": "^(s3://[^/]+/.+)?$"},
    "milvus.config": {"type": "object"},
    "milvus.image": {"type": "string", "pattern": ":v2\\.6\\.[0-9]+(@sha256:[0-9a-f]{64})?$"},
    "milvus.standalone.msgStreamType": {"enum": ["rocksmq", "woodpecker"]},
    "milvus.storage.type": {"enum": ["S3", "MinIO"]},
    "milvus.etcd.endpoints": {"type": "array", "items": {"type": "string"}},
    "elasticsearch.port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "elasticsearch.dialect": {"enum": ["elasticsearch", "opensearch"]},
    "elasticsearch.shards": {"type": "integer", "minimum": 1, "maximum": 1024},
    # Of each shard beside the first, which may have none.
    "elasticsearch.replicas": {"type": "integer", "minimum": 0},
    "rollout.policies.full": {"type": "object"},
    "rollout.policies.incremental": {"type": "object"},
    "pipelines.publish": {"enum": ["resources", "job", "none"]},
    "pipelines.queue": {"type": "string", "maxLength": 63, "pattern": r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$"},
    "pipelines.trainJob.kind": {"enum": ["detected", "TrainJob", "PyTorchJob"]},
    "pipelines.trainJob.runtime": {"type": "string", "minLength": 1, "maxLength": 253},
    "pipelines.kubeflow.host": {"type": "string", "pattern": "^https?://.+"},
    "pipelines.schedules": {"type": "object", "additionalProperties": _SCHEDULE},
    "networkPolicy.dns.extraPeers": _PEERS,
    "networkPolicy.recallCallers": _PEERS,
    "networkPolicy.itemCallers": _PEERS,
    "networkPolicy.towerCallers": _PEERS,
    "networkPolicy.mlflowCallers": _PEERS,
    "networkPolicy.knativeNamespaces": {"type": "array", "items": {"type": "string"}},
    **{
        f"networkPolicy.external.{peer}": {**_PEERS, "minItems": 1}
        for peer in (
            *("objectStorage", "milvus", "elasticsearch", "redis", "mlflow"),
            *("database", "kafka", "tracing", "apiServer"),
        )
    },
    "networkPolicy.external.objectStoragePorts": {
        "type": "array",
        "items": {"type": "integer", "minimum": 1, "maximum": 65535},
    },
    **{f"workers.{worker}.args": {"type": "array", "items": {"type": "string"}} for worker in ("sink", "items")},
    **{f"workers.{worker}.egress": {"type": "array", "items": {"type": "object"}} for worker in ("sink", "items")},
    "retention.fullVersions": {"type": "integer", "minimum": 2},
    "retention.interactionDays": {"type": "integer", "minimum": 0},
    "monitoring.errorRatio": _SHARE,
    "monitoring.latencySeconds": _TIME,
    "tests.userId": {"type": ["integer", "string"]},
    "extraObjects": {"type": "array", "items": {"type": ["object", "string"]}},
}
"""By a key's whole path."""

_WITH_SERVICE = ("recall", "mlflow", "redis")
_WITHOUT = ("tower", "rollout", "workers.sink", "workers.items", "retention", "pipelines.job", "tests")
_OF_A_CONTAINER = ("extraEnv", "extraEnvFrom", "extraVolumeMounts", "securityContext")
_OF_MILVUS = (
    *("labels", "annotations", "podLabels", "podAnnotations"),
    *("nodeSelector", "tolerations", "affinity", "priorityClassName"),
)

_TYPES: dict[type, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": 0},
    float: {"type": "number", "minimum": 0},
    str: {"type": "string"},
}


def _with_common(values: dict[str, Any]) -> dict[str, Any]:
    """The values, and in each part what it takes of `common`, which values.yaml does not repeat there."""
    common = values["common"]
    taken: dict[str, Iterable[str]] = {
        **dict.fromkeys(_WITH_SERVICE, common),
        **dict.fromkeys(_WITHOUT, tuple(key for key in common if key != "service")),
        "tower.follower": _OF_A_CONTAINER,
        "milvus": _OF_MILVUS,
    }
    for path, keys in taken.items():
        part = values
        for step in path.split("."):
            part = part[step]
        part.update({key: common[key] for key in keys if key not in part})
    return values


def schema_of(values: dict[str, Any], path: tuple[str, ...] = ()) -> Schema:
    """The schema of an object of values: its keys and no others."""
    properties = {key: _property(value, (*path, key)) for key, value in values.items()}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _property(value: Any, path: tuple[str, ...]) -> Schema:
    known = BY_PATH.get(".".join(path)) or BY_NAME.get(path[-1])
    if known:
        return known
    if isinstance(value, dict):
        return schema_of(value, path)
    return _TYPES[type(value)]


def text(chart: Path) -> str:
    """values.schema.json of the chart in `chart`."""
    schema = schema_of(_with_common(yaml.safe_load((chart / "values.yaml").read_text())))
    # Helm adds it to the values of a chart that is used as a part of another.
    schema["properties"]["global"] = {"type": "object"}
    return (
        json.dumps({"$schema": "https://json-schema.org/draft-07/schema#", "title": "Values", **schema}, indent=1)
        + "\n"
    )


def write(chart: Path) -> None:
    """Write values.schema.json beside values.yaml."""
    (chart / "values.schema.json").write_text(text(chart))
