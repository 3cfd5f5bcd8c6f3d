{{/* Pieces of network policies. Ports are those of the pods, after any Service. */}}
{{- define "policyHead" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .program }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "labels" . | nindent 4 }}
spec:
  policyTypes: [Ingress, Egress]
  podSelector:
    matchLabels: {{- include "selector" . | nindent 6 }}
{{- end -}}

{{- define "fromNetworks" -}}
- from:
    {{- range .networks }}
    - ipBlock: {cidr: {{ . }}}
    {{- end }}
  ports: [{protocol: TCP, port: {{ .port }}}]
{{- end -}}

{{- define "fromPrograms" -}}
- from:
    {{- range .programs }}
    - podSelector:
        matchLabels: {{- include "selector" (dict "program" .) | nindent 10 }}
    {{- end }}
  ports: [{protocol: TCP, port: {{ .port }}}]
{{- end -}}

{{- define "fromScraper" -}}
{{- with .Values.networkPolicy.scrapeNamespace }}
- from:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ . }}}
  ports: [{protocol: TCP, port: 9090}]
{{- end }}
{{- end -}}

{{- define "toDns" -}}
- to:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ .Values.networkPolicy.dns.namespace }}}
      podSelector:
        matchLabels: {{- toYaml .Values.networkPolicy.dns.podLabels | nindent 10 }}
  ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
{{- end -}}

{{- define "toDatabase" -}}
{{- if .Values.postgres.enabled -}}
- to:
    - podSelector:
        matchLabels: {{- include "selector" (dict "program" "postgres") | nindent 10 }}
  ports: [{protocol: TCP, port: 5432}]
{{- else -}}
{{ include "toNetworks" (dict "networks" (list "0.0.0.0/0") "ports" (list .Values.postgres.external.port)) }}
{{- end -}}
{{- end -}}

{{/* Addresses that are nobody's pods. Never the metadata service of a cloud's machines. */}}
{{- define "toNetworks" -}}
- to:
    {{- range .networks }}
    - ipBlock:
        cidr: {{ . }}
        {{- if eq . "0.0.0.0/0" }}
        except: [169.254.0.0/16]
        {{- end }}
    {{- end }}
  ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ int . }}}
    {{- end }}
{{- end -}}

{{- define "toTenants" -}}
- to:
    - namespaceSelector:
        matchLabels: {fluvio-cloud/tenant: "true"}
      podSelector:
        matchLabels: {fluvio-cloud/role: {{ .role }}}
  ports: [{protocol: TCP, port: {{ .port }}}]
{{- end -}}
