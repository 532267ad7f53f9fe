{{/* Who may read a worker's metrics. */}}
{{- define "pagoda.metricsIngress" -}}
- from:
    {{- include "pagoda.monitoringPeer" . | nindent 4 }}
  ports:
    - port: metrics
      protocol: TCP
{{- end -}}
