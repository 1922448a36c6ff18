{{- define "storage-probe.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 47 | trimSuffix "-" }}
{{- end }}

{{- /* At most 47 characters, to leave room for the longest suffix, -leader-election, within 63. */}}
{{- define "storage-probe.fullname" -}}
{{- $name := include "storage-probe.name" . }}
{{- if not .Values.fullnameOverride }}
{{- $name = contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- end }}
{{- .Values.fullnameOverride | default $name | trunc 47 | trimSuffix "-" }}
{{- end }}

{{- define "storage-probe.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "storage-probe.fullname" .) "default") }}
{{- end }}

{{- /* Must not change between versions: a Deployment's selector is immutable. */}}
{{- define "storage-probe.selector" -}}
app.kubernetes.io/name: {{ include "storage-probe.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "storage-probe.testSelector" -}}
app.kubernetes.io/name: {{ include "storage-probe.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: test
{{- end }}

{{- define "storage-probe.versionLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end }}

{{- /* Takes a list of maps. Later maps override earlier ones. */}}
{{- define "storage-probe.merged" -}}
{{- $merged := dict }}
{{- range . }}
{{- range $key, $value := . }}
{{- $_ := set $merged $key $value }}
{{- end }}
{{- end }}
{{- toYaml $merged }}
{{- end }}

{{- define "storage-probe.labels" -}}
{{- include "storage-probe.labelsWith" (list . dict) }}
{{- end }}

{{- /* Takes a list of the root context and the object's own labels. */}}
{{- define "storage-probe.labelsWith" -}}
{{- $root := index . 0 }}
{{- $version := include "storage-probe.versionLabels" $root | fromYaml }}
{{- $selector := include "storage-probe.selector" $root | fromYaml }}
{{- include "storage-probe.merged" (list $root.Values.commonLabels (index . 1) $version $selector) }}
{{- end }}

{{- define "storage-probe.testLabels" -}}
{{- include "storage-probe.merged" (list (include "storage-probe.labels" . | fromYaml) (include "storage-probe.testSelector" . | fromYaml)) }}
{{- end }}

{{- define "storage-probe.image" -}}
{{- $registry := .Values.image.registry | default .Values.global.imageRegistry | default "ghcr.io" }}
{{- $version := .Values.image.digest | empty | ternary (printf ":%s" (.Values.image.tag | default .Chart.AppVersion)) (printf "@%s" .Values.image.digest) }}
{{- printf "%s/%s%s" $registry .Values.image.repository $version }}
{{- end }}

{{- define "storage-probe.imagePullSecrets" -}}
{{- with .Values.imagePullSecrets | default .Values.global.imagePullSecrets -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* key=value,key=value. The kubelet replaces $(NAME), so only the user's pairs are percent-encoded. */}}
{{- define "storage-probe.resourceAttributes" -}}
{{- $container := "operator" }}
{{- $own := dict
  "k8s.container.name" $container
  "k8s.deployment.name" (include "storage-probe.fullname" .)
  "k8s.namespace.name" "$(K8S_NAMESPACE_NAME)"
  "k8s.node.name" "$(K8S_NODE_NAME)"
  "k8s.pod.name" "$(K8S_POD_NAME)"
  "k8s.pod.uid" "$(K8S_POD_UID)"
  "service.instance.id" (printf "$(K8S_NAMESPACE_NAME).$(K8S_POD_NAME).%s" $container)
}}
{{- $pairs := list }}
{{- $given := .Values.otlp.resourceAttributes }}
{{- range $key, $value := $own }}
{{- if not (hasKey $given $key) }}
{{- $pairs = append $pairs (printf "%s=%s" $key $value) }}
{{- end }}
{{- end }}
{{- range $key, $value := $given }}
{{- $pairs = append $pairs (printf "%s=%s" (urlquery $key) (urlquery $value | replace "+" "%20")) }}
{{- end }}
{{- join "," $pairs }}
{{- end }}

{{- /* The `for` and `labels` of an alert. Takes a list of the alert's values and the root context. */}}
{{- define "storage-probe.alertTail" -}}
{{- $alert := index . 0 }}
{{- $root := index . 1 -}}
for: {{ $alert.for }}
labels:
  {{- include "storage-probe.merged" (list $root.Values.prometheusRule.alertLabels (dict "severity" $alert.severity)) | nindent 2 }}
{{- end }}

{{- define "storage-probe.dnsEgress" -}}
# DNS servers in the cluster or on the node.
- ports:
    - { port: 53, protocol: UDP }
    - { port: 53, protocol: TCP }
{{- end }}

{{- define "storage-probe.subjects" -}}
- kind: ServiceAccount
  name: {{ include "storage-probe.serviceAccountName" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end }}

{{- define "storage-probe.probeRules" -}}
- apiGroups: [storageprobe.dev]
  resources: [storageprobes]
  verbs: [list, watch]
- apiGroups: [storageprobe.dev]
  resources: [storageprobes/status]
  verbs: [patch]
# Only by the names that probes reference, without the right to list them.
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
# Only the core API group allows updating the note of a repeated Event.
- apiGroups: [""]
  resources: [events]
  verbs: [patch]
{{- end }}

{{- /* Checks that involve several values, which the schema cannot express. */}}
{{- define "storage-probe.check" -}}
{{- $zero := toDate "2006-01-02" "2000-01-01" }}
{{- $monitor := .Values.serviceMonitor }}
{{- $budget := .Values.podDisruptionBudget }}
{{- $ca := .Values.otlp.ca }}
{{- if not ((mustDateModify .Values.controller.shutdownTimeout $zero).Before (mustDateModify (printf "%ds" (int .Values.terminationGracePeriodSeconds)) $zero)) }}
{{- fail (printf "controller.shutdownTimeout (%s) must be shorter than terminationGracePeriodSeconds (%d)" .Values.controller.shutdownTimeout (int .Values.terminationGracePeriodSeconds)) }}
{{- end }}
{{- range $name, $max := dict "statusHeartbeat" "1h" "shutdownTimeout" "10m" }}
{{- $value := index $.Values.controller $name }}
{{- $time := mustDateModify $value $zero }}
{{- if or ($time.Before (mustDateModify "1s" $zero)) ($time.After (mustDateModify $max $zero)) }}
{{- fail (printf "controller.%s (%s) must be between 1s and %s" $name $value $max) }}
{{- end }}
{{- end }}
{{- if (mustDateModify .Values.controller.drainTimeout $zero).After (mustDateModify .Values.controller.shutdownTimeout $zero) }}
{{- fail (printf "controller.drainTimeout (%s) must not be longer than controller.shutdownTimeout (%s)" .Values.controller.drainTimeout .Values.controller.shutdownTimeout) }}
{{- end }}
{{- if and $monitor.enabled (not .Values.service.enabled) }}
{{- fail "serviceMonitor.enabled requires service.enabled" }}
{{- end }}
{{- if (mustDateModify $monitor.scrapeTimeout $zero).After (mustDateModify $monitor.interval $zero) }}
{{- fail (printf "serviceMonitor.scrapeTimeout (%s) must not be longer than serviceMonitor.interval (%s)" $monitor.scrapeTimeout $monitor.interval) }}
{{- end }}
{{- if and (hasKey $budget "minAvailable") (hasKey $budget "maxUnavailable") }}
{{- fail "podDisruptionBudget: set either minAvailable or maxUnavailable, not both" }}
{{- end }}
{{- $labels := include "storage-probe.selector" . | fromYaml }}
{{- range $part := list "commonLabels" "podLabels" }}
{{- range $key, $_ := index $.Values $part }}
{{- if hasKey $labels $key }}
{{- fail (printf "%s must not contain %s: the pods are selected by this label" $part $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.webIdentity }}
{{- if and .enabled (or (empty .audience) (empty .stsEndpoints)) }}
{{- fail "webIdentity.enabled requires webIdentity.audience and webIdentity.stsEndpoints" }}
{{- end }}
{{- end }}
{{- if and $ca.bundle $ca.secretRef.name }}
{{- fail "otlp.ca: set either bundle or secretRef, not both" }}
{{- end }}
{{- end }}
