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
  .strictObject({
    name: format.secretName({ description: 'Name of the Secret.' }),
    keys: z
      .strictObject({
        accessKey: format.secretKey({
          description: 'Key that contains the access key.',
          example: 'accessKey',
        }),
        secretKey: format.secretKey({
          description: 'Key that contains the secret key.',
          example: 'secretKey',
        }),
        sessionToken: format
          .secretKey({
            description: 'Key that contains the session token of temporary credentials.',
            example: 'sessionToken',
          })
          .optional(),
      })
      .register(FIELD_INFO, {
        accepted:
          'a map with accessKey, secretKey and, optionally, sessionToken, for example { accessKey: id, secretKey: secret }',
      })
      .meta({
        description:
          'Keys of the Secret. If absent, the usual names are recognised, such as `accessKey` and `secretKey`, `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or `rootUser` and `rootPassword`.',
      })
      .optional(),
  })
  .register(FIELD_INFO, {
    accepted:
      'a map with the name of a Secret that contains accessKey and secretKey, for example { name: my-minio-probe }',
  });

const WebIdentity = z
  .strictObject({
    roleArn: format
      .roleArn({
        description:
          'Role to assume. If absent, MinIO takes the policy from a claim of the token. `run` uses `AWS_ROLE_ARN` if this is absent.',
      })
      .optional(),
    stsEndpoint: format
      .origin({
        description:
          'URL of the STS service. If absent, the regional STS endpoint is used for AWS S3. For any other store, the `endpoint` of the target is used, which is what MinIO requires.',
        example: 'https://sts.eu-central-1.amazonaws.com',
        secretRef: 'credentialsSecretRef',
      })
      .optional(),
  })
  .register(FIELD_INFO, {
    accepted:
      'a map with roleArn and stsEndpoint, both optional; {} for a MinIO server whose policies come from claims',
  });

const CA_KEY_DESCRIPTION = 'Key whose value is the CA bundle in PEM format.';

const Tls = withRules(
  z.strictObject({
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
    caConfigMapRef: z
      .strictObject({
        name: format.configMapName({ description: 'Name of the ConfigMap.' }),
        key: format.secretKey({ description: `${CA_KEY_DESCRIPTION} If absent, \`ca.crt\`.` }).optional(),
      })
      .meta({
        description:
          "ConfigMap with the CA certificates to trust instead of the system's, for example one written by trust-manager or OpenShift. Must be in the probe's namespace.",
      })
      .optional(),
    clientCertificateSecretRef: z
      .strictObject({ name: format.secretName({ description: 'Name of the Secret.' }) })
      .meta({
        description:
          "Secret of type `kubernetes.io/tls` with the client certificate (`tls.crt`) and its key (`tls.key`). It is read for each run, so a renewed certificate needs no restart. Must be in the probe's namespace.",
      })
      .optional(),
    serverName: format
      .hostName({
        description:
          "Name to send to the server (SNI) and to expect in its certificate. If absent, the endpoint's host.",
      })
      .optional(),
  }),
  [
    {
      id: 'ca-in-secret-or-config-map',
      path: ['caConfigMapRef'],
      reads: ['caSecretRef', 'caConfigMapRef'],
      message: 'cannot be used with caSecretRef',
      accepted: 'one of caSecretRef and caConfigMapRef',
      cel: '!has(self.caSecretRef) || !has(self.caConfigMapRef)',
      holds: ({ caSecretRef, caConfigMapRef }) => caSecretRef === undefined || caConfigMapRef === undefined,
    },
  ],
);

const Proxy = z.strictObject({
  url: format.origin({
    description: 'URL of the proxy, without credentials.',
    example: 'http://proxy.example.com:3128',
    secretRef: 'proxy.credentialsSecretRef',
  }),
  credentialsSecretRef: z
    .strictObject({ name: format.secretName({ description: 'Name of the Secret.' }) })
    .register(FIELD_INFO, {
      accepted: 'a map with the name of a Secret that contains username and password',
    })
    .meta({
      description:
        "Secret of type `kubernetes.io/basic-auth` with `username` and `password` for the proxy. Must be in the probe's namespace.",
    })
    .optional(),
});

