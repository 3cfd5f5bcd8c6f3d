{{/*
What is made once is found again by `lookup` and kept: an upgrade must not change a password. Without a cluster
(`helm template`) there is nothing to find, and everything is made anew.
(dict "root" $ "secret" "name" "key" "key") gives the value as it rests in the Secret, or nothing.
*/}}
{{- define "kept" -}}
{{- $secret := lookup "v1" "Secret" .root.Release.Namespace .secret -}}
{{- if and $secret $secret.data -}}
{{- get $secret.data .key -}}
{{- end -}}
{{- end -}}

{{/* A password for a URL: letters and digits. (dict "root" $ "secret" "name" "key" "password") */}}
{{- define "password" -}}
{{- $kept := include "kept" . -}}
{{- if $kept -}}{{ $kept | b64dec }}{{- else -}}{{ randAlphaNum 43 }}{{- end -}}
{{- end -}}

{{/*
A certificate for $names and $addresses, from a CA of its own, as a Secret. The CA is kept for its ten years; the
certificate is made again when its names change or it is half a year old (it lives for two years).
(dict "root" $ "program" "portal" "secret" "portal-tls" "names" (list …) "addresses" (list …))
*/}}
{{- define "certificateSecret" -}}
{{- $old := (lookup "v1" "Secret" .root.Release.Namespace .secret) | default dict -}}
{{- $data := $old.data | default dict -}}
{{- $made := include "certificateMade" . -}}
{{- if or (ne $made (dig "metadata" "annotations" "fluvio-cloud/made" "" $old)) (not (hasKey $data "tls.crt")) -}}
{{-   $ca := dict -}}
{{-   if hasKey $data "ca.key" -}}
{{-     $ca = buildCustomCert (get $data "ca.crt") (get $data "ca.key") -}}
{{-   else -}}
{{-     $ca = genCAWithKey (printf "fluvio-cloud %s" .program) 3650 (genPrivateKey "ecdsa") -}}
{{-   end -}}
{{-   $leaf := genSignedCertWithKey (first .names | default .program) .addresses .names 730 $ca (genPrivateKey "ecdsa") -}}
{{-   $data = dict "ca.crt" (b64enc $ca.Cert) "ca.key" (b64enc $ca.Key) "tls.crt" (b64enc $leaf.Cert) "tls.key" (b64enc $leaf.Key) -}}
{{- end -}}
apiVersion: v1
kind: Secret
metadata:
  name: {{ .secret }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "labels" . | nindent 4 }}
  annotations:
    # Which certificate it is: its day, and whom it names.
    fluvio-cloud/made: {{ $made | quote }}
type: kubernetes.io/tls
data:
  {{- range list "ca.crt" "ca.key" "tls.crt" "tls.key" }}
  {{ . }}: {{ get $data . }}
  {{- end }}
{{- end -}}

{{/* Tells certificates apart: pods that carry it are replaced with their certificate. Arguments as above. */}}
{{- define "certificateMade" -}}
{{- $old := (lookup "v1" "Secret" .root.Release.Namespace .secret) | default dict -}}
{{- $kept := dig "metadata" "annotations" "fluvio-cloud/made" "" $old -}}
{{- $today := div (now | unixEpoch | int64) 86400 -}}
{{- $for := printf "%s %s" (join "," .names) (join "," .addresses) | trim -}}
{{- $day := splitList " " $kept | first | default "0" | int64 -}}
{{- if and $kept (lt (sub $today $day) 183) (eq (trimPrefix (printf "%d " $day) $kept) $for) -}}
{{ $kept }}
{{- else -}}
{{ $today }} {{ $for }}
{{- end -}}
{{- end -}}
