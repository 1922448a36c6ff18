import { z } from 'zod';
import { matches } from './cel.ts';
import { DURATION_PATTERN, parseDurationMs } from './duration.ts';
import { FIELD_INFO, list, withRules } from './field.ts';
import * as format from './formats.ts';

export const GROUP = 'storageprobe.dev';
export const VERSION = 'v1alpha1';
export const API_VERSION = `${GROUP}/${VERSION}` as const;
export const KIND = 'StorageProbe';
export const PLURAL = 'storageprobes';

/** Group, version, plural and kind under which the API server serves StorageProbes. */
export const STORAGE_PROBES = { group: GROUP, version: VERSION, plural: PLURAL, kind: KIND } as const;

/** Maximum number of targets per probe. */
export const MAX_TARGETS = 64;

const Schedule = withRules(
  z.strictObject({
    interval: format
      .duration({
        description: 'Time from the start of one run to the start of the next.',
        min: '1s',
        max: '24h',
      })
      .optional(),
    cron: format
      .cron({
        description: 'Start times of the runs as a cron expression.',
      })
      .optional(),
    timeZone: format.timeZone({ description: 'Time zone of `cron`. If absent, UTC.' }).optional(),
    startingDeadline: format
      .duration({
        description:
          'Maximum delay of a run, for example after a restart of the operator. A run that would start later is skipped. If absent, 10m for `cron` and no limit for an interval.',
        min: '1s',
        max: '24h',
      })
      .optional(),
  }),
  [
    {
      id: 'interval-or-cron',
      path: [],
      reads: ['interval', 'cron'],
      message: 'must have exactly one of interval and cron',
      accepted: '{ interval: 30s }, or { cron: "*/5 * * * *", timeZone: Europe/Berlin }',
      cel: 'has(self.interval) != has(self.cron)',
      holds: ({ interval, cron }) => (interval === undefined) !== (cron === undefined),
    },
    {
      id: 'time-zone-with-cron',
      path: ['timeZone'],
      reads: ['interval', 'timeZone'],
      message: 'cannot be used with interval',
      accepted: 'timeZone only together with cron',
      cel: '!has(self.interval) || !has(self.timeZone)',
      holds: ({ interval, timeZone }) => interval === undefined || timeZone === undefined,
    },
  ],
);

const CredentialsSecretRef = z
  .strictObject({ name: format.secretName({ description: 'Name of the Secret.' }) })
  .register(FIELD_INFO, {
    accepted:
      'a map with the name of a Secret that contains accessKey and secretKey, for example { name: my-minio-probe }',
  });

const Tls = z.strictObject({
  caSecretRef: z
    .strictObject({
      name: format.secretName({ description: 'Name of the Secret.' }),
      key: format
        .secretKey({ description: 'Key in the Secret whose value is the CA bundle in PEM format.' })
        .default('ca.crt'),
    })
    .meta({
      description:
        "Secret with the CA certificates to trust instead of the system's. Must be in the probe's namespace.",
    })
    .optional(),
});

const Target = z.strictObject({
  name: format.label({
    is: 'a valid target name',
    description:
      'Name of the target, unique in the probe. Traces of the target use this name as `service.name`.',
  }),
  endpoint: format.endpoint({ description: "URL of the store's S3 API." }),
  region: format.region({ description: 'S3 region used to sign requests.' }).default('us-east-1'),
  credentialsSecretRef: CredentialsSecretRef.meta({
    description:
      "Secret with the keys `accessKey`, `secretKey` and, for temporary credentials, `sessionToken`. Must be in the probe's namespace.",
  }),
  tls: Tls.meta({ description: 'TLS settings of an https endpoint.' }).optional(),
});

const Bucket = withRules(
  z.strictObject({
    mode: z
      .enum(['Ephemeral', 'Existing'])
      .meta({
        description:
          'Ephemeral: each run creates and removes a bucket that belongs to the probe. Existing: runs use an existing bucket and never create or remove it.',
      })
      .default('Ephemeral'),
    name: format
      .bucketName({ description: 'Name of the existing bucket. Only with mode Existing.' })
      .optional(),
  }),
  [
    {
      id: 'name-with-existing',
      path: ['name'],
      reads: ['mode', 'name'],
      message: 'is required when mode is Existing',
      accepted: 'the name of an existing bucket',
      cel: "self.mode != 'Existing' || has(self.name)",
      holds: ({ mode, name }) => mode !== 'Existing' || name !== undefined,
    },
    {
      id: 'no-name-with-ephemeral',
      path: ['name'],
      reads: ['mode', 'name'],
      message: 'cannot be used with mode Ephemeral, in which the probe chooses the name',
      accepted: 'no name, or mode: Existing',
      cel: "self.mode != 'Ephemeral' || !has(self.name)",
      holds: ({ mode, name }) => mode !== 'Ephemeral' || name === undefined,
    },
  ],
);

