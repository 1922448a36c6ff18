import { z } from 'zod';

import { LOG_LEVELS } from '../src/telemetry/logs.ts';
import { OTLP_PROTOCOLS } from '../src/telemetry/otlp-settings.ts';

/** A duration that Go and Prometheus both accept. Prometheus requires this order of units. */
const Duration = z
  .string()
  .min(2)
  .regex(/^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$/);
/** A DNS label (RFC 1123), or empty for the default. */
const Name = z.string().regex(/^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$/);
/** Part of the names of all objects. Starts with a letter, as a Service's name must (RFC 1035). */
const NamePart = z.string().regex(/^([a-z]([-a-z0-9]{0,61}[a-z0-9])?)?$/);
const ObjectName = z.string().regex(/^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$/);
const Key = z.string().regex(/^[-._a-zA-Z0-9]{1,253}$/);
const OCTET = '(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])';
/** An IP address or a CIDR. For IPv6, checks only the characters and the prefix length. */
const AddressRange = z
  .string()
  .regex(
    new RegExp(
      `^(${OCTET}(\\.${OCTET}){3}(/([12]?[0-9]|3[0-2]))?|[0-9a-fA-F]*:[.:0-9a-fA-F]*(/([1-9]?[0-9]|1[01][0-9]|12[0-8]))?)$`,
    ),
  );
const Texts = z.record(z.string(), z.string());
/** Part of a Kubernetes object. The API server checks it. */
const Part = z.looseObject({});
const Parts = z.array(Part);
const Port = z.int().min(1).max(65_535);
const Count = z.int().min(0).max(2_147_483_647);
const CountOrPercentage = z.union([Count, z.string().regex(/^[0-9]{1,3}%$/)]);

/** Timing of a pod probe. The chart defines the probe's request. */
const PodProbe = z.strictObject({
  initialDelaySeconds: Count.optional(),
  periodSeconds: Count.optional(),
  timeoutSeconds: Count.optional(),
  failureThreshold: Count.optional(),
});

const PullSecrets = z.array(z.strictObject({ name: ObjectName.min(1) }));
const Peers = z.strictObject({ to: Parts, ports: z.array(Port).min(1) });

function alert(extraFields: z.ZodRawShape = {}): z.ZodObject {
  return z.strictObject({
    enabled: z.boolean(),
    for: Duration,
    severity: z.string().min(1),
    ...extraFields,
  });
}

/**
 * Values of `charts/storage-probe`. `values.yaml` sets all of them. Only values that are optional here may be removed.
 */
