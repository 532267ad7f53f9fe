{{/*
Contradictions between values: what would install but not do what was asked. Each message names the keys.
*/}}
{{- define "pagoda.checks" -}}
{{- $v := .Values -}}
{{- $standard := eq $v.tower.mode "Standard" -}}

{{- if and $v.objectStorage.existingSecret $v.objectStorage.credentials.accessKeyId -}}
{{- fail "objectStorage.existingSecret and objectStorage.credentials.accessKeyId: set one of them, two would leave open which is used" -}}
{{- end -}}
{{- if ne (empty $v.objectStorage.credentials.accessKeyId) (empty $v.objectStorage.credentials.secretAccessKey) -}}
{{- fail "objectStorage.credentials.accessKeyId and objectStorage.credentials.secretAccessKey: set both or neither" -}}
{{- end -}}

{{- with $v.tower.autoscaling -}}
{{- if and $standard (has .metric (list "concurrency" "rps")) -}}
{{- fail (printf "tower.autoscaling.metric=%s: KServe ignores it when tower.mode=Standard; use cpu or memory there" .metric) -}}
{{- end -}}
{{- if and (not $standard) (has .metric (list "cpu" "memory")) -}}
{{- fail (printf "tower.autoscaling.metric=%s: Knative's autoscaler does not measure it; use concurrency or rps when tower.mode=Knative" .metric) -}}
{{- end -}}
{{- if and (or .enabled (not $standard)) (gt (int $v.tower.minReplicas) (int .maxReplicas)) -}}
{{- fail (printf "tower.minReplicas=%d is above tower.autoscaling.maxReplicas=%d" (int $v.tower.minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $v.tower.runtime "kserve") (gt (int $v.tower.workers) 1) -}}
{{- fail (printf "tower.workers=%d: KServe's model server is one process when tower.runtime=kserve; set it to 1 and scale by pods, tower.minReplicas or tower.autoscaling" (int $v.tower.workers)) -}}
{{- end -}}
{{- if not $standard -}}
{{- include "pagoda.checks.knative" . -}}
{{- end -}}
{{- include "pagoda.checks.compact" . -}}
{{- include "pagoda.checks.index" . -}}

{{- with $v.recall.autoscaling -}}
{{- if .enabled -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
{{- fail (printf "recall.autoscaling.minReplicas=%d is above recall.autoscaling.maxReplicas=%d" (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- if not (or .requestsInFlight .cpuPercent) -}}
{{- fail "recall.autoscaling.requestsInFlight and recall.autoscaling.cpuPercent: one must be above 0 when recall.autoscaling.enabled=true" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if lt (int $v.recall.terminationGracePeriodSeconds) (add (int $v.recall.drainSeconds) 10 | int) -}}
{{- fail (printf "recall.terminationGracePeriodSeconds=%d: must be at least recall.drainSeconds=%d and 10 more, to finish what is under way" (int $v.recall.terminationGracePeriodSeconds) (int $v.recall.drainSeconds)) -}}
{{- end -}}
{{- range $part := list "recall" "tower" "rollout" "mlflow" "redis" "retention" "pipelines-setup" "workers" -}}
{{- $account := (include "pagoda.part" (list $ $part) | fromYaml).serviceAccount -}}
{{- if not (or $account.create $account.name) -}}
{{- $key := eq $part "pipelines-setup" | ternary "pipelines.job" $part -}}
{{- fail (printf "%s.serviceAccount.name: name your account when %s.serviceAccount.create=false" $key $key) -}}
{{- end -}}
{{- end -}}
{{- if and $v.retention.interactionDays (not $v.events.dataset) -}}
{{- fail "retention.interactionDays: set events.dataset, the dataset that old interactions are deleted from" -}}
{{- end -}}
{{- if and $v.recall.httpRoute.enabled (not $v.recall.httpRoute.parentRefs) -}}
{{- fail "recall.httpRoute.parentRefs: name a gateway when recall.httpRoute.enabled=true" -}}
{{- end -}}

{{- range $part, $keys := dict "mlflow" (list "uri") "milvus" (list "uri") "redis" (list "existingSecret") -}}
{{- range $keys -}}
{{- $given := index $v $part . -}}
{{- $external := eq (index $v $part).mode "external" -}}
{{- if and $external (not $given) -}}
{{- fail (printf "%s.%s: must be set when %s.mode=external" $part . $part) -}}
{{- end -}}
{{- if and (not $external) $given -}}
{{- fail (printf "%s.%s: is only used when %s.mode=external, but %s.mode=%s" $part . $part $part (index $v $part).mode) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not $v.events.dataset -}}
{{- range $worker := list "sink" "items" -}}
{{- if (index $v.workers $worker).enabled -}}
{{- fail (printf "events.dataset: name the dataset that workers.%s writes into when workers.%s.enabled=true" $worker $worker) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (hasSuffix "DualStack" (include "pagoda.part" (list . "mlflow") | fromYaml).service.ipFamilyPolicy) (eq 1 (int $v.mlflow.workers)) -}}
{{- fail "mlflow.workers=1: a single process of MLflow listens on one address family; use 2 with mlflow.service.ipFamilyPolicy (or common.service.ipFamilyPolicy) of two" -}}
{{- end -}}
{{- if and (ne $v.mlflow.mode "external") $v.mlflow.existingSecret -}}
{{- fail "mlflow.existingSecret: is only used when mlflow.mode=external; the server of this chart reads mlflow.loginSecret" -}}
{{- end -}}
{{- if and $v.tls.tower (not $standard) -}}
{{- fail "tls.tower: is only used when tower.mode=Standard; Knative's queue proxy speaks to a container without TLS (its own is system-internal-tls)" -}}
{{- end -}}
{{- range $part := list "mlflow" "redis" -}}
{{- if and (get $v.tls $part) (eq (index $v $part).mode "external") -}}
{{- fail (printf "tls.%s: is only used when %s.mode=embedded; your own server's address says how it is spoken to" $part $part) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $v.mlflow.mode "external") $v.mlflow.database.existingSecret -}}
{{- fail "mlflow.database.existingSecret: is only used when mlflow.mode=embedded" -}}
{{- end -}}

{{- if and $v.pipelines.namespace (not $v.pipelines.kubeflow.multiUser) -}}
{{- fail "pipelines.namespace: is only used when pipelines.kubeflow.multiUser=true; single-user Kubeflow runs the steps in pipelines.kubeflow.namespace" -}}
{{- end -}}
{{- range $name, $schedule := $v.pipelines.schedules -}}
{{- if $schedule.enabled -}}
{{- $key := printf "pipelines.schedules.%s" $name -}}
{{- if eq (empty $schedule.cron) (eq 0 (int $schedule.everyMinutes)) -}}
{{- fail (printf "%s.cron and %s.everyMinutes: set one of them" $key $key) -}}
{{- end -}}
{{- if not ($.Files.Get (printf "files/pipelines/%s.yaml" $schedule.pipeline)) -}}
{{- fail (printf "%s.pipeline=%s: there is no such pipeline in files/pipelines" $key $schedule.pipeline) -}}
{{- end -}}
{{- if not (get ($schedule.parameters | default dict) "dataset" | default $v.events.dataset) -}}
{{- fail (printf "%s.parameters.dataset: name the dataset when %s.enabled=true, or events.dataset" $key $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What there is not where tower and search run in recall's pods. */}}
{{- define "pagoda.checks.compact" -}}
{{- $v := .Values -}}
{{- $compact := include "pagoda.compact" . -}}
{{- if $compact -}}
{{- if not $v.rollout.enabled -}}
{{- fail "rollout.enabled=false: with tower.runtime=in_process the driver is who sees that each recall pod holds a generation before it serves; enable it" -}}
{{- end -}}
{{- $unused := dict "tower.mode" (ne $v.tower.mode "Standard") "tower.url" $v.tower.url "tls.tower" $v.tls.tower "tower.autoscaling.enabled" $v.tower.autoscaling.enabled "tower.podDisruptionBudget.enabled" $v.tower.podDisruptionBudget.enabled "networkPolicy.towerCallers" $v.networkPolicy.towerCallers -}}
{{- range $key, $set := $unused -}}
{{- if $set -}}
{{- fail (printf "%s: there is no server of the tower when tower.runtime=in_process; recall's pods are scaled, asked and protected as recall.* says" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Where search runs, and what there is not there. */}}
{{- define "pagoda.checks.index" -}}
{{- $v := .Values -}}
{{- $compact := include "pagoda.compact" . -}}
{{- $backend := include "pagoda.index.backend" . -}}
{{- if ne (empty $compact) (ne $backend "in_process") -}}
{{- fail (printf "index.backend=%s: search runs where the tower does, in recall's pods with tower.runtime=in_process; without, it is milvus or elasticsearch" $backend) -}}
{{- end -}}
{{- $secret := $v.elasticsearch.existingSecret -}}
{{- if and (eq $backend "elasticsearch") (not $secret) -}}
{{- fail "elasticsearch.existingSecret: name the secret with the url when index.backend=elasticsearch" -}}
{{- end -}}
{{- if and (ne $backend "elasticsearch") $secret -}}
{{- fail (printf "elasticsearch.existingSecret: is only used when index.backend=elasticsearch, but it is %s" $backend) -}}
{{- end -}}
{{- if eq $backend "milvus" -}}
{{- include "pagoda.checks.milvus" . -}}
{{- else -}}
{{- $chosen := empty $compact | ternary "index.backend=elasticsearch" "tower.runtime=in_process" -}}
{{- range $key, $set := dict "milvus.mode" (ne $v.milvus.mode "standalone") "milvus.existingSecret" $v.milvus.existingSecret "milvus.imports" $v.milvus.imports -}}
{{- if $set -}}
{{- fail (printf "%s: there is no Milvus when %s" $key $chosen) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "pagoda.checks.milvus" -}}
{{- $v := .Values -}}
{{- if and $v.milvus.imports (ne $v.milvus.mode "external") (not $v.milvus.storage.endpoint) -}}
{{- fail "milvus.imports: the MinIO that the Milvus operator runs has keys of its own, which the pipelines do not have; set milvus.storage.endpoint (and milvus.storage.existingSecret) to the object storage of objectStorage.endpoint" -}}
{{- end -}}
{{- if and $v.milvus.imports (ne $v.milvus.mode "external") -}}
{{- $bucket := dig "minio" "bucketName" "" $v.milvus.config -}}
{{- if ne $bucket (urlParse $v.milvus.imports).host -}}
{{- fail (printf "milvus.imports=%s: Milvus reads its own bucket alone, and milvus.config.minio.bucketName is %q" $v.milvus.imports $bucket) -}}
{{- end -}}
{{- end -}}
{{- if and (ne $v.milvus.mode "external") (not $v.milvus.existingSecret) (dig "common" "security" "authorizationEnabled" false $v.milvus.config) -}}
{{- fail "milvus.existingSecret: name the secret with the token when milvus.config.common.security.authorizationEnabled=true" -}}
{{- end -}}
{{- end -}}

{{/*
What Knative refuses in the tower's pods unless a feature flag of its own is on (knative/serving main of 2026-08-21:
fieldmask.go VolumeSourceMask and PodSpecMask, defaults in config/features.go), said here rather than by its webhook to
KServe's controller, where nobody sees it.
*/}}
{{- define "pagoda.checks.knative" -}}
{{- $knative := .Values.tower.knative -}}
{{- $tower := include "pagoda.part" (list . "tower") | fromYaml -}}
{{- $flags := dict "schedulingFeatures" (list "nodeSelector" "tolerations" "affinity" "priorityClassName") "podFeatures" (list "hostAliases" "dnsPolicy" "dnsConfig" "podSecurityContext") -}}
{{- range $flag, $keys := $flags -}}
{{- range $key := $keys -}}
{{- if and (get $tower $key) (not (get $knative $flag)) -}}
{{- fail (printf "tower.%s (or common.%s): Knative refuses it unless its feature flag is on; turn that on and set tower.knative.%s=true" $key $key $flag) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not $knative.podFeatures -}}
{{- range $volume := $tower.extraVolumes -}}
{{- range $kind, $_ := omit $volume "name" "configMap" "secret" "projected" "emptyDir" -}}
{{- fail (printf "tower.extraVolumes (or common.extraVolumes): Knative refuses the %s volume %s unless its feature flag is on; turn that on and set tower.knative.podFeatures=true" $kind $volume.name) -}}
{{- end -}}
{{- end -}}
{{- range concat $tower.extraEnv (include "pagoda.part" (list . "follower") | fromYaml).extraEnv -}}
{{- if or (dig "valueFrom" "fieldRef" "" .) (dig "valueFrom" "resourceFieldRef" "" .) -}}
{{- fail (printf "tower.extraEnv (or common.extraEnv): Knative refuses %s, a reference to a field, unless its feature flag is on; turn that on and set tower.knative.podFeatures=true" .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
