{{/* For the etcd that the operator brings, whose chart (etcd 8.12.0) knows a registry of all its images. */}}
{{- define "pagoda.milvus.images" -}}
{{- with .Values.images.mirror }}
imageRegistry: {{ trimSuffix "/" . }}
{{- end }}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