export const ChartValues = z.strictObject({
  /** Only read by a parent chart, as the `condition` of the dependency. */
  enabled: z.boolean().optional(),
  global: z.looseObject({ imageRegistry: z.string().optional(), imagePullSecrets: PullSecrets.optional() }),
  nameOverride: NamePart,
  fullnameOverride: NamePart,
  commonLabels: Texts,
  replicaCount: Count,
  image: z.strictObject({
    registry: z.string().regex(/^([-.a-z0-9]+(:[0-9]+)?(\/[-._a-z0-9]+)*)?$/),
    repository: z.string().regex(/^[-._a-z0-9]+(\/[-._a-z0-9]+)*$/),
    tag: z.string().regex(/^(\w[-.\w]{0,127})?$/),
    digest: z.string().regex(/^(sha256:[0-9a-f]{64})?$/),
    pullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']),
  }),
  imagePullSecrets: PullSecrets,
  crds: z.strictObject({ enabled: z.boolean(), keep: z.boolean(), annotations: Texts }),
  watchNamespaces: z.array(Name.min(1)),
  serviceAccount: z.strictObject({ create: z.boolean(), name: ObjectName, annotations: Texts }),
  rbac: z.strictObject({ create: z.boolean(), aggregate: z.boolean() }),
  flowSchema: z.strictObject({
    enabled: z.boolean(),
    priorityLevel: ObjectName.min(1),
    matchingPrecedence: z.int().min(1).max(9_999),
  }),
  controller: z.strictObject({
    maxRuns: z.int().min(1).max(10_000),
    workers: z.int().min(1).max(100),
    statusHeartbeat: Duration,
    allowAddresses: z.array(AddressRange),
    drainTimeout: Duration,
    shutdownTimeout: Duration,
    logLevel: z.enum(LOG_LEVELS),
  }),
  webIdentity: z.strictObject({
    enabled: z.boolean(),
    audience: z.string().max(253),
    stsEndpoints: z.array(z.string().regex(/^https?:\/\/[^/@?#,\s]+\/?$/)),
    expirationSeconds: z.int().min(600).max(86_400),
  }),
  terminationGracePeriodSeconds: z.int().min(1).max(86_400),
  otlp: z.strictObject({
    endpoint: z.string().regex(/^(https?:\/\/.+)?$/),
    protocol: z.enum(OTLP_PROTOCOLS),
    headersSecretRef: z.strictObject({ name: ObjectName, key: Key }),
    ca: z.strictObject({
      bundle: z.string().regex(/^(|[\s\S]*-----BEGIN CERTIFICATE-----[\s\S]*)$/),
      secretRef: z.strictObject({ name: ObjectName, key: Key }),
    }),
    resourceAttributes: Texts,
  }),
  resources: Part.optional(),
  podSecurityContext: Part.optional(),
  securityContext: Part.optional(),
  startupProbe: PodProbe.optional(),
  livenessProbe: PodProbe.optional(),
  readinessProbe: PodProbe.optional(),
  podLabels: Texts,
  podAnnotations: Texts,
  priorityClassName: ObjectName,
  nodeSelector: Texts.optional(),
  tolerations: Parts,
  affinity: Part,
  topologySpreadConstraints: Parts.optional(),
  extraArgs: z.array(z.string()),
  extraEnv: Parts,
  extraEnvFrom: Parts,
  extraVolumes: Parts,
  extraVolumeMounts: Parts,
  extraObjects: Parts,
  podDisruptionBudget: z.strictObject({
    enabled: z.boolean(),
    minAvailable: CountOrPercentage.optional(),
    maxUnavailable: CountOrPercentage.optional(),
  }),
  service: z.strictObject({ enabled: z.boolean(), port: Port, labels: Texts, annotations: Texts }),
  networkPolicy: z.strictObject({
    enabled: z.boolean(),
    ingressFrom: Parts,
    apiServer: Peers,
    targets: Peers,
    otlp: Peers,
    extraEgress: Parts,
  }),
  serviceMonitor: z.strictObject({
    enabled: z.boolean(),
    namespace: Name,
    labels: Texts,
    annotations: Texts,
    interval: Duration,
    scrapeTimeout: Duration,
    relabelings: Parts,
    metricRelabelings: Parts,
  }),
  prometheusRule: z.strictObject({
    enabled: z.boolean(),
    namespace: Name,
    labels: Texts,
    annotations: Texts,
    alertLabels: Texts,
    alerts: z.strictObject({
      failing: alert(),
      stale: alert(),
      unknown: alert(),
      slow: alert({ factor: z.number().min(1), minimumSeconds: z.number().min(0) }),
      certificate: alert({ days: z.int().min(1) }),
      spansDropped: alert(),
      noLeader: alert(),
      namespaceForbidden: alert(),
    }),
    extraRules: Parts,
  }),
  grafanaDashboard: z.strictObject({
    enabled: z.boolean(),
    namespace: Name,
    labels: Texts,
    annotations: Texts,
  }),
  tests: z.strictObject({ enabled: z.boolean() }),
});

/** Renders `values.schema.json`, against which Helm validates all values. */
export function chartValuesSchema(): string {
  const schema = z.toJSONSchema(ChartValues, { target: 'draft-7', reused: 'inline' });
  return `${JSON.stringify(schema, null, 2)}\n`;
}
