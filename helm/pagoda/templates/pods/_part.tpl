{{/*
The values of one part, over what `common` says of all: (list $ "recall"). Maps are put together, lists are joined, of
anything else the part's own stands. What has no values of its own has those of `common`.
*/}}
{{- define "pagoda.part" -}}
{{- $v := (index . 0).Values -}}
{{- $own := dict "recall" $v.recall "tower" $v.tower "follower" $v.tower.follower "rollout" $v.rollout "mlflow" $v.mlflow "redis" $v.redis "milvus" $v.milvus "workers" (pick $v.workers "serviceAccount") "sink" $v.workers.sink "items" $v.workers.items "retention" $v.retention "pipelines-setup" $v.pipelines.job "test" $v.tests -}}
{{- $part := deepCopy $v.common -}}
{{- with $v.caBundle.configMap -}}
{{- $_ := set $part "extraEnv" (concat (include "pagoda.caBundle.env" $ | fromYamlArray) $part.extraEnv) -}}
{{- $volume := dict "name" "ca-bundle" "configMap" (dict "name" .) -}}
{{- $_ := set $part "extraVolumes" (prepend $part.extraVolumes $volume) -}}
{{- $mount := dict "name" "ca-bundle" "mountPath" (include "pagoda.caBundle.folder" $) "readOnly" true -}}
{{- $_ := set $part "extraVolumeMounts" (prepend $part.extraVolumeMounts $mount) -}}
{{- end -}}
{{- range $key, $value := get $own (index . 1) | default dict -}}
{{- $common := get $part $key -}}
{{- if and (kindIs "map" $value) (kindIs "map" $common) -}}
{{- range $inner, $wanted := $value -}}
{{- $_ := set $common $inner $wanted -}}
{{- end -}}
{{- else if and (kindIs "slice" $value) (kindIs "slice" $common) -}}
{{- $_ := set $part $key (concat $common $value) -}}
{{- else -}}
{{- $_ := set $part $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $part -}}
{{- end -}}

{{- define "pagoda.caBundle.folder" -}}
/etc/pagoda/ca
{{- end -}}

{{- define "pagoda.caBundle.file" -}}
{{- printf "%s/%s" (include "pagoda.caBundle.folder" .) (index . 0).Values.caBundle.key -}}
{{- end -}}

{{/* Where each of our clients looks: Python's own ssl (httpx, Redis, Kafka), requests (MLflow, traces), boto, gRPC (Milvus). */}}
{{- define "pagoda.caBundle.env" -}}
{{- $file := include "pagoda.caBundle.file" . -}}
{{- range list "SSL_CERT_FILE" "REQUESTS_CA_BUNDLE" "AWS_CA_BUNDLE" "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH" }}
- name: {{ . }}
  value: {{ $file }}
{{- end }}
{{- end -}}
