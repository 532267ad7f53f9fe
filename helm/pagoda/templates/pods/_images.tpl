{{/* One of our own images: (list $ "recall"). A digest wins over the tag. */}}
{{- define "pagoda.image" -}}
{{- $images := (index . 0).Values.images -}}
{{- $image := index $images (index . 1) -}}
{{- $name := printf "%s/%s" $images.registry $image.repository -}}
{{- if $image.digest -}}
{{- $name = printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- $name = printf "%s:%s" $name ($images.tag | default (index . 0).Chart.AppVersion) -}}
{{- end -}}
{{- include "pagoda.mirrored" (list (index . 0) $name) -}}
{{- end -}}

{{/* An image where the mirror has it: (list $ "docker.io/valkey/valkey:8"). As container runtimes, a first word with . or : is a registry. */}}
{{- define "pagoda.mirrored" -}}
{{- $mirror := (index . 0).Values.images.mirror -}}
{{- $image := index . 1 -}}
{{- if $mirror -}}
{{- $image = printf "%s/%s" (trimSuffix "/" $mirror) (regexReplaceAll "^(localhost|[^/]*[.:][^/]*)/" $image "") -}}
{{- end -}}
{{- $image -}}
{{- end -}}

{{- define "pagoda.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}
