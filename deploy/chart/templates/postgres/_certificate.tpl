{{- define "databaseCertificate" -}}
program: postgres
secret: postgres-tls
names: [{{ include "databaseHost" . }}, postgres]
addresses: []
{{- end -}}
