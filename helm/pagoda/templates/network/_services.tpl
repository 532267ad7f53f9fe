{{/* The address families of a service, and the address that its server listens on: values of `service`. */}}
{{- define "pagoda.ipFamilies" -}}
{{- with .ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .ipFamilies }}
ipFamilies:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* `::` takes IPv4 too. */}}
{{- define "pagoda.listen" -}}
{{- or (has "IPv6" .ipFamilies) (hasSuffix "DualStack" .ipFamilyPolicy) | ternary "::" "0.0.0.0" -}}
{{- end -}}
