"""Values that would install but not do what was asked."""

from __future__ import annotations

import re

import pytest

from pagoda.errors import ConfigError

from .charts import with_values

COMPACT, ELASTIC = "tower.runtime=in_process", "index.backend=elasticsearch"
KNATIVE = ("tower.mode=Knative", "tower.autoscaling.metric=rps")


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["tower.autoscaling.metric=rps"], "tower.autoscaling.metric=rps: KServe ignores it"),
        (["tower.mode=Knative"], "tower.autoscaling.metric=cpu: Knative's autoscaler"),
        (["tower.mode=Knative", "tower.autoscaling.metric=rps", "tower.nodeSelector.a=b"], "tower.nodeSelector"),
        (
            ["tower.minReplicas=5", "tower.autoscaling.enabled=true", "tower.autoscaling.maxReplicas=2"],
            "tower.minReplicas=5 is above tower.autoscaling.maxReplicas=2",
        ),
        (
            ["recall.autoscaling.enabled=true", "recall.autoscaling.maxReplicas=1"],
            "recall.autoscaling.minReplicas=3 is above recall.autoscaling.maxReplicas=1",
        ),
        (
            [
                "recall.autoscaling.enabled=true",
                "recall.autoscaling.cpuPercent=0",
                "recall.autoscaling.requestsInFlight=0",
            ],
            "recall.autoscaling.requestsInFlight and recall.autoscaling.cpuPercent",
        ),
        (["recall.httpRoute.enabled=true"], "recall.httpRoute.parentRefs"),
        (["retention.interactionDays=90"], "retention.interactionDays: set events.dataset"),
        *(
            ([*KNATIVE, one], f"tower.{key} (or common.{key}): Knative refuses")
            for key, one in {
                "nodeSelector": "common.nodeSelector.a=b",
                "priorityClassName": "tower.priorityClassName=high",
                "hostAliases": "common.hostAliases[0].ip=192.0.2.1,common.hostAliases[0].hostnames={a}",
                "dnsPolicy": "tower.dnsPolicy=Default",
                "dnsConfig": "tower.dnsConfig.nameservers={192.0.2.1}",
                "podSecurityContext": "tower.podSecurityContext.fsGroup=1",
            }.items()
        ),
        (
            [*KNATIVE, "tower.extraVolumes[0].name=ours", "tower.extraVolumes[0].hostPath.path=/ours"],
            "Knative refuses the hostPath volume ours",
        ),
        (
            [*KNATIVE, "tower.extraEnv[0].name=NODE", "tower.extraEnv[0].valueFrom.fieldRef.fieldPath=spec.nodeName"],
            "Knative refuses NODE, a reference to a field",
        ),
        (["recall.serviceAccount.create=false"], "recall.serviceAccount.name: name your account"),
        (["pipelines.job.serviceAccount.create=false"], "pipelines.job.serviceAccount.name: name your account"),
        (
            ["common.service.ipFamilyPolicy=PreferDualStack", "mlflow.workers=1"],
            "mlflow.workers=1: a single process of MLflow listens on one address family",
        ),
        (["tower.runtime=kserve", "tower.workers=4"], "tower.workers=4: KServe's model server is one process"),
        (["index.backend=in_process"], "index.backend=in_process: search runs where the tower does"),
        ([COMPACT, "index.backend=milvus"], "index.backend=milvus: search runs where the tower does"),
        ([COMPACT, "rollout.enabled=false"], "rollout.enabled=false: with tower.runtime=in_process the driver"),
        *(
            ([COMPACT, one], f"{one.split('=')[0]}: there is no server of the tower when tower.runtime=in_process")
            for one in ("tls.tower=a", "tower.autoscaling.enabled=true", "tower.url=http://tower")
        ),
        ([COMPACT, "milvus.existingSecret=a"], "milvus.existingSecret: there is no Milvus"),
        ([COMPACT, ELASTIC], "index.backend=elasticsearch: search runs where the tower does"),
        ([ELASTIC], "elasticsearch.existingSecret: name the secret with the url"),
        (["elasticsearch.existingSecret=a"], "elasticsearch.existingSecret: is only used"),
        (
            [ELASTIC, "elasticsearch.existingSecret=a", "milvus.mode=cluster"],
            "milvus.mode: there is no Milvus when index.backend=elasticsearch",
        ),
        (["recall.drainSeconds=25"], "recall.terminationGracePeriodSeconds=30: must be at least"),
        (["mlflow.mode=external"], "mlflow.uri: must be set when mlflow.mode=external"),
        (["mlflow.uri=http://mlflow"], "mlflow.uri: is only used when mlflow.mode=external, but mlflow.mode=embedded"),
        (
            ["mlflow.mode=external", "mlflow.uri=http://mlflow", "mlflow.database.existingSecret=a"],
            "mlflow.database.existingSecret",
        ),
        (["redis.mode=external"], "redis.existingSecret: must be set"),
        (["redis.existingSecret=a"], "redis.existingSecret: is only used"),
        (["milvus.mode=external"], "milvus.uri: must be set"),
        (["milvus.uri=http://milvus:19530"], "milvus.uri: is only used"),
        (["objectStorage.credentials.accessKeyId=a"], "objectStorage.credentials.secretAccessKey"),
        (
            [
                "objectStorage.existingSecret=s",
                "objectStorage.credentials.accessKeyId=a",
                "objectStorage.credentials.secretAccessKey=b",
            ],
            "objectStorage.existingSecret and objectStorage.credentials.accessKeyId",
        ),
        (["milvus.imports=s3://milvus/imports"], "milvus.imports: the MinIO that the Milvus operator runs"),
        (
            [
                "milvus.imports=s3://milvus/imports",
                "milvus.storage.endpoint=minio:9000",
                "milvus.config.minio.bucketName=other",
            ],
            'Milvus reads its own bucket alone, and milvus.config.minio.bucketName is "other"',
        ),
        (["workers.sink.enabled=true"], "events.dataset: name the dataset that workers.sink writes into"),
        (["pipelines.namespace=team"], "pipelines.namespace: is only used when pipelines.kubeflow.multiUser=true"),
        (["pipelines.schedules.fullUpdate.enabled=true"], "pipelines.schedules.fullUpdate.parameters.dataset"),
        (
            ["pipelines.schedules.fullUpdate.enabled=true", "pipelines.schedules.fullUpdate.everyMinutes=5"],
            "pipelines.schedules.fullUpdate.cron and pipelines.schedules.fullUpdate.everyMinutes",
        ),
        (
            ["pipelines.schedules.fullUpdate.enabled=true", "pipelines.schedules.fullUpdate.pipeline=weekly"],
            "pipelines.schedules.fullUpdate.pipeline=weekly",
        ),
    ],
)
def test_should_refuse_contradictions_by_the_name_of_the_key(sets: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match="(?s)" + re.escape(said)):
        with_values(*sets)


@pytest.mark.parametrize(
    "one",
    [
        "recall.replica=3",
        "tower.mode=Raw",
        "tower.runtime=onnx",
        "index.store=s3://elsewhere/collections",
        "index.backend=solr",
        "elasticsearch.url=https://user:password@search:9200",
        "elasticsearch.dialect=solr",
        "recall.replicas=0",
        "objectStorage.url=/data",
        "events.dataset=/data",
        "events.memoryShare=80",
        "events.newcomers=0",
        "items.removalShare=0",
        "milvus.image=milvusdb/milvus:latest",
        "images.recall.digest=sha256:abc",
        "pipelines.schedules.fullUpdate.every=5",
        "tower.resources.memory=5Gi",
        "recall.hostAlias=a",
        "tower.follower.hostAliases=a",
        "tower.service.annotations.a=b",
        "common.dnsPolicy=Cluster",
        "common.service.ipFamilies={IPv5}",
        "recall.extraVolumes[0].secret.secretName=unnamed",
    ],
)
def test_should_refuse_values_that_the_schema_does_not_know(one: str) -> None:
    with pytest.raises(ConfigError, match=r"values\.schema\.json|values don't meet|specifications of the schema"):
        with_values(one)
