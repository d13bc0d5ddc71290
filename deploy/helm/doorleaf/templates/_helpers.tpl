{{- define "doorleaf.name" -}}
{{- printf "%s" .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- define "doorleaf.selector" -}}
app.kubernetes.io/name: doorleaf
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- define "doorleaf.labels" -}}
{{ include "doorleaf.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
