{{/* The compiled pipelines with this release's image and settings: name → {pipelineSpec, platformSpec, version}. */}}
{{- define "pagoda.pipelines.compiled" -}}
{{- $root := . -}}
{{- $settings := include "pagoda.pipelines.nameThere" (list . "pipelines") -}}
{{- $storage := include "pagoda.pipelines.storageSecret" . -}}
{{- range $path, $_ := .Files.Glob "files/pipelines/*.yaml" }}
{{- $text := $root.Files.Get $path -}}
{{- $text = regexReplaceAll "ghcr.io/pagoda/components:[0-9A-Za-z.-]+" $text (include "pagoda.image" (list $root "components")) -}}
{{- $text = $text | replace ": pagoda-pipelines\n" (printf ": %s\n" $settings) | replace "pagoda-object-storage" ($storage | default "pagoda-object-storage") -}}
{{- $text = $text | replace "pagoda-milvus-token" ($root.Values.milvus.existingSecret | default "pagoda-milvus-token") -}}
{{- $text = $text | replace "pagoda-elasticsearch" ($root.Values.elasticsearch.existingSecret | default "pagoda-elasticsearch") -}}
{{- $text = $text | replace "pagoda-signing-key" ($root.Values.registry.signingSecret | default "pagoda-signing-key") -}}
{{- $text = $text | replace "pagoda-mlflow-login" (include "pagoda.mlflow.secret" $root | default "pagoda-mlflow-login") -}}
{{- $documents := splitList "\n---\n" $text }}
{{- $queue := $root.Values.pipelines.queue }}
{{ base $path | trimSuffix ".yaml" }}:
  version: {{ printf "%s%s" $text $queue | sha256sum | trunc 12 }}
  pipelineSpec:
    {{- first $documents | fromYaml | toYaml | nindent 4 }}
  {{- if gt (len $documents) 1 }}
  {{- $platform := index $documents 1 | fromYaml }}
  {{- /* Kueue's label, on the pods of training alone; an empty one would be refused. */}}
  {{- with and $queue (dig "platforms" "kubernetes" "deploymentSpec" "executors" "exec-train" dict $platform) }}
  {{- $_ := set .podMetadata.labels "kueue.x-k8s.io/queue-name" $queue }}
  {{- end }}
  platformSpec:
    {{- toYaml $platform | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The secret of the steps' keys. One that the chart makes has a name of its own in another namespace. */}}
{{- define "pagoda.pipelines.storageSecret" -}}
{{- $name := include "pagoda.objectStorage.secretName" . -}}
{{- if and .Values.objectStorage.credentials.accessKeyId (ne (include "pagoda.pipelines.namespace" .) .Release.Namespace) -}}
{{- $name = include "pagoda.pipelines.nameThere" (list . "object-storage") -}}
{{- end -}}
{{- $name -}}
{{- end -}}
