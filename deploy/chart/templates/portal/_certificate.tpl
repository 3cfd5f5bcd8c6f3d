{{- define "portalCertificate" -}}
{{- $host := (urlParse .Values.cloud.portalUrl).hostname -}}
{{- $isAddress := regexMatch "^([0-9.]+|[0-9a-f:]+)$" $host -}}
{{- $names := .Values.portal.tls.names -}}
{{- $addresses := .Values.portal.tls.addresses -}}
{{- if $isAddress -}}
{{-   $addresses = append $addresses $host -}}
{{- else -}}
{{-   $names = prepend $names $host -}}
{{- end -}}
program: portal
secret: portal-tls
names: {{ append $names (printf "portal.%s.svc" .Release.Namespace) | uniq | toJson }}
addresses: {{ uniq $addresses | toJson }}
{{- end -}}