/**
 * Limits the load of a probe on the store. The limit can be raised: bodies are streamed, and S3 accepts 5Gi in one PUT.
 * It must not be lowered, because existing resources would become invalid.
 */
const MAX_OBJECT_SIZE = '1Gi';

const TestObject = z.strictObject({
  size: format.size({
    description: 'Size of the object. Its content is random and verified by SHA-256.',
    max: MAX_OBJECT_SIZE,
  }),
});

const TIMEOUT_BELOW_INTERVAL = [
  '!has(self.timeout) || !has(self.schedule.interval)',
  `!${matches(DURATION_PATTERN, 'self.timeout')} || !${matches(DURATION_PATTERN, 'self.schedule.interval')}`,
  'duration(self.timeout) < duration(self.schedule.interval)',
].join(' || ');

const StorageProbeSpec = withRules(
  z.strictObject({
    schedule: Schedule.meta({
      description: 'Schedule of the runs: an interval or a cron expression.',
    }).default({
      interval: '1m',
    }),
    timeout: format
      .duration({
        description:
          'Time limit for one run, all steps together. If absent, 20s or four fifths of the interval, whichever is shorter.',
        min: '100ms',
        max: '1h',
      })
      .optional(),
    targets: list(Target, {
      key: 'name',
      description: 'Stores to probe. Each target has separate runs, and each run has its own trace.',
      min: 1,
      max: MAX_TARGETS,
      of: 'targets, each with name, endpoint and credentialsSecretRef',
    }),
    bucket: Bucket.meta({ description: 'Bucket that the runs use.' }).default({ mode: 'Ephemeral' }),
    objects: list(TestObject, {
      description:
        "Objects that each run adds, fetches and removes. MinIO stores small objects inline with their metadata. To test both paths, use one size below and one above MinIO's inline limit.",
      min: 1,
      max: 8,
      of: 'objects, for example [{ size: 4Ki }]',
    }).default([{ size: '4Ki' }]),
    failureThreshold: z
      .int32()
      .min(1)
      .max(100)
      .meta({ description: 'Number of consecutive failed runs after which a target is unhealthy.' })
      .default(2),
    suspend: z.boolean().meta({ description: 'If true, no new runs start.' }).default(false),
  }),
  [
    {
      id: 'timeout-below-interval',
      path: ['timeout'],
      reads: ['schedule', 'timeout'],
      message: 'is not shorter than schedule.interval',
      accepted:
        'a timeout shorter than the interval (default 1m), so that a run finishes before the next one starts',
      cel: TIMEOUT_BELOW_INTERVAL,
      holds: ({ schedule: { interval }, timeout }) =>
        interval === undefined ||
        timeout === undefined ||
        parseDurationMs(timeout) < parseDurationMs(interval),
    },
    {
      id: 'target-names-unique',
      path: ['targets'],
      reads: ['targets'],
      message: 'is already used by an earlier target',
      accepted: 'a name that is unique in the probe',
      holds: ({ targets }) => duplicateIndexes(targets).length === 0,
      wrongPaths: ({ targets }) => duplicateIndexes(targets).map((index) => ['targets', index, 'name']),
    },
  ],
);

/** Indexes of targets whose name an earlier target already has. */
function duplicateIndexes(targets: readonly { name: string }[]): number[] {
  const names = targets.map(({ name }) => name);
  return [...names.keys()].filter((index) => names.indexOf(names[index] ?? '') < index);
}

/** The custom resource as in a file or the API server, with defaults applied. Durations and sizes are text. */
export const StorageProbe = z.strictObject({
  apiVersion: z.literal(API_VERSION).meta({ description: 'API group and version of the resource.' }),
  kind: z.literal(KIND).meta({ description: 'Kind of the resource.' }),
  metadata: z
    .looseObject({
      name: format.label({
        is: 'a valid name',
        description:
          'Name of the probe, unique in its namespace. It appears in metrics, traces and bucket names, which limit its length.',
      }),
      namespace: format
        .label({
          is: 'a valid namespace',
          description: 'Namespace of the probe and of the Secrets that it references.',
        })
        .default('default'),
    })
    .meta({
      description:
        'Standard Kubernetes metadata. Only `name` and `namespace` are used; other fields are ignored.',
    }),
  spec: StorageProbeSpec.meta({ description: 'Specification of the probe.' }),
  status: z
    .unknown()
    .meta({ description: 'Status, written by the controller. Ignored if it is present in a manifest.' })
    .optional(),
});
export type StorageProbe = z.output<typeof StorageProbe>;
