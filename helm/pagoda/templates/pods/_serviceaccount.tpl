{{/* Whose account a part's pods run as; the workers share one. (list $ "recall") */}}
{{- define "pagoda.serviceAccountName" -}}
{{- $name := index . 1 -}}
{{- if has $name (list "sink" "items") -}}
{{- $name = "workers" -}}
{{- end -}}
{{- $account := (include "pagoda.part" (list (index . 0) $name) | fromYaml).serviceAccount -}}
{{- $account.name | default (include "pagoda.componentName" (list (index . 0) $name)) -}}
{{- end -}}

{{/* Its ServiceAccount, unless it was made by somebody else: (list $ "recall"). */}}
{{- define "pagoda.serviceAccount" -}}
{{- $account := (include "pagoda.part" . | fromYaml).serviceAccount -}}
{{- if $account.create -}}
{{- $annotations := deepCopy ($account.annotations | default dict) -}}
{{- if not (has (index . 1) (list "redis" "pipelines-setup")) -}}
{{- $annotations = merge $annotations (index . 0).Values.serviceAccounts.annotations -}}
{{- end -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "pagoda.serviceAccountName" . }}
  labels:
    {{- include "pagoda.labels" . | nindent 4 }}
  {{- include "pagoda.annotations" (append . $annotations) | nindent 2 }}
automountServiceAccountToken: false
{{- end -}}
{{- end -}}
