{{/* The part of a pod's spec that is the same for every program: (dict "root" $ "program" "portal") */}}
{{- define "pod" -}}
serviceAccountName: {{ .program }}
automountServiceAccountToken: {{ eq .program "provisioner" }}
enableServiceLinks: false
priorityClassName: fluvio-cloud
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ include "user" . }}
  runAsGroup: {{ include "user" . }}
  fsGroup: {{ include "user" . }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: {{ $.root.Values.spread }}
    labelSelector:
      matchLabels:
        {{- include "selector" $ | nindent 8 }}
  {{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Of a container's spec. */}}
{{- define "container" -}}
image: {{ include "image" . }}
imagePullPolicy: {{ .root.Values.images.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  privileged: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities: {drop: [ALL]}
resources: {{- toYaml (get .root.Values .program).resources | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}

{{/* Secrets are files that only the pod's own user may read, through its group. */}}
{{- define "secretVolume" -}}
- name: {{ .name }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 288 # 0440
{{- end -}}

{{- define "configVolume" -}}
- name: configuration
  configMap:
    name: {{ . }}
    defaultMode: 292 # 0444
{{- end -}}
