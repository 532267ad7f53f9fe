{{/* One step of the job: (dict "root" $ "name" "upload" "args" (list …)). */}}
{{- define "pagoda.pipelines.step" -}}
- name: {{ .name }}
  image: {{ include "pagoda.image" (list .root "components") }}
  {{- include "pagoda.container" (list .root "pipelines-setup") | nindent 2 }}
  args:
    - pipelines
    {{- toYaml .args | nindent 4 }}
    - --host={{ .root.Values.pipelines.kubeflow.host }}
    - --namespace={{ include "pagoda.pipelines.namespace" .root }}
  env:
    - name: HOME
      value: /tmp
    - name: PAGODA_HOME
      value: /tmp/pagoda
    - name: KF_PIPELINES_SA_TOKEN_PATH
      value: /var/run/secrets/kubeflow/pipelines/token
    {{- include "pagoda.extraEnv" (list .root "pipelines-setup") | nindent 4 }}
  volumeMounts:
    - name: tmp
      mountPath: /tmp
    - name: kubeflow-token
      mountPath: /var/run/secrets/kubeflow/pipelines
      readOnly: true
    {{- include "pagoda.extraVolumeMounts" (list .root "pipelines-setup") | nindent 4 }}
{{- end -}}

{{/* What the job does, as the pod's containers: uploading first, then the schedules. */}}
{{- define "pagoda.pipelines.containers" -}}
{{- $upload := eq .Values.pipelines.publish "job" -}}
{{- $steps := list -}}
{{- /* What a version is known by: a schedule runs this release's, also after a rollback, when it is not the newest. */ -}}
{{- $names := list (printf "--image=%s" (include "pagoda.image" (list . "components"))) -}}
{{- $names = append $names (printf "--settings=%s" (include "pagoda.pipelines.nameThere" (list . "pipelines"))) -}}
{{- with include "pagoda.pipelines.storageSecret" . -}}
{{- $names = append $names (printf "--storage-secret=%s" .) -}}
{{- end -}}
{{- with .Values.milvus.existingSecret -}}
{{- $names = append $names (printf "--milvus-secret=%s" .) -}}
{{- end -}}
{{- with .Values.elasticsearch.existingSecret -}}
{{- $names = append $names (printf "--elasticsearch-secret=%s" .) -}}
{{- end -}}
{{- with .Values.registry.signingSecret -}}
{{- $names = append $names (printf "--signing-secret=%s" .) -}}
{{- end -}}
{{- with include "pagoda.mlflow.secret" . -}}
{{- $names = append $names (printf "--mlflow-secret=%s" .) -}}
{{- end -}}
{{- with .Values.pipelines.queue -}}
{{- $names = append $names (printf "--queue=%s" .) -}}
{{- end -}}
{{- $compiled := eq .Values.pipelines.publish "resources" | ternary (include "pagoda.pipelines.compiled" . | fromYaml) dict -}}
{{- range $name, $schedule := .Values.pipelines.schedules -}}
{{- if $schedule.enabled -}}
{{- $args := list "schedule" $schedule.pipeline (printf "--name=%s" ($name | kebabcase)) -}}
{{- if $schedule.cron -}}
{{- $args = append $args (printf "--cron=%s" $schedule.cron) -}}
{{- else -}}
{{- $args = append $args (printf "--every-minutes=%d" (int $schedule.everyMinutes)) -}}
{{- end -}}
{{- with $.Values.pipelines.serviceAccount -}}
{{- $args = append $args (printf "--service-account=%s" .) -}}
{{- end -}}
{{- $parameters := merge (dict) ($schedule.parameters | default dict) -}}
{{- if and $.Values.events.dataset (not (hasKey $parameters "dataset")) -}}
{{- $_ := set $parameters "dataset" $.Values.events.dataset -}}
{{- end -}}
{{- range $key, $value := $parameters -}}
{{- /* A text as it is, and all else as JSON, which is how the command reads it. */ -}}
{{- $text := kindIs "string" $value | ternary $value (toJson $value) -}}
{{- $args = append $args (printf "--parameter=%s=%s" $key $text) -}}
{{- end -}}
{{- if $upload -}}
{{- $args = concat $args $names -}}
{{- end -}}
{{- with get $compiled $schedule.pipeline -}}
{{- $args = append $args (printf "--version=%s-%s" $schedule.pipeline .version) -}}
{{- end -}}
{{- $steps = append $steps (dict "root" $ "name" (printf "schedule-%s" ($name | kebabcase)) "args" $args) -}}
{{- end -}}
{{- end -}}
{{- if $upload -}}
{{- $steps = prepend $steps (dict "root" . "name" "upload" "args" (concat (list "upload") $names)) -}}
{{- end -}}
{{- if $steps }}
{{- if gt (len $steps) 1 }}
initContainers:
  {{- range initial $steps }}
  {{- include "pagoda.pipelines.step" . | nindent 2 }}
  {{- end }}
{{- end }}
containers:
  {{- include "pagoda.pipelines.step" (last $steps) | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The job's pods. */}}
{{- define "pagoda.pipelines.jobTemplate" -}}
{{- $setup := list . "pipelines-setup" -}}
metadata:
  labels:
    {{- include "pagoda.podLabels" $setup | nindent 4 }}
  {{- with include "pagoda.podAnnotations" $setup }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
spec:
  restartPolicy: OnFailure
  {{- include "pagoda.pod" $setup | nindent 2 }}
  {{- include "pagoda.pipelines.containers" . | nindent 2 }}
  volumes:
    - name: tmp
      emptyDir:
        sizeLimit: 256Mi
    # Who asks, for Kubeflow's API alone.
    - name: kubeflow-token
      projected:
        sources:
          - serviceAccountToken:
              audience: pipelines.kubeflow.org
              expirationSeconds: 3600
              path: token
    {{- include "pagoda.extraVolumes" $setup | nindent 4 }}
{{- end -}}
