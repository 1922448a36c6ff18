const WEB_IDENTITY = {
  webIdentity: { enabled: true, audience: 'minio', stsEndpoints: ['http://minio:9000'] },
};

/**
 * A non-default sample for each value of `charts/storage-probe`, keyed by path. `with` contains other values without
 * which the sample has no effect.
 */
export const SAMPLES: Readonly<Record<string, { readonly value: unknown; readonly with?: object }>> = {
  'global.imageRegistry': { value: 'registry.example.com' },
  'global.imagePullSecrets': { value: [{ name: 'registry' }] },
  nameOverride: { value: 'prober' },
  fullnameOverride: { value: 'prober' },
  commonLabels: { value: { team: 'storage' } },
  replicaCount: { value: 3 },
  'image.registry': { value: 'registry.example.com' },
  'image.repository': { value: 'mirror/storage-probe' },
  'image.tag': { value: '1.2.3' },
  'image.digest': { value: `sha256:${'0a'.repeat(32)}` },
  'image.pullPolicy': { value: 'Always' },
  imagePullSecrets: { value: [{ name: 'registry' }] },
  'crds.enabled': { value: false },
  'crds.keep': { value: false },
  'crds.annotations': { value: { team: 'storage' } },
  watchNamespaces: { value: ['storage', 'archive'] },
  'serviceAccount.create': { value: false },
  'serviceAccount.name': { value: 'prober' },
  'serviceAccount.annotations': { value: { team: 'storage' } },
  'rbac.create': { value: false },
  'rbac.aggregate': { value: true },
  'flowSchema.enabled': { value: false },
  'flowSchema.priorityLevel': { value: 'workload-high' },
  'flowSchema.matchingPrecedence': { value: 700 },
  'controller.maxRuns': { value: 7 },
  'controller.workers': { value: 7 },
  'controller.statusHeartbeat': { value: '1m30s' },
  'controller.allowAddresses': { value: ['127.0.0.1', '10.0.0.0/8', 'fe80::/64', 'fe80::', '::'] },
  'controller.drainTimeout': { value: '2s' },
  'controller.shutdownTimeout': { value: '20s' },
  'controller.logLevel': { value: 'debug' },
  'webIdentity.enabled': {
    value: true,
    with: { webIdentity: { audience: 'minio', stsEndpoints: ['http://minio:9000'] } },
  },
  'webIdentity.audience': { value: 'sts.amazonaws.com', with: WEB_IDENTITY },
  'webIdentity.stsEndpoints': {
    value: ['https://sts.example.com', 'http://minio:9000/'],
    with: WEB_IDENTITY,
  },
  'webIdentity.expirationSeconds': { value: 7_200, with: WEB_IDENTITY },
  terminationGracePeriodSeconds: { value: 60 },
  'otlp.endpoint': { value: 'https://collector.observability.svc:4317' },
  'otlp.protocol': { value: 'http/protobuf', with: { otlp: { endpoint: 'http://collector:4318' } } },
  'otlp.headersSecretRef.name': { value: 'otlp' },
  'otlp.headersSecretRef.key': { value: 'token', with: { otlp: { headersSecretRef: { name: 'otlp' } } } },
  'otlp.ca.bundle': { value: '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n' },
  'otlp.ca.secretRef.name': { value: 'otlp-ca' },
  'otlp.ca.secretRef.key': { value: 'tls.crt', with: { otlp: { ca: { secretRef: { name: 'otlp-ca' } } } } },
  'otlp.resourceAttributes': { value: { 'deployment.environment.name': 'a, b' } },
  resources: { value: { requests: { cpu: '1' } } },
  podSecurityContext: { value: { fsGroup: 65_532 } },
  securityContext: { value: { privileged: false } },
  ...podProbeSamples('startupProbe'),
  ...podProbeSamples('livenessProbe'),
  ...podProbeSamples('readinessProbe'),
  podLabels: { value: { team: 'storage' } },
  podAnnotations: { value: { team: 'storage' } },
  priorityClassName: { value: 'system-cluster-critical' },
  nodeSelector: { value: { 'kubernetes.io/arch': 'arm64' } },
  tolerations: { value: [{ key: 'storage', operator: 'Exists', effect: 'NoSchedule' }] },
  affinity: {
    value: {
      podAntiAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [
          {
            weight: 1,
            podAffinityTerm: { topologyKey: 'zone', labelSelector: { matchLabels: { team: 'a' } } },
          },
        ],
      },
    },
  },
  topologySpreadConstraints: {
    value: [
      {
        maxSkew: 2,
        topologyKey: 'zone',
        whenUnsatisfiable: 'DoNotSchedule',
        labelSelector: { matchLabels: { team: 'storage' } },
      },
    ],
  },
  extraArgs: { value: ['--identity=prober'] },
  extraEnv: { value: [{ name: 'OTEL_TRACES_SAMPLER', value: 'always_on' }] },
  extraEnvFrom: { value: [{ configMapRef: { name: 'settings' } }] },
  extraVolumes: { value: [{ name: 'certificates', secret: { secretName: 'otlp-client' } }] },
  extraVolumeMounts: {
    value: [{ name: 'certificates', mountPath: '/etc/certificates', readOnly: true }],
    with: { extraVolumes: [{ name: 'certificates', secret: { secretName: 'otlp-client' } }] },
  },
  extraObjects: {
    value: [{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: '{{ .Release.Name }}-extra' } }],
  },
  'podDisruptionBudget.enabled': { value: false, with: { replicaCount: 2 } },
  'podDisruptionBudget.minAvailable': { value: '50%', with: { replicaCount: 2 } },
  'podDisruptionBudget.maxUnavailable': { value: 0, with: { replicaCount: 2 } },
  'service.enabled': { value: false },
  'service.port': { value: 80 },
  'service.labels': { value: { team: 'storage' } },
  'service.annotations': { value: { team: 'storage' } },
  ...enabledSamples('networkPolicy', {
    ingressFrom: [{ namespaceSelector: { matchLabels: { team: 'monitoring' } } }],
    'apiServer.to': [{ ipBlock: { cidr: '10.0.0.1/32' } }],
    'apiServer.ports': [6_443],
    'targets.to': [{ namespaceSelector: { matchLabels: { team: 'storage' } } }],
    'targets.ports': [9_000],
    'otlp.to': [{ podSelector: { matchLabels: { app: 'collector' } } }],
    'otlp.ports': [4_317],
    extraEgress: [{ ports: [{ port: 3_128 }] }],
  }),
  ...enabledSamples('serviceMonitor', {
    namespace: 'monitoring',
    labels: { release: 'prometheus' },
    annotations: { team: 'storage' },
    interval: '1m',
    scrapeTimeout: '5s',
    relabelings: [{ action: 'labeldrop', regex: 'endpoint' }],
    metricRelabelings: [{ action: 'labeldrop', regex: 'le' }],
  }),
  ...enabledSamples('prometheusRule', {
    namespace: 'monitoring',
    labels: { release: 'prometheus' },
    annotations: { team: 'storage' },
    alertLabels: { team: 'storage' },
    ...alertValues([
      'failing',
      'stale',
      'unknown',
      'slow',
      'certificate',
      'spansDropped',
      'noLeader',
      'namespaceForbidden',
    ]),
    'alerts.slow.factor': 2.5,
    'alerts.slow.minimumSeconds': 0.5,
    'alerts.certificate.days': 30,
    extraRules: [{ alert: 'Down', expr: 'up == 0' }],
  }),
  ...enabledSamples('grafanaDashboard', {
    namespace: 'monitoring',
    labels: { grafana_dashboard: 'yes' },
    annotations: { grafana_folder: 'Storage' },
  }),
  'tests.enabled': { value: false },
};

/** Samples for the values of a feature that is disabled by default. */
function enabledSamples(feature: string, values: Record<string, unknown>): typeof SAMPLES {
  const samples = Object.entries(values).map(
    ([path, value]) => [`${feature}.${path}`, { value, with: { [feature]: { enabled: true } } }] as const,
  );
  return { [`${feature}.enabled`]: { value: true }, ...Object.fromEntries(samples) };
}

function podProbeSamples(name: string): typeof SAMPLES {
  const fields = ['initialDelaySeconds', 'periodSeconds', 'timeoutSeconds', 'failureThreshold'];
  return Object.fromEntries(fields.map((field) => [`${name}.${field}`, { value: 9 }]));
}

function alertValues(names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    names.flatMap((name) => [
      [`alerts.${name}.enabled`, false],
      [`alerts.${name}.for`, '1h30m'],
      [`alerts.${name}.severity`, 'page'],
    ]),
  );
}
