{{/* Prefix of all names. Short enough for suffixes: a StatefulSet's name can have 52 characters. */}}
{{- define "storage-probe-demo.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* Takes a list of context and component. */}}
{{- define "storage-probe-demo.selectorLabels" -}}
{{- $context := index . 0 -}}
app.kubernetes.io/name: {{ $context.Chart.Name }}
app.kubernetes.io/instance: {{ $context.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Takes a list of context and component. Omits the chart's version, because a new one would replace unchanged Pods. */}}
{{- define "storage-probe-demo.podLabels" -}}
{{- $own := include "storage-probe-demo.selectorLabels" . | fromYaml -}}
{{- toYaml (merge $own (index . 0).Values.commonLabels) -}}
{{- end }}

{{/* Takes a list of context and component. */}}
{{- define "storage-probe-demo.labels" -}}
{{- $context := index . 0 -}}
{{- $own := dict
  "app.kubernetes.io/managed-by" $context.Release.Service
  "helm.sh/chart" (printf "%s-%s" $context.Chart.Name $context.Chart.Version) -}}
{{- toYaml (merge $own (include "storage-probe-demo.podLabels" . | fromYaml)) -}}
{{- end }}

{{/* Takes an `image` from the values. */}}
{{- define "storage-probe-demo.image" -}}
{{- with .registry }}{{ . }}/{{ end }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}

{{/* The part of the Pod spec that all Pods share. Takes a list of context and user ID. */}}
{{- define "storage-probe-demo.podSpec" -}}
{{- $context := index . 0 -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $context.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ index . 1 }}
  runAsGroup: {{ index . 1 }}
  fsGroup: {{ index . 1 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "storage-probe-demo.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* Takes a list of context, component and a dict of ports by name. */}}
{{- define "storage-probe-demo.service" -}}
{{- $context := index . 0 -}}
{{- $component := index . 1 -}}
{{- $service := (index $context.Values $component).service -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "storage-probe-demo.fullname" $context }}-{{ $component }}
  namespace: {{ $context.Release.Namespace | quote }}
  labels:
    {{- include "storage-probe-demo.labels" (list $context $component) | nindent 4 }}
spec:
  type: {{ $service.type }}
  selector:
    {{- include "storage-probe-demo.selectorLabels" (list $context $component) | nindent 4 }}
  ports:
    {{- range $name, $port := index . 2 }}
    - name: {{ $name }}
      port: {{ $port }}
      targetPort: {{ $name }}
      {{- with index ($service.nodePorts | default dict) $name }}
      {{- if ne $service.type "ClusterIP" }}
      nodePort: {{ . }}
      {{- end }}
      {{- end }}
    {{- end }}
{{- end }}
