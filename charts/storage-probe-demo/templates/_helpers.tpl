{{/* Begins all names, and leaves room behind it: a StatefulSet's name may have 52 characters. */}}
{{- define "storage-probe-demo.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* Of a list of context and component. */}}
{{- define "storage-probe-demo.selectorLabels" -}}
{{- $context := index . 0 -}}
app.kubernetes.io/name: {{ $context.Chart.Name }}
app.kubernetes.io/instance: {{ $context.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Of a list of context and component. Without the chart's version, so that a Pod is replaced only when it changes. */}}
{{- define "storage-probe-demo.podLabels" -}}
{{- $own := include "storage-probe-demo.selectorLabels" . | fromYaml -}}
{{- toYaml (merge $own (index . 0).Values.commonLabels) -}}
{{- end }}

{{/* Of a list of context and component. */}}
{{- define "storage-probe-demo.labels" -}}
{{- $context := index . 0 -}}
{{- $own := dict
  "app.kubernetes.io/managed-by" $context.Release.Service
  "helm.sh/chart" (printf "%s-%s" $context.Chart.Name $context.Chart.Version) -}}
{{- toYaml (merge $own (include "storage-probe-demo.podLabels" . | fromYaml)) -}}
{{- end }}

{{/* Of an image of the values. */}}
{{- define "storage-probe-demo.image" -}}
{{- with .registry }}{{ . }}/{{ end }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}

{{/* What all Pods have, of a list of context and user id. */}}
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

{{/* Of a list of context, component, and ports by name. */}}
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
