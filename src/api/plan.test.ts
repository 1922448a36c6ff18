import { describe, expect, it } from 'vitest';
import { planProbe, type ProbePlan } from './plan.ts';
import { StorageProbe } from './storage-probe.ts';

function plan(spec: Record<string, unknown> = {}): ProbePlan {
  return planProbe(
    StorageProbe.parse({
      apiVersion: 'storageprobe.dev/v1alpha1',
      kind: 'StorageProbe',
      metadata: { name: 'my-minio' },
      spec: {
        targets: [
          {
            name: 'my-minio',
            endpoint: 'http://my-minio:9000',
            credentialsSecretRef: { name: 'my-minio-probe' },
          },
        ],
        ...spec,
      },
    }),
  );
}

describe('planProbe', () => {
  it('applies the defaults', () => {
    expect(plan()).toStrictEqual({
      namespace: 'default',
      name: 'my-minio',
      schedule: { intervalMs: 60_000 },
      timeoutMs: 20_000,
      targets: [
        {
          name: 'my-minio',
          endpoint: 'http://my-minio:9000',
          addressing: 'Path',
          region: 'us-east-1',
          credentials: { secret: 'my-minio-probe' },
        },
      ],
      bucket: { mode: 'Ephemeral' },
      objectSizesBytes: [4096],
      failureThreshold: 2,
      suspend: false,
    });
  });

  it('parses every unit and resolves every reference', () => {
    const target = {
      name: 'a',
      endpoint: 'https://a.example/s3/',
      addressing: 'VirtualHost',
      region: 'eu-west-1',
      credentialsSecretRef: { name: 'a-keys', keys: { accessKey: 'id', secretKey: 'secret' } },
      tls: {
        caSecretRef: { name: 'a-ca' },
        clientCertificateSecretRef: { name: 'a-client' },
        serverName: 'a.internal',
      },
      proxy: { url: 'http://proxy:3128/', credentialsSecretRef: { name: 'a-proxy' } },
      encryption: { algorithm: 'aws:kms', kmsKeyId: 'my-key' },
    };
    const other = {
      name: 'b',
      endpoint: 'https://b.example.',
      webIdentity: { roleArn: 'arn:aws:iam::111122223333:role/probe', stsEndpoint: 'https://sts/' },
      tls: { caConfigMapRef: { name: 'b-ca' } },
      proxy: { url: 'https://proxy' },
      encryption: { algorithm: 'AES256' },
    };
    expect(
      plan({
        schedule: { cron: '*/5 * * * *', timeZone: 'Europe/Berlin', startingDeadline: '5m' },
        timeout: '1m30s',
        targets: [target, other],
        bucket: { mode: 'Existing', name: 'canary' },
        objects: [{ size: '0' }, { size: '64Mi' }],
        failureThreshold: 5,
        suspend: true,
      }),
    ).toStrictEqual({
      namespace: 'default',
      name: 'my-minio',
      schedule: { cron: '*/5 * * * *', timeZone: 'Europe/Berlin' },
      startingDeadlineMs: 300_000,
      timeoutMs: 90_000,
      targets: [
        {
          name: 'a',
          endpoint: 'https://a.example/s3',
          addressing: 'VirtualHost',
          region: 'eu-west-1',
          credentials: { secret: 'a-keys', keys: { accessKey: 'id', secretKey: 'secret' } },
          tls: {
            ca: { kind: 'Secret', name: 'a-ca', key: 'ca.crt' },
            clientCertificateSecret: 'a-client',
            serverName: 'a.internal',
          },
          proxy: { url: 'http://proxy:3128', credentialsSecret: 'a-proxy' },
          encryption: { algorithm: 'aws:kms', kmsKeyId: 'my-key' },
        },
        {
          name: 'b',
          endpoint: 'https://b.example.',
          addressing: 'Path',
          region: 'us-east-1',
          credentials: {
            webIdentity: { roleArn: 'arn:aws:iam::111122223333:role/probe', stsEndpoint: 'https://sts' },
          },
          tls: { ca: { kind: 'ConfigMap', name: 'b-ca', key: 'ca.crt' } },
          proxy: { url: 'https://proxy' },
          encryption: { algorithm: 'AES256' },
        },
      ],
      bucket: { mode: 'Existing', name: 'canary' },
      objectSizesBytes: [0, 67_108_864],
      failureThreshold: 5,
      suspend: true,
    });
  });

  it.each([
    { name: 'is 20s for a long interval', schedule: { interval: '1h' }, want: 20_000 },
    { name: 'is four fifths of a short interval', schedule: { interval: '10s' }, want: 8_000 },
    { name: 'stays below the shortest interval', schedule: { interval: '1s' }, want: 800 },
    { name: 'is 20s with cron', schedule: { cron: '* * * * *' }, want: 20_000 },
  ])('the default timeout $name', ({ schedule, want }) => {
    expect(plan({ schedule }).timeoutMs).toBe(want);
  });

  it('uses UTC for a cron schedule without a time zone', () => {
    expect(plan({ schedule: { cron: '0 4 * * *' } }).schedule).toStrictEqual({
      cron: '0 4 * * *',
      timeZone: 'UTC',
    });
  });
});
