{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{- define "falco-py.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of most objects; short enough that a suffix of 13 characters still makes a label's value. */}}
{{- define "falco-py.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "falco-py.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "falco-py.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What tells this release's pods; a DaemonSet's selector never changes. */}}
{{- define "falco-py.selector" -}}
app: falco-py
app.kubernetes.io/name: {{ include "falco-py.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of all objects. They have no `app`: 'kubectl logs -l app=falco-py' means the agents. */}}
{{- define "falco-py.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "falco-py.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: falco-py
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "falco-py.image" -}}
{{- with .Values.image.registry }}{{ . }}/{{ end -}}
{{- .Values.image.repository -}}
{{- if .Values.image.digest -}}
@{{ .Values.image.digest }}
{{- else -}}
:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "falco-py.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "falco-py.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* Of `kubernetes` what has an effect, as YAML: who belongs to pods is asked only where pods are. */}}
{{- define "falco-py.asked" -}}
{{- with .Values.kubernetes -}}
{{- toYaml (dict "pods" .pods "owners" (and .pods .owners) "services" (and .pods .services) "rules" .watchRules "events" (and .watchRules .events)) -}}
{{- end -}}
{{- end -}}

{{/* Not empty when the agent asks the API server. */}}
{{- define "falco-py.asksApi" -}}
{{- if or .Values.kubernetes.pods .Values.kubernetes.watchRules -}}true{{- end -}}
{{- end -}}

{{/* Directories of the node that say what containers are, as a YAML list: those of the runtimes that are named. */}}
{{- define "falco-py.runtimeDirectories" -}}
{{- $places := dict
  "containerd" (list "/run/containerd/io.containerd.runtime.v2.task" "/var/lib/containerd/io.containerd.metadata.v1.bolt")
  "k3s" (list "/run/k3s/containerd/io.containerd.runtime.v2.task" "/var/lib/rancher/k3s/agent/containerd/io.containerd.metadata.v1.bolt")
  "microk8s" (list "/var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task" "/var/snap/microk8s/common/var/lib/containerd/io.containerd.metadata.v1.bolt")
  "cri-o" (list "/var/lib/containers/storage/overlay-containers" "/var/lib/containers/storage/overlay-images")
  "docker" (list "/var/lib/docker/containers" "/var/lib/docker/image")
  "podman" (list "/var/lib/containers/storage/overlay-containers" "/var/lib/containers/storage/overlay-images" "/var/lib/containers/storage/libpod")
-}}
{{- $found := list -}}
{{- range .Values.hostMounts.runtimes -}}
{{- $found = concat $found (get $places . | default (list .)) -}}
{{- end -}}
{{- uniq $found | toYaml -}}
{{- end -}}

{{/* The image's name as alerts have it, which is that of the runtime: one without a registry is Docker Hub's to most. */}}
{{- define "falco-py.imageNames" -}}
{{- $name := .Values.image.repository -}}
{{- if .Values.image.registry -}}
{{- list (printf "%s/%s" .Values.image.registry $name) | toJson -}}
{{- else if not (contains "/" $name) -}}
{{- list $name (printf "docker.io/library/%s" $name) | toJson -}}
{{- else if regexMatch "^(localhost|[^/]*[.:][^/]*)/" $name -}}
{{- list $name | toJson -}}
{{- else -}}
{{- list $name (printf "docker.io/%s" $name) | toJson -}}
{{- end -}}
{{- end -}}

{{/* Headers of the webhook: a YAML list of {header, variable, secret, key}. */}}
{{- define "falco-py.webhookHeaders" -}}
{{- $made := printf "%s-webhook" (include "falco-py.fullname" .) -}}
{{- $own := .Values.webhook.existingSecret -}}
{{- $found := list -}}
{{- range $i, $header := keys .Values.webhook.headers | sortAlpha -}}
{{- $found = append $found (dict "header" $header "variable" (printf "FALCO_WEBHOOK_HEADER_%d" $i) "secret" $made "key" (printf "header-%d" $i)) -}}
{{- end -}}
{{- range $i, $header := keys .Values.webhook.headerKeys | sortAlpha -}}
{{- $found = append $found (dict "header" $header "variable" (printf "FALCO_WEBHOOK_OWN_HEADER_%d" $i) "secret" $own "key" (get $.Values.webhook.headerKeys $header)) -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}

{{/*
The ConfigMap of falco.yaml. Another set of variables makes another one: pods that have not got them yet keep theirs,
where they would have to refuse the new falco.yaml.
*/}}
{{- define "falco-py.configMap" -}}
{{- $variables := list -}}
{{- range .Values.extra.env -}}{{- $variables = append $variables .name -}}{{- end -}}
{{- if .Values.webhook.enabled -}}
{{- $variables = append $variables "FALCO_WEBHOOK_URL" -}}
{{- range include "falco-py.webhookHeaders" . | fromYamlArray -}}{{- $variables = append $variables .variable -}}{{- end -}}
{{- end -}}
{{- include "falco-py.fullname" . -}}
{{- if $variables -}}-{{- $variables | sortAlpha | toJson | sha256sum | trunc 8 -}}{{- end -}}
{{- end -}}

{{/* falco.yaml: the values, with what other values of the chart mean for it. */}}
{{- define "falco-py.config" -}}
{{- $config := deepCopy .Values.falco -}}
{{- if .Values.metrics.enabled -}}
{{- $config = mergeOverwrite (dict "metrics" (dict "output_rule" false)) $config -}}
{{- $config = mergeOverwrite $config (dict "metrics" (dict "enabled" true) "webserver" (dict "enabled" true "prometheus_metrics_enabled" true)) -}}
{{- end -}}
{{- if .Values.webhook.enabled -}}
{{- $headers := dict -}}
{{- range include "falco-py.webhookHeaders" . | fromYamlArray -}}
{{- $_ := set $headers .header (printf "${%s}" .variable) -}}
{{- end -}}
{{- $http := dict "enabled" true "url" "${FALCO_WEBHOOK_URL}" "format" .Values.webhook.format -}}
{{- if $headers -}}{{- $_ := set $http "headers" $headers -}}{{- end -}}
{{- $config = mergeOverwrite $config (dict "http_output" $http) -}}
{{- end -}}
{{- if include "falco-py.asksApi" . -}}
{{- $asked := include "falco-py.asked" . | fromYaml -}}
{{- $kubernetes := dict "enabled" true "pods" $asked.pods "owners" $asked.owners "services" $asked.services "events" $asked.events -}}
{{- if $asked.rules -}}
{{- $_ := set $kubernetes "rules_configmap" (printf "%s/%s" .Release.Namespace .Values.rules.configMap) -}}
{{- $_ := set $kubernetes "rules_directory" (include "falco-py.rulesDirectory" .) -}}
{{- end -}}
{{- $config = mergeOverwrite $config (dict "kubernetes" $kubernetes) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* Where the ConfigMap of the rules is mounted. */}}
{{- define "falco-py.rulesDirectory" -}}
/etc/falco/rules.d
{{- end -}}

{{- define "falco-py.webPort" -}}
{{- dig "webserver" "listen_port" 8765 .Values.falco | int -}}
{{- end -}}

{{- define "falco-py.webEnabled" -}}
{{- if or .Values.metrics.enabled (dig "webserver" "enabled" false .Values.falco) -}}true{{- end -}}
{{- end -}}

{{- define "falco-py.webScheme" -}}
{{- ternary "HTTPS" "HTTP" (dig "webserver" "ssl_enabled" false .Values.falco) -}}
{{- end -}}

{{- define "falco-py.healthPath" -}}
{{- dig "webserver" "k8s_healthz_endpoint" "/healthz" .Values.falco -}}
{{- end -}}

{{- define "falco-py.spoolDirectory" -}}
{{- dig "http_output" "spool" "directory" "/var/lib/falco" .Values.falco -}}
{{- end -}}

{{- define "falco-py.probe" -}}
httpGet:
  path: {{ include "falco-py.healthPath" .root }}
  port: web
  scheme: {{ include "falco-py.webScheme" .root }}
{{ toYaml .probe }}
{{- end -}}

{{/* The field of 1.30; before, an annotation of the pod says it. */}}
{{- define "falco-py.appArmorField" -}}
{{- if and .Values.appArmorProfile (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version) -}}true{{- end -}}
{{- end -}}

{{- define "falco-py.securityContext" -}}
{{- if .Values.containerSecurityContext -}}
{{- toYaml .Values.containerSecurityContext -}}
{{- else -}}
runAsUser: 0
runAsGroup: 0
readOnlyRootFilesystem: true
{{- if include "falco-py.appArmorField" . }}
appArmorProfile:
  type: {{ .Values.appArmorProfile }}
{{- end }}
{{- if .Values.privileged }}
privileged: true
{{- else }}
privileged: false
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
  add: {{ toJson .Values.capabilities }}
seccompProfile:
  type: RuntimeDefault
{{- end }}
{{- end -}}
{{- end -}}

{{/* Mounts below this one are read-only, too, where nodes can do that. */}}
{{- define "falco-py.readOnly" -}}
readOnly: true
{{- if semverCompare ">=1.31.0-0" .Capabilities.KubeVersion.Version }}
recursiveReadOnly: IfPossible
{{- end }}
{{- end -}}

{{/* Says at once what does not go together. */}}
{{- define "falco-py.check" -}}
{{- with .Values.webhook -}}
{{- if and .enabled (not .url) (not .existingSecret) -}}
{{- fail "webhook.enabled: set webhook.url, or webhook.existingSecret to a Secret that has the URL in its key 'url' (webhook.urlKey)" -}}
{{- end -}}
{{- if and .enabled .headerKeys (not .existingSecret) -}}
{{- fail "webhook.headerKeys names keys of a Secret of yours: set webhook.existingSecret to it" -}}
{{- end -}}
{{- end -}}
{{- if not .Values.metrics.enabled -}}
{{- range $key, $on := dict "serviceMonitor.create" .Values.serviceMonitor.create "prometheusRule.create" .Values.prometheusRule.create "grafana.dashboards.enabled" .Values.grafana.dashboards.enabled -}}
{{- if $on -}}{{- fail (printf "%s needs metrics.enabled: without it the agent serves no metrics" $key) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
