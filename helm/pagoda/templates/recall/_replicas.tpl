{{/*
How many pods recall's Deployment is told to have; nothing where its autoscaler alone says so.
A number that is no longer sent goes back to its default, one pod, until the autoscaler looks again (15 s). So the number
that is there is sent on while it would be lost: under server-side apply as long as it is the chart's (managedFields: the
autoscaler's entry is that of the subresource "scale"), under client-side apply always. In the other direction, too: the
upgrade that removes the autoscaler leaves the pods that it made.
Without a cluster to look at (`helm template`, Argo CD) there is nothing to keep: docs/kubernetes.md says what to do.
*/}}
{{- define "pagoda.recall.replicas" -}}
{{- $name := include "pagoda.componentName" (list . "recall") -}}
{{- $found := lookup "apps/v1" "Deployment" .Release.Namespace $name -}}
{{- if .Values.recall.autoscaling.enabled -}}
{{- if and $found (ne "true" (include "pagoda.recall.scaledByOthers" $found)) -}}
{{- $found.spec.replicas -}}
{{- end -}}
{{- else if and $found (lookup "autoscaling/v2" "HorizontalPodAutoscaler" .Release.Namespace $name) -}}
{{- $found.spec.replicas -}}
{{- else -}}
{{- .Values.recall.replicas -}}
{{- end -}}
{{- end -}}

{{/* Whether a Deployment that is applied on the server's side keeps its number of pods without us. */}}
{{- define "pagoda.recall.scaledByOthers" -}}
{{- $applied := false -}}
{{- $ours := false -}}
{{- $scaled := false -}}
{{- range dig "metadata" "managedFields" list . -}}
{{- $fields := dig "fieldsV1" "f:spec" dict . -}}
{{- $number := hasKey $fields "f:replicas" -}}
{{- if and (eq .operation "Apply") (hasKey $fields "f:template") -}}
{{- $applied = true -}}
{{- $ours = or $ours $number -}}
{{- else if $number -}}
{{- $scaled = true -}}
{{- end -}}
{{- end -}}
{{- and $applied (or $scaled (not $ours)) -}}
{{- end -}}
