{{/* The labels of an object of program $program: (dict "root" $ "program" "portal") */}}
{{- define "labels" -}}
{{ include "selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* What finds a program's pods. It never changes: a Deployment's selector cannot. */}}
{{- define "selector" -}}
app.kubernetes.io/name: {{ .program }}
app.kubernetes.io/part-of: fluvio-cloud
{{- end -}}

{{- define "image" -}}
{{- $digest := get .root.Values.images.digests .program -}}
{{- if $digest -}}
{{ .root.Values.images.registry }}/{{ .program }}@{{ $digest }}
{{- else -}}
{{ .root.Values.images.registry }}/{{ .program }}:{{ coalesce (get .root.Values.images.tags .program) .root.Values.images.tag .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The user that every program runs as, in its image and here. */}}
{{- define "user" -}}65532{{- end -}}

{{- define "urlHost" -}}
{{- (urlParse .).hostname -}}
{{- end -}}

{{/* Where programs find Postgres. */}}
{{- define "databaseHost" -}}
{{- if .Values.postgres.enabled -}}
postgres.{{ .Release.Namespace }}.svc
{{- else -}}
{{ required "postgres.external.host is needed where postgres.enabled is false" .Values.postgres.external.host }}
{{- end -}}
{{- end -}}

{{- define "ownerSecret" -}}
{{- if .Values.postgres.enabled -}}
database-owner
{{- else -}}
{{ required "postgres.external.ownerSecret is needed where postgres.enabled is false" .Values.postgres.external.ownerSecret }}
{{- end -}}
{{- end -}}

{{- define "portalTlsSecret" -}}
{{ .Values.portal.tls.existingSecret | default "portal-tls" }}
{{- end -}}