const Encryption = withRules(
  z.strictObject({
    algorithm: z.enum(['AES256', 'aws:kms']).meta({
      description:
        'AES256: encrypt with keys managed by the store (SSE-S3). aws:kms: encrypt with a key from a KMS (SSE-KMS).',
    }),
    kmsKeyId: format
      .kmsKeyId({ description: "Key in the KMS. If absent, the store's default key. Only with aws:kms." })
      .optional(),
  }),
  [
    {
      id: 'key-id-with-kms',
      path: ['kmsKeyId'],
      reads: ['algorithm', 'kmsKeyId'],
      message: 'cannot be used with algorithm AES256',
      accepted: 'no kmsKeyId, or algorithm: aws:kms',
      cel: "!has(self.algorithm) || self.algorithm != 'AES256' || !has(self.kmsKeyId)",
      holds: ({ algorithm, kmsKeyId }) => algorithm !== 'AES256' || kmsKeyId === undefined,
    },
  ],
);

// Optional fields of a target have no default in the schema. Tools such as Argo CD compare what they applied with what the
// API server stores, and would see a difference in each item of the list. `planProbe` applies the defaults.
const Target = withRules(
  z.strictObject({
    name: format.label({
      is: 'a valid target name',
      description:
        'Name of the target, unique in the probe. Traces of the target use this name as `service.name`.',
    }),
    endpoint: format.endpoint({ description: "URL of the store's S3 API." }),
    addressing: z
      .enum(['Path', 'VirtualHost'])
      .meta({
        description:
          'Position of the bucket name. Path: `host/bucket`. VirtualHost: `bucket.host`, for stores that require it. If absent, Path.',
      })
      .optional(),
    region: format.region({ description: 'S3 region used to sign requests.' }).default('us-east-1'),
    credentialsSecretRef: CredentialsSecretRef.meta({
      description:
        "Secret with the access key, the secret key and, for temporary credentials, the session token. Must be in the probe's namespace.",
    }).optional(),
    webIdentity: WebIdentity.meta({
      description:
        "Temporary credentials obtained with the prober's own web identity token (STS `AssumeRoleWithWebIdentity`), instead of `credentialsSecretRef`. The operator's administrator must enable web identities.",
    }).optional(),
    tls: Tls.meta({ description: 'TLS settings of an https endpoint.' }).optional(),
    proxy: Proxy.meta({
      description:
        'HTTP proxy to connect through. If absent, the operator connects directly, and `run` uses the proxy from its environment variables.',
    }).optional(),
    encryption: Encryption.meta({
      description: "Server-side encryption to request for the objects. If absent, the bucket's default.",
    }).optional(),
  }),
  [
    {
      id: 'secret-or-web-identity',
      path: [],
      reads: ['credentialsSecretRef', 'webIdentity'],
      message: 'must have exactly one of credentialsSecretRef and webIdentity',
      accepted: 'credentialsSecretRef: { name: my-minio-probe }, or webIdentity: { roleArn: … }',
      cel: 'has(self.credentialsSecretRef) != has(self.webIdentity)',
      holds: ({ credentialsSecretRef, webIdentity }) =>
        (credentialsSecretRef === undefined) !== (webIdentity === undefined),
    },
    {
      id: 'virtual-host-with-name',
      path: ['addressing'],
      reads: ['addressing', 'endpoint'],
      message: 'cannot be used with an IP address in endpoint',
      accepted: 'addressing: Path, or an endpoint with a host name',
      cel: `!has(self.addressing) || self.addressing != 'VirtualHost' || !has(self.endpoint) || !${matches(format.ADDRESS_ENDPOINT, 'self.endpoint')}`,
      holds: ({ addressing, endpoint }) =>
        addressing !== 'VirtualHost' || !format.ADDRESS_ENDPOINT.test(endpoint),
    },
    {
      id: 'client-tls-with-https',
      path: ['tls'],
      reads: ['endpoint', 'tls'],
      message: 'has clientCertificateSecretRef or serverName, but endpoint does not start with https://',
      accepted: 'an https endpoint',
      cel: "!has(self.tls) || !(has(self.tls.clientCertificateSecretRef) || has(self.tls.serverName)) || !has(self.endpoint) || !self.endpoint.startsWith('http://')",
      holds: ({ endpoint, tls }) =>
        !endpoint.startsWith('http://') ||
        (tls?.clientCertificateSecretRef === undefined && tls?.serverName === undefined),
    },
  ],
);

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
 * Limits the load that a probe puts on the store. The limit can be raised: bodies are streamed, and S3 accepts 5Gi in
 * one PUT. It must not be lowered, because existing resources would become invalid.
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
      of: 'targets, each with name, endpoint and credentialsSecretRef or webIdentity',
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
