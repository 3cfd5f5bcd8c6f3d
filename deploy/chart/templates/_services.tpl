{{/* The Service of what is reached from outside: (dict "root" $ "program" "portal" "port" "https") */}}
{{- define "publicService" -}}
{{- $service := (get .root.Values .program).service -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .program }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "labels" . | nindent 4 }}
  {{- with $service.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ $service.type }}
  selector: {{- include "selector" . | nindent 4 }}
  ports:
    - {name: {{ .port }}, port: {{ $service.port }}, targetPort: {{ .port }}}
  {{- with $service.externalIPs }}
  externalIPs: {{ toJson . }}
  {{- end }}
  {{- if eq $service.type "LoadBalancer" }}
  # The load balancer sends to the pods' own nodes by way of the port that the node opens for it.
  externalTrafficPolicy: {{ $service.externalTrafficPolicy }}
  {{- with $service.loadBalancerSourceRanges }}
  loadBalancerSourceRanges: {{ toJson . }}
  {{- end }}
  {{- else if $service.externalIPs }}
  externalTrafficPolicy: {{ $service.externalTrafficPolicy }}
  {{- end }}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .program }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "labels" . | nindent 4 }}
automountServiceAccountToken: false
{{- end -}}

{{/* How many may be away at once, and how many there are. */}}
{{- define "availability" -}}
{{- $values := get .root.Values .program -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .program }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "selector" . | nindent 6 }}
{{- with $values.autoscaling }}
{{- if .enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $.program }}
  namespace: {{ $.root.Release.Namespace }}
  labels: {{- include "labels" $ | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ $.program }}}
  minReplicas: {{ .minReplicas }}
  maxReplicas: {{ .maxReplicas }}
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ .targetCPUPercent }}}}
  behavior:
    # Connections are long: whoever goes takes them with it.
    scaleDown: {stabilizationWindowSeconds: 600, policies: [{type: Pods, value: 1, periodSeconds: 120}]}
{{- end }}
{{- end }}
{{- end -}}
