{{/*
Annotations of what lasts longer than a release: no tool that installs Pagoda removes it, neither with the rest nor because
a later version no longer names it. Helm's own; Argo CD reads that as Delete=false alone (docs/user-guide/helm.md of 3.5), so
its own too; Flux's for the kustomize folders. Those hold these resources apart, for kubectl knows no such mark.
*/}}
{{- define "pagoda.lasting" -}}
helm.sh/resource-policy: keep
argocd.argoproj.io/sync-options: Prune=false,Delete=false
argocd.argoproj.io/compare-options: IgnoreExtraneous
kustomize.toolkit.fluxcd.io/prune: disabled
{{- end -}}
