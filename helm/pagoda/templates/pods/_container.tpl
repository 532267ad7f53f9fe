{{/* What every container has besides its image and its work: (list $ "recall"). */}}
{{- define "pagoda.container" -}}
{{- $root := index . 0 -}}
{{- $part := include "pagoda.part" . | fromYaml -}}
imagePullPolicy: {{ $root.Values.images.pullPolicy }}
{{- with $part.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $key := list "startupProbe" "readinessProbe" "livenessProbe" "resources" }}
{{- with get $part $key }}
{{ $key }}:
  {{- if and .httpGet (include "pagoda.tls" $) }}
  {{- /* The kubelet looks at no certificate. */}}
  {{- $_ := set .httpGet "scheme" (.httpGet.scheme | default "HTTPS") }}
  {{- else if and .exec (include "pagoda.tls" $) }}
  {{- $command := .exec.command }}
  {{- if eq (first $command) "valkey-cli" }}
  {{- $_ := set .exec "command" (concat (list "valkey-cli" "--tls" "--insecure") (rest $command)) }}
  {{- end }}
  {{- end }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
securityContext:
  {{- include "pagoda.securityContext" (list $root $part) | nindent 2 }}
{{- end -}}

{{/* On the container rather than the pod: Knative accepts a pod-level context only behind a feature flag. (list $ PART) */}}
{{- define "pagoda.securityContext" -}}
{{- $context := dict -}}
{{- $runAs := (index . 0).Values.runAs -}}
{{- range $key, $value := dict "runAsUser" $runAs.user "runAsGroup" $runAs.group -}}
{{- with $value -}}
{{- $_ := set $context $key . -}}
{{- end -}}
{{- end -}}
{{- range $key, $value := (index . 1).securityContext -}}
{{- $_ := set $context $key $value -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{/* After a container's own variables: (list $ "recall"). */}}
{{- define "pagoda.extraEnv" -}}
{{- with (include "pagoda.part" . | fromYaml).extraEnv -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* After a container's own mounts: (list $ "recall"). */}}
{{- define "pagoda.extraVolumeMounts" -}}
{{- with (include "pagoda.part" . | fromYaml).extraVolumeMounts -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* A worker without a server of its own answers Prometheus, and the kubelet, on this port. */}}
{{- define "pagoda.metricsPort" -}}
ports:
  - name: metrics
    containerPort: 9090
    protocol: TCP
{{- end -}}
