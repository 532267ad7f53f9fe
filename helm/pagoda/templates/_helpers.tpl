{{/* Names ------------------------------------------------------------------------------------------------ */}}

{{- define "pagoda.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 38 | trimSuffix "-" -}}
{{- end -}}

{{/* Cut to 38 characters: -pipelines-setup-<8> and KServe's latest-…-tower-predictor follow, and a label ends at 63. */}}
{{- define "pagoda.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 38 | trimSuffix "-" -}}
{{- else if contains (include "pagoda.name" .) .Release.Name -}}
{{- .Release.Name | trunc 38 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "pagoda.name" .) | trunc 38 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The name of one component: (list $ "recall"). */}}
{{- define "pagoda.componentName" -}}
{{- printf "%s-%s" (include "pagoda.fullname" (index . 0)) (index . 1) -}}
{{- end -}}

{{/*
The name of what lies in this namespace: (list $ "pipelines" NAMESPACE). In another than the release's it begins with the
release's, since a release of the same name may put something there, too. A dot is in no namespace, and these names are
never a label or a host, so there is no end at 63.
*/}}
{{- define "pagoda.nameIn" -}}
{{- $own := (index . 0).Release.Namespace -}}
{{- eq (index . 2) $own | ternary "" (printf "%s." $own) }}{{ include "pagoda.componentName" . -}}
{{- end -}}

{{- define "pagoda.host" -}}
{{- printf "%s.%s.svc.%s" (include "pagoda.componentName" .) (index . 0).Release.Namespace (index . 0).Values.clusterDomain -}}
{{- end -}}

{{- define "pagoda.objectStorage.secretName" -}}
{{- $s := .Values.objectStorage -}}
{{- if $s.credentials.accessKeyId -}}
{{- include "pagoda.componentName" (list . "object-storage") -}}
{{- else -}}
{{- $s.existingSecret -}}
{{- end -}}
{{- end -}}

{{- define "pagoda.milvus.namespace" -}}
{{- .Values.milvus.namespace | default .Release.Namespace -}}
{{- end -}}

{{/* Whether tower and search run in recall's pods: "true", or nothing. */}}
{{- define "pagoda.compact" -}}
{{- if eq .Values.tower.runtime "in_process" -}}true{{- end -}}
{{- end -}}

{{/* What keeps the collections: `index.backend`, else what goes with the tower. */}}
{{- define "pagoda.index.backend" -}}
{{- .Values.index.backend | default (empty (include "pagoda.compact" .) | ternary "milvus" "in_process") -}}
{{- end -}}

{{/* Whether the chart makes a Milvus: "true", or nothing. */}}
{{- define "pagoda.milvus.made" -}}
{{- if and (eq (include "pagoda.index.backend" .) "milvus") (ne .Values.milvus.mode "external") -}}true{{- end -}}
{{- end -}}

{{/* The operator calls the service of a Milvus resource NAME-milvus. */}}
{{- define "pagoda.milvus.uri" -}}
{{- if eq .Values.milvus.mode "external" -}}
{{- .Values.milvus.uri -}}
{{- else -}}
{{- printf "http://%s-milvus.%s.svc.%s:19530" (include "pagoda.fullname" .) (include "pagoda.milvus.namespace" .) .Values.clusterDomain -}}
{{- end -}}
{{- end -}}

{{/* Recall's port, of its service. */}}
{{- define "pagoda.recall.port" -}}
{{- empty (include "pagoda.tls" (list . "recall")) | ternary 80 443 -}}
{{- end -}}

{{/* The secret with the name and the password that MLflow asks for. */}}
{{- define "pagoda.mlflow.secret" -}}
{{- eq .Values.mlflow.mode "external" | ternary .Values.mlflow.existingSecret .Values.mlflow.loginSecret -}}
{{- end -}}

{{- define "pagoda.redis.place" -}}
{{- printf "%s:6379/0" (include "pagoda.host" (list . "redis")) -}}
{{- end -}}

{{- define "pagoda.redis.scheme" -}}
{{- empty (include "pagoda.tls" (list . "redis")) | ternary "redis" "rediss" -}}
{{- end -}}

{{- define "pagoda.mlflow.uri" -}}
{{- if eq .Values.mlflow.mode "external" -}}
{{- .Values.mlflow.uri -}}
{{- else -}}
{{- printf "%s://%s:5000" (include "pagoda.scheme" (list . "mlflow")) (include "pagoda.host" (list . "mlflow")) -}}
{{- end -}}
{{- end -}}

{{/* In Standard mode each full version has a predictor, and so a service, of its own; Knative's are one behind tags. */}}
{{- define "pagoda.tower.url" -}}
{{- $name := include "pagoda.componentName" (list . "tower") -}}
{{- $service := eq .Values.tower.mode "Standard" | ternary (printf "%s-v{full_version}" $name) (printf "{revision}-%s" $name) -}}
{{- $base := printf "%s://%s-predictor.%s.svc.%s" (include "pagoda.scheme" (list . "tower")) $service .Release.Namespace .Values.clusterDomain -}}
{{- /* KServe's service has port 80 alone. */}}
{{- .Values.tower.url | default (empty .Values.tls.tower | ternary $base (printf "%s:80" $base)) -}}
{{- end -}}

{{/* Labels ----------------------------------------------------------------------------------------------- */}}

{{/* What selects a component's pods; never changes. (list $ "recall") */}}
{{- define "pagoda.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pagoda.name" (index . 0) }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Pagoda's own labels of a part, without chart or app version, so that an upgrade restarts only what it changes. */}}
{{- define "pagoda.partLabels" -}}
{{ include "pagoda.selectorLabels" . }}
app.kubernetes.io/part-of: pagoda
{{- end -}}

{{/* Labels of pods. */}}
{{- define "pagoda.podLabels" -}}
{{ include "pagoda.partLabels" . }}
{{- include "pagoda.more" (list (include "pagoda.part" . | fromYaml).podLabels (include "pagoda.partLabels" . | fromYaml)) }}
{{- end -}}

{{/* Labels of resources, with those that a resource brings: (list $ "recall"), (list $ "recall" .Values.monitoring.labels). */}}
{{- define "pagoda.labels" -}}
{{- $added := merge (dict) (rest (rest .) | first | default dict) (include "pagoda.part" . | fromYaml).labels -}}
{{ include "pagoda.ownLabels" . }}
{{- include "pagoda.more" (list $added (include "pagoda.ownLabels" . | fromYaml)) }}
{{- end -}}

{{- define "pagoda.ownLabels" -}}
{{ include "pagoda.partLabels" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* What values add to Pagoda's own labels, which select pods and so stand: (list ADDED OWN). */}}
{{- define "pagoda.more" -}}
{{- $added := deepCopy (index . 0) -}}
{{- range $key, $_ := index . 1 -}}
{{- $_ := unset $added $key -}}
{{- end -}}
{{- with $added }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Annotations of resources, with those that a resource brings: (list $ "recall"), (list $ "mlflow" (dict KEY VALUE)). */}}
{{- define "pagoda.annotations" -}}
{{- with merge (dict) (rest (rest .) | first | default dict) (include "pagoda.part" . | fromYaml).annotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* Annotations of pods: (list $ "recall"). */}}
{{- define "pagoda.podAnnotations" -}}
{{- with (include "pagoda.part" . | fromYaml).podAnnotations -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* Settings --------------------------------------------------------------------------------------------- */}}

{{/*
All settings, by the group of pods that read them. They stand in one ConfigMap (pipelines read it too), and each pod
names the keys it reads, so its checksum changes only when one of those does.
*/}}
{{- define "pagoda.settings" -}}
{{- $storage := .Values.objectStorage -}}
{{- $root := trimSuffix "/" $storage.url -}}
registry:
  PAGODA_REGISTRY__URI: {{ include "pagoda.mlflow.uri" . | quote }}
  PAGODA_REGISTRY__MODEL: {{ .Values.registry.model | quote }}
log:
  PAGODA_REGISTRY__LOG: {{ printf "%s/log" $root | quote }}
  PAGODA_REGISTRY__ARTIFACTS: {{ printf "%s/artifacts" $root | quote }}
mlflow:
  MLFLOW_DEFAULT_ARTIFACT_ROOT: {{ printf "%s/mlflow" $root | quote }}
storage:
  AWS_DEFAULT_REGION: {{ $storage.region | quote }}
  {{- with $storage.endpoint }}
  AWS_ENDPOINT_URL: {{ . | quote }}
  MLFLOW_S3_ENDPOINT_URL: {{ . | quote }}
  {{- end }}
collections:
  {{- $backend := include "pagoda.index.backend" . }}
  {{- if ne $backend "milvus" }}
  PAGODA_INDEX__BACKEND: {{ $backend }}
  {{- end }}
  {{- if eq $backend "in_process" }}
  PAGODA_INDEX__STORE: {{ printf "%s/collections" $root | quote }}
  {{- else if eq $backend "elasticsearch" }}
  {{- range $key := list "dialect" "shards" "replicas" }}
  PAGODA_ELASTICSEARCH__{{ upper $key }}: {{ get $.Values.elasticsearch $key | quote }}
  {{- end }}
  {{- else }}
  PAGODA_MILVUS__URI: {{ include "pagoda.milvus.uri" . | quote }}
  {{- end }}
imports:
  {{- with .Values.milvus.imports }}
  PAGODA_MILVUS__IMPORTS: {{ . | quote }}
  {{- end }}
index:
  {{- with .Values.index }}
  PAGODA_INDEX: {{ toJson . | quote }}
  {{- end }}
events:
  {{- with .Values.events.dataset }}
  PAGODA_EVENTS__DATASET: {{ . | quote }}
  {{- end }}
tracing:
  {{- with .Values.tracing.endpoint }}
  PAGODA_TRACING__ENDPOINT: {{ . | quote }}
  PAGODA_TRACING__SHARE: {{ $.Values.tracing.share | quote }}
  {{- end }}
service:
  PAGODA_LOGS: {{ .Values.recall.logs | quote }}
  PAGODA_RECALL__DRAIN_SECONDS: {{ .Values.recall.drainSeconds | quote }}
  PAGODA_RECALL__USERS_AT_ONCE: {{ int64 .Values.recall.usersAtOnce | quote }}
  PAGODA_RECALL__CONNECTIONS: {{ int64 .Values.recall.connections | quote }}
  PAGODA_RECALL__CONNECTIONS_OF_CLIENT: {{ int64 .Values.recall.connectionsOfClient | quote }}
intake:
  PAGODA_EVENTS__STREAM_LENGTH: {{ int64 .Values.events.streamLength | quote }}
  PAGODA_EVENTS__AHEAD_SECONDS: {{ int64 .Values.events.aheadSeconds | quote }}
  PAGODA_EVENTS__LATE_DAYS: {{ int64 .Values.events.lateDays | quote }}
  PAGODA_EVENTS__NEWCOMERS: {{ int64 .Values.events.newcomers | quote }}
  PAGODA_EVENTS__NEWCOMER_DAYS: {{ int64 .Values.events.newcomerDays | quote }}
  PAGODA_EVENTS__MEMORY_SHARE: {{ .Values.events.memoryShare | quote }}
  {{- range $section := list "events" "items" }}
  {{- $prefix := printf "PAGODA_%s__KAFKA__" (upper $section) }}
  {{- with (get $.Values $section).kafka }}
  {{- if .servers }}
  {{ $prefix }}SERVERS: {{ .servers | quote }}
  {{ $prefix }}TOPIC: {{ .topic | quote }}
  {{- with .group }}
  {{ $prefix }}GROUP: {{ . | quote }}
  {{- end }}
  {{ $prefix }}TLS: {{ .tls | quote }}
  {{- if .existingSecret }}
  {{ $prefix }}MECHANISM: {{ .mechanism | quote }}
  {{- end }}
  {{- end }}
  {{- end }}
  {{- end }}
filing:
  PAGODA_EVENTS__FORMAT: {{ .Values.events.format | quote }}
forgetting:
  PAGODA_EVENTS__FORGOTTEN_DAYS: {{ .Values.events.forgottenDays | quote }}
evaluation:
  PAGODA_EVALUATION__REPEATS: {{ .Values.evaluation.repeats | quote }}
  PAGODA_EVALUATION__FIRST_VERSION: {{ .Values.evaluation.firstVersion | quote }}
training:
  {{- if .Values.pipelines.trainJob.enabled }}
  PAGODA_TRAINING__JOBS: {{ .Values.pipelines.trainJob.kind | quote }}
  PAGODA_TRAINING__RUNTIME: {{ .Values.pipelines.trainJob.runtime | quote }}
  {{- with .Values.pipelines.trainJob.claim }}
  PAGODA_TRAINING__CLAIM: {{ . | quote }}
  {{- end }}
  {{- with .Values.pipelines.queue }}
  PAGODA_TRAINING__QUEUE: {{ . | quote }}
  {{- end }}
  {{- end }}
items:
  PAGODA_ITEMS__REMOVAL_SHARE: {{ .Values.items.removalShare | quote }}
  PAGODA_ITEMS__REMOVAL_HOURS: {{ .Values.items.removalHours | quote }}
undo:
  PAGODA_ITEMS__UNDO_DAYS: {{ .Values.items.undoDays | quote }}
rollout:
  {{- if .Values.rollout.enabled }}
  PAGODA_ROLLOUT__BACKEND: {{ empty (include "pagoda.compact" .) | ternary "kserve" "pods" }}
  {{- end }}
policies:
  {{- with .Values.rollout.policies.full }}
  PAGODA_ROLLOUT__FULL_POLICY: {{ toJson . | quote }}
  {{- end }}
  {{- with .Values.rollout.policies.incremental }}
  PAGODA_ROLLOUT__INCREMENTAL_POLICY: {{ toJson . | quote }}
  {{- end }}
redis:
  {{- if eq .Values.redis.mode "embedded" }}
  PAGODA_REDIS__URL: {{ printf "%s://%s" (include "pagoda.redis.scheme" .) (include "pagoda.redis.place" .) | quote }}
  {{- end }}
tower:
  {{- if ne .Values.tower.runtime "torchserve" }}
  PAGODA_TOWER__RUNTIME: {{ .Values.tower.runtime | quote }}
  {{- end }}
  {{- if include "pagoda.compact" . }}
  PAGODA_TOWER__HOSTS: {{ printf "http://%s:9102" (include "pagoda.host" (list . "hosts")) | quote }}
  {{- else }}
  PAGODA_TOWER__URL: {{ include "pagoda.tower.url" . | quote }}
  {{- end }}
recall:
  PAGODA_RECALL__URL: {{ printf "%s://%s" (include "pagoda.scheme" (list . "recall")) (include "pagoda.host" (list . "recall")) | quote }}
{{- end -}}

{{/* The keys that the given groups hold, merged into one map: (list $ "registry" "log"). */}}
{{- define "pagoda.settingsOf" -}}
{{- $all := include "pagoda.settings" (index . 0) | fromYaml -}}
{{- $picked := dict -}}
{{- range rest . -}}
{{- $picked = merge $picked (get $all . | default dict) -}}
{{- end -}}
{{- toYaml $picked -}}
{{- end -}}

{{/* The environment of a container that reads these groups: settings, and the secrets that belong to them. */}}
{{- define "pagoda.env" -}}
{{- $root := index . 0 -}}
{{- $groups := rest . -}}
- name: HOME
  value: /tmp
- name: PAGODA_HOME
  value: {{ has "host" $groups | ternary "/host" "/tmp/pagoda" }}
{{- range $user := list "recall" "sink" "rollout" }}
{{- if and (has (printf "redis:%s" $user) $groups) (eq $root.Values.redis.mode "embedded") }}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $root.Values.redis.usersSecret }}
      key: {{ $user }}
- name: PAGODA_REDIS__URL
  value: {{ include "pagoda.redis.scheme" $root }}://{{ $user }}:$(REDIS_PASSWORD)@{{ include "pagoda.redis.place" $root }}
{{- end }}
{{- end }}
{{- range $key, $value := omit (include "pagoda.settingsOf" . | fromYaml) "PAGODA_REDIS__URL" }}
- name: {{ $key }}
  valueFrom:
    configMapKeyRef:
      name: {{ include "pagoda.componentName" (list $root "settings") }}
      key: {{ $key }}
{{- end }}
{{- if has "storage" $groups }}
{{- with include "pagoda.objectStorage.secretName" $root }}
{{- range list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ . }}
  valueFrom:
    secretKeyRef:
      name: {{ include "pagoda.objectStorage.secretName" $root }}
      key: {{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (has "log" $groups) $root.Values.registry.signingSecret }}
- name: PAGODA_REGISTRY__SIGNING_KEY
  valueFrom:
    secretKeyRef:
      name: {{ $root.Values.registry.signingSecret }}
      key: key
{{- end }}
{{- if and (has "collections" $groups) (eq (include "pagoda.index.backend" $root) "elasticsearch") }}
{{- range $key := list "url" "api_key" }}
- name: PAGODA_ELASTICSEARCH__{{ upper $key }}
  valueFrom:
    secretKeyRef:
      name: {{ $root.Values.elasticsearch.existingSecret }}
      key: {{ $key }}
      {{- /* Without one, a user and a password stand in the URL. */}}
      {{- if eq $key "api_key" }}
      optional: true
      {{- end }}
{{- end }}
{{- end }}
{{- if and (has "collections" $groups) $root.Values.milvus.existingSecret }}
- name: PAGODA_MILVUS__TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ $root.Values.milvus.existingSecret }}
      key: token
{{- end }}
{{- if and (or (has "registry" $groups) (has "mlflow" $groups)) (include "pagoda.mlflow.secret" $root) }}
{{- range list "username" "password" }}
- name: MLFLOW_TRACKING_{{ upper . }}
  valueFrom:
    secretKeyRef:
      name: {{ include "pagoda.mlflow.secret" $root }}
      key: {{ . }}
{{- end }}
{{- end }}
{{- range $section := list "events" "items" }}
{{- $kafka := (get $root.Values $section).kafka }}
{{- if and (has "intake" $groups) $kafka.servers $kafka.existingSecret }}
{{- range list "username" "password" }}
- name: PAGODA_{{ upper $section }}__KAFKA__{{ upper . }}
  valueFrom:
    secretKeyRef:
      name: {{ $kafka.existingSecret }}
      key: {{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (has "redis" $groups) (eq $root.Values.redis.mode "external") }}
- name: PAGODA_REDIS__URL
  valueFrom:
    secretKeyRef:
      name: {{ $root.Values.redis.existingSecret }}
      key: url
{{- end }}
{{- end -}}

{{/* A part's tokens: the volume, for the roles that it shows or, with none named, for all. (list $ "ask") */}}
{{- define "pagoda.tokens" -}}
- name: tokens
  secret:
    secretName: {{ (index . 0).Values.access.tokensSecret }}
    {{- with rest . }}
    items:
      {{- range . }}
      - key: {{ . }}
        path: {{ . }}
      {{- end }}
    {{- end }}
{{- end -}}

{{- define "pagoda.tokensMount" -}}
- name: tokens
  mountPath: /etc/pagoda/tokens
  readOnly: true
{{- end -}}

{{/* The annotation that restarts a pod when a setting it reads changes; the same arguments as pagoda.env. */}}
{{- define "pagoda.settingsChecksum" -}}
{{- $root := index . 0 -}}
{{- $read := include "pagoda.settingsOf" . -}}
{{- if has "storage" (rest .) -}}
{{- $read = printf "%s%s" $read (toYaml $root.Values.objectStorage.credentials) -}}
{{- end -}}
pagoda/settings: {{ $read | sha256sum | trunc 16 | quote }}
{{- end -}}
