{{/* Pods of these components as network peers, from any namespace: (list $ "recall" "rollout"). */}}
{{- define "pagoda.peers" -}}
{{- $root := index . 0 -}}
{{- range rest . }}
{{- if eq . "pipelines" }}
- namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ include "pagoda.pipelines.namespace" $root }}
  podSelector:
    matchLabels:
      {{- include "pagoda.pipelines.podLabels" $root | nindent 6 }}
{{- else }}
- namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ $root.Release.Namespace }}
  podSelector:
    matchLabels:
      {{- include "pagoda.selectorLabels" (list $root .) | nindent 6 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Where Kubeflow runs the steps: in its own namespace, or in its user's. */}}
{{- define "pagoda.pipelines.namespace" -}}
{{- if .Values.pipelines.kubeflow.multiUser -}}
{{- .Values.pipelines.namespace | default .Release.Namespace -}}
{{- else -}}
{{- .Values.pipelines.kubeflow.namespace -}}
{{- end -}}
{{- end -}}

{{/* The name of what stands there for the steps: (list $ "pipelines"). */}}
{{- define "pagoda.pipelines.nameThere" -}}
{{- include "pagoda.nameIn" (append . (include "pagoda.pipelines.namespace" (index . 0))) -}}
{{- end -}}

{{/* Compiled into the pipelines (pipelines/platform.py), so they name no release. */}}
{{- define "pagoda.pipelines.podLabels" -}}
app.kubernetes.io/name: pagoda
app.kubernetes.io/component: pipelines
{{- end -}}

{{- define "pagoda.monitoringPeer" -}}
- namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ .Values.networkPolicy.monitoringNamespace }}
{{- end -}}

{{/* The port of a URL, or the scheme's. */}}
{{- define "pagoda.portOf" -}}
{{- $url := urlParse . -}}
{{- if contains ":" $url.host -}}
{{- splitList ":" $url.host | last -}}
{{- else -}}
{{- eq $url.scheme "https" | ternary 443 80 -}}
{{- end -}}
{{- end -}}

{{/* Egress rules to the parts that a component talks to: (list $ "tower" "collections" "storage"). */}}
{{- define "pagoda.egress" -}}
{{- $root := index . 0 -}}
{{- $v := $root.Values -}}
{{- range rest . }}
{{- if eq . "dns" }}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ $v.networkPolicy.dns.namespace }}
      podSelector:
        matchLabels:
          {{- toYaml $v.networkPolicy.dns.podLabels | nindent 10 }}
    {{- with $v.networkPolicy.dns.extraPeers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- else if and (eq . "tower") (include "pagoda.compact" $root) }}
# What recall's pods hold, of which the tower is a part.
- to:
    {{- include "pagoda.peers" (list $root "recall") | nindent 4 }}
  ports:
    - port: 9102
      protocol: TCP
{{- else if eq . "tower" }}
# The user tower, both arms; in Knative mode by way of the gateway and the activator.
- to:
    {{- include "pagoda.peers" (list $root "tower") | nindent 4 }}
    {{- if eq $v.tower.mode "Knative" }}
    {{- range $v.networkPolicy.knativeNamespaces }}
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ . }}
    {{- end }}
    {{- end }}
  ports:
    - port: 8080
      protocol: TCP
    {{- if eq $v.tower.mode "Knative" }}
    - port: 8012
      protocol: TCP
    - port: 8081
      protocol: TCP
    - port: 80
      protocol: TCP
    {{- end }}
{{- else if eq . "recall" }}
- to:
    {{- include "pagoda.peers" (list $root "recall") | nindent 4 }}
  ports:
    - port: 8080
      protocol: TCP
{{- else if eq . "collections" }}
{{- $backend := include "pagoda.index.backend" $root }}
{{- if eq $backend "elasticsearch" }}
- to:
    {{- toYaml $v.networkPolicy.external.elasticsearch | nindent 4 }}
  ports:
    - port: {{ $v.elasticsearch.port }}
      protocol: TCP
{{- else if ne $backend "milvus" }}
{{- else if eq $v.milvus.mode "external" }}
- to:
    {{- toYaml $v.networkPolicy.external.milvus | nindent 4 }}
  ports:
    - port: {{ include "pagoda.portOf" $v.milvus.uri }}
      protocol: TCP
{{- else }}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ include "pagoda.milvus.namespace" $root }}
      podSelector:
        matchLabels:
          app.kubernetes.io/instance: {{ include "pagoda.fullname" $root }}
          app.kubernetes.io/name: milvus
  ports:
    - port: 19530
      protocol: TCP
{{- end }}
{{- else if eq . "redis" }}
{{- if eq $v.redis.mode "external" }}
- to:
    {{- toYaml $v.networkPolicy.external.redis | nindent 4 }}
  ports:
    - port: {{ $v.redis.port }}
      protocol: TCP
{{- else }}
- to:
    {{- include "pagoda.peers" (list $root "redis") | nindent 4 }}
  ports:
    - port: 6379
      protocol: TCP
{{- end }}
{{- else if eq . "registry" }}
{{- if eq $v.mlflow.mode "external" }}
- to:
    {{- toYaml $v.networkPolicy.external.mlflow | nindent 4 }}
  ports:
    - port: {{ include "pagoda.portOf" $v.mlflow.uri }}
      protocol: TCP
{{- else }}
- to:
    {{- include "pagoda.peers" (list $root "mlflow") | nindent 4 }}
  ports:
    - port: 5000
      protocol: TCP
{{- end }}
{{- else if eq . "storage" }}
# Object storage: the address is the cloud's or another namespace's, so the port narrows it unless values do.
- to:
    {{- toYaml $v.networkPolicy.external.objectStorage | nindent 4 }}
  ports:
    - port: {{ include "pagoda.portOf" ($v.objectStorage.endpoint | default "https://s3") }}
      protocol: TCP
    {{- range $v.networkPolicy.external.objectStoragePorts }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
{{- else if eq . "kafka" }}
{{- with compact (list $v.events.kafka.servers $v.items.kafka.servers) | join "," }}
- to:
    {{- toYaml $v.networkPolicy.external.kafka | nindent 4 }}
  ports:
    {{- $ports := list }}
    {{- range splitList "," . }}
    {{- $ports = append $ports (splitList ":" . | last) }}
    {{- end }}
    {{- range uniq $ports }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
{{- end }}
{{- else if eq . "tracing" }}
{{- with $v.tracing.endpoint }}
- to:
    {{- toYaml $v.networkPolicy.external.tracing | nindent 4 }}
  ports:
    - port: {{ include "pagoda.portOf" . }}
      protocol: TCP
{{- end }}
{{- else if eq . "apiserver" }}
- to:
    {{- toYaml $v.networkPolicy.external.apiServer | nindent 4 }}
  ports:
    - port: 443
      protocol: TCP
    - port: 6443
      protocol: TCP
{{- else if eq . "kubeflow" }}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ $v.pipelines.kubeflow.namespace }}
  ports:
    - port: 8888
      protocol: TCP
{{- else if eq . "database" }}
- to:
    {{- toYaml $v.networkPolicy.external.database | nindent 4 }}
  ports:
    - port: {{ $v.mlflow.database.port }}
      protocol: TCP
{{- end }}
{{- end }}
{{- end -}}
