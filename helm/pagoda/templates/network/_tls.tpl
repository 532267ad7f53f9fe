{{/* TLS of a part that shows a certificate: (list $ "recall"). Each gives nothing, or what it is without, where none is named. */}}
{{- define "pagoda.tls" -}}
{{- get (index . 0).Values.tls (index . 1) | default "" -}}
{{- end -}}

{{- define "pagoda.scheme" -}}
{{- empty (include "pagoda.tls" .) | ternary "http" "https" -}}
{{- end -}}

{{- define "pagoda.certificate.folder" -}}
/etc/pagoda/certificate
{{- end -}}

{{- define "pagoda.certificate.volume" -}}
{{- with include "pagoda.tls" . -}}
- name: certificate
  secret:
    secretName: {{ . }}
{{- end -}}
{{- end -}}

{{- define "pagoda.certificate.mount" -}}
{{- if include "pagoda.tls" . -}}
- name: certificate
  mountPath: {{ include "pagoda.certificate.folder" . }}
  readOnly: true
{{- end -}}
{{- end -}}
