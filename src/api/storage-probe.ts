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

/** Where the API server serves StorageProbes. */
export const STORAGE_PROBES = { group: GROUP, version: VERSION, plural: PLURAL, kind: KIND } as const;

/** Most targets of a probe. */
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
        description: 'When runs start, as five cron fields: minute, hour, day of month, month, day of week.',
      })
      .optional(),
    timeZone: format
      .timeZone({ description: 'Time zone of `cron`, by its IANA name. When absent, UTC.' })
      .optional(),
    startingDeadline: format
      .duration({
        description:
          'How late a run may start, for example after a restart of the operator; a later one is left out. When absent, 10m for `cron`, and no limit for an interval.',
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
      message: 'needs exactly one of interval and cron',
      accepted: '{ interval: 30s }, or { cron: "*/5 * * * *", timeZone: Europe/Berlin }',
      cel: 'has(self.interval) != has(self.cron)',
      holds: ({ interval, cron }) => (interval === undefined) !== (cron === undefined),
    },
    {
      id: 'time-zone-with-cron',
      path: ['timeZone'],
      reads: ['interval', 'timeZone'],
      message: 'has no meaning for an interval',
      accepted: 'timeZone only beside cron',
      cel: '!has(self.interval) || !has(self.timeZone)',
      holds: ({ interval, timeZone }) => interval === undefined || timeZone === undefined,
    },
  ],
);

const CredentialsSecretRef = z
  .strictObject({ name: format.secretName({ description: 'Name of the Secret.' }) })
  .register(FIELD_INFO, {
    accepted:
      'a map with the name of a Secret that holds accessKey and secretKey, for example { name: my-minio-probe }',
  });

const Tls = z.strictObject({
  caSecretRef: z
    .strictObject({
      name: format.secretName({ description: 'Name of the Secret.' }),
      key: format
        .secretKey({ description: 'Key in the Secret whose value is the bundle, in PEM.' })
        .default('ca.crt'),
    })
    .meta({
      description:
        'The Secret, in the namespace of the probe, with the authorities to trust instead of those of the system.',
    })
    .optional(),
});

const Target = z.strictObject({
  name: format.label({
    is: 'a target name',
    description: 'Unique in the probe. Traces call the store by this name (`service.name`).',
  }),
  endpoint: format.endpoint({ description: 'Where the S3 API of the store answers.' }),
  region: format.region({ description: 'S3 region that requests are signed for.' }).default('us-east-1'),
  credentialsSecretRef: CredentialsSecretRef.meta({
    description:
      'The Secret, in the namespace of the probe, with the keys `accessKey`, `secretKey` and, for temporary credentials, `sessionToken`.',
  }),
  tls: Tls.meta({ description: 'How the certificate of an https endpoint is checked.' }).optional(),
});

const Bucket = withRules(
  z.strictObject({
    mode: z
      .enum(['Ephemeral', 'Existing'])
      .meta({
        description:
          'Ephemeral: each run makes and removes a bucket of its own. Existing: runs use a bucket that is there, and never make or remove it.',
      })
      .default('Ephemeral'),
    name: format
      .bucketName({ description: 'Name of the bucket that is there; only with mode Existing.' })
      .optional(),
  }),
  [
    {
      id: 'name-with-existing',
      path: ['name'],
      reads: ['mode', 'name'],
      message: 'is missing, and mode Existing needs it',
      accepted: 'the name of a bucket that is there',
      cel: "self.mode != 'Existing' || has(self.name)",
      holds: ({ mode, name }) => mode !== 'Existing' || name !== undefined,
    },
    {
      id: 'no-name-with-ephemeral',
      path: ['name'],
      reads: ['mode', 'name'],
      message: 'does not go with mode Ephemeral, whose buckets are named by the probe',
      accepted: 'no name, or mode: Existing',
      cel: "self.mode != 'Ephemeral' || !has(self.name)",
      holds: ({ mode, name }) => mode !== 'Ephemeral' || name === undefined,
    },
  ],
);

/**
 * A probe samples, it does not load. Bodies are streamed, so memory sets no limit, and S3 takes 5Gi in one PUT: there
 * is room to raise this, which old resources survive, as they would not survive lowering it.
 */
const MAX_OBJECT_SIZE = '1Gi';

const TestObject = z.strictObject({
  size: format.size({
    description: 'Size of the object. Bodies are random, and compared by SHA-256.',
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
    schedule: Schedule.meta({ description: 'When runs start: by an interval, or by cron.' }).default({
      interval: '1m',
    }),
    timeout: format
      .duration({
        description:
          'Limit of one run, all steps together. When absent, 20s, or four fifths of an interval that is shorter than 25s.',
        min: '100ms',
        max: '1h',
      })
      .optional(),
    targets: list(Target, {
      key: 'name',
      description: 'The stores to visit. Each gets a run, and so a trace, of its own.',
      min: 1,
      max: MAX_TARGETS,
      of: 'targets, each with name, endpoint and credentialsSecretRef',
    }),
    bucket: Bucket.meta({ description: 'Which bucket runs use.' }).default({ mode: 'Ephemeral' }),
    objects: list(TestObject, {
      description:
        'The objects that each run adds, fetches and removes. MinIO keeps small objects beside their metadata; one size below and one above that limit exercise both ways.',
      min: 1,
      max: 8,
      of: 'objects, for example [{ size: 4Ki }]',
    }).default([{ size: '4Ki' }]),
    failureThreshold: z
      .int32()
      .min(1)
      .max(100)
      .meta({ description: 'How many runs in a row must fail before the target counts as unhealthy.' })
      .default(2),
    suspend: z.boolean().meta({ description: 'Whether to start no more runs.' }).default(false),
  }),
  [
    {
      id: 'timeout-below-interval',
      path: ['timeout'],
      reads: ['schedule', 'timeout'],
      message: 'is not less than schedule.interval',
      accepted:
        'a timeout below the interval (1m when absent), so that a run ends before the next one starts',
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
      message: 'is the name of an earlier target too',
      accepted: 'names that are unique in the probe',
      holds: ({ targets }) => repeated(targets).length === 0,
      culprits: ({ targets }) => repeated(targets).map((index) => ['targets', index, 'name']),
    },
  ],
);

/** Indexes of the targets whose name an earlier one has. */
function repeated(targets: readonly { name: string }[]): number[] {
  const names = targets.map(({ name }) => name);
  return [...names.keys()].filter((index) => names.indexOf(names[index] ?? '') < index);
}

/** The custom resource as a file or the API server holds it, with defaults applied; units as text. */
export const StorageProbe = z.strictObject({
  apiVersion: z.literal(API_VERSION).meta({ description: 'Version of this schema.' }),
  kind: z.literal(KIND).meta({ description: 'Kind of the resource.' }),
  metadata: z
    .looseObject({
      name: format.label({
        is: 'a name',
        description:
          'Unique in the namespace. Metrics, traces and bucket names carry it, hence no longer than a label.',
      }),
      namespace: format
        .label({
          is: 'a namespace',
          description: 'Namespace of the probe and of the Secrets that it refers to.',
        })
        .default('default'),
    })
    .meta({ description: 'Standard metadata of Kubernetes. Other fields than these are left alone.' }),
  spec: StorageProbeSpec.meta({ description: 'What to probe, when and how.' }),
  status: z.unknown().meta({ description: 'Written by the controller; ignored in a file.' }).optional(),
});
export type StorageProbe = z.output<typeof StorageProbe>;
