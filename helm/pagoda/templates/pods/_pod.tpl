{{/*
What the pods of every part have: (list $ "recall"). A third argument is the part's own pod security context; `fsGroup`,
for a part that writes a volume.
*/}}
{{- define "pagoda.pod" -}}
{{- $root := index . 0 -}}
{{- $part := include "pagoda.part" . | fromYaml -}}
{{- if ne (index . 1) "test" -}}
serviceAccountName: {{ include "pagoda.serviceAccountName" . }}
{{ end -}}
automountServiceAccountToken: {{ eq (index . 1) "rollout" }}
{{- include "pagoda.pullSecrets" $root }}
{{- range $key := list "hostAliases" "dnsPolicy" "dnsConfig" }}
{{- with get $part $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- $context := dict }}
{{- range $key, $value := rest (rest .) | first | default dict }}
{{- with $value }}
{{- $_ := set $context $key . }}
{{- end }}
{{- end }}
{{- with merge (deepCopy $part.podSecurityContext) $context }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- include "pagoda.scheduling" . }}
{{- end -}}

{{/* Where a part's pods run: (list $ "recall"). */}}
{{- define "pagoda.scheduling" -}}
{{- $part := include "pagoda.part" . | fromYaml -}}
{{- $tower := (index . 0).Values.tower -}}
{{- $refused := and (eq (index . 1) "tower") (eq $tower.mode "Knative") (not $tower.knative.schedulingFeatures) -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" }}
{{- with get $part $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- if and $part.topologySpread (not $refused) }}
topologySpreadConstraints:
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "pagoda.selectorLabels" $ | nindent 8 }}
{{- end }}
{{- end }}
{{- with $part.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* After a pod's own volumes: (list $ "recall"). */}}
{{- define "pagoda.extraVolumes" -}}
{{- with (include "pagoda.part" . | fromYaml).extraVolumes -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}
