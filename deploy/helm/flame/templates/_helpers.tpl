{{- define "flame.name" -}}
{{- if contains "flame" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-flame{{ end }}
{{- end }}

{{/* What selects a component's pods: dict "root" . "component" "broker". */}}
{{- define "flame.selector" -}}
app.kubernetes.io/name: flame-{{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "flame.labels" -}}
{{ include "flame.selector" . }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: flame
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "flame.meta" -}}
metadata:
  name: {{ include "flame.name" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "flame.labels" . | nindent 4 }}
{{- end }}

{{- define "flame.image" -}}
{{- with index .root.Values.images .component }}{{ . }}{{ else -}}
{{ with .root.Values.image.registry }}{{ . }}/{{ end }}flame-{{ .component }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* A container that may do nothing but run. */}}
{{- define "flame.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "flame.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* What all pods of ours begin with: dict "root" . "values" .Values.broker. Variables that are named after Services would be
taken for options: FLAME_PORT. */}}
{{- define "flame.pod" -}}
enableServiceLinks: false
securityContext:
  {{- include "flame.podSecurityContext" .root | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with .values.affinity }}
affinity: {{ toJson . }}
{{- end }}
{{- end }}

{{- define "flame.redisSecret" -}}
{{ .Values.redis.existingSecret | default (printf "%s-redis" (include "flame.name" .)) }}
{{- end }}

{{/* The broker's and the autoscaler's way to Redis; in the environment, as it holds a password. */}}
{{- define "flame.redisEnvironment" -}}
{{- if .Values.redis.enabled -}}
- name: REDIS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "flame.redisSecret" . }}, key: password}}
- name: FLAME_REDIS_URL
  value: redis://:$(REDIS_PASSWORD)@{{ include "flame.name" . }}-redis:6379/0
{{- else -}}
- name: FLAME_REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ required "externalRedis.existingSecret is missing: a Secret with the key `url`" .Values.externalRedis.existingSecret }}
      key: url
{{- end }}
{{- end }}

{{/* For NetworkPolicies. */}}
{{- define "flame.peer" -}}
podSelector: {matchLabels: {app.kubernetes.io/name: flame-{{ .component }}, app.kubernetes.io/instance: {{ .root.Release.Name }}}}
{{- end }}
{{- define "flame.dns" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end }}
{{- define "flame.toRedis" -}}
{{- if .Values.redis.enabled -}}
- to:
    - {{ include "flame.peer" (dict "root" . "component" "redis") }}
  ports: [{port: 6379}]
{{- else -}}
- {{ with .Values.externalRedis.peers }}to: {{ toJson . }}
  {{ end }}ports: [{port: {{ .Values.externalRedis.port }}}]
{{- end }}
{{- end }}
