import { describe, expect, it } from 'vitest';
import { check } from './check.ts';
import { formatProblem } from './problem.ts';
import { StorageProbe } from './storage-probe.ts';

const TARGET = { name: 'a', endpoint: 'http://a:9000', credentialsSecretRef: { name: 'a-keys' } };

function probe(
  spec: Record<string, unknown>,
  metadata: Record<string, unknown> = {},
): Record<string, unknown> {
  return {
    apiVersion: 'storageprobe.dev/v1alpha1',
    kind: 'StorageProbe',
    metadata: { name: 'my-minio', ...metadata },
    spec: { targets: [TARGET], ...spec },
  };
}

/** One line per problem, without the accepted values. */
function faults(value: unknown): string[] {
  const checked = check(StorageProbe, value);
  if (!('problems' in checked)) return [];
  return checked.problems.map((problem) => formatProblem(problem).replace(/; accepted: .*/, ''));
}

describe('valid probes', () => {
  it.each([
    { name: 'a minimal probe', value: probe({}) },
    { name: 'any other metadata', value: probe({}, { uid: 'x', labels: { a: 'b' }, managedFields: [] }) },
    {
      name: 'null for an absent field',
      value: { ...probe({ schedule: null, timeout: null }), status: null },
    },
    { name: 'a status', value: { ...probe({}), status: { conditions: [] } } },
    { name: 'the shortest interval', value: probe({ schedule: { interval: '1s' } }) },
    { name: 'the longest interval', value: probe({ schedule: { interval: '24h' } }) },
    { name: 'cron with names', value: probe({ schedule: { cron: '0 4 1-7 JAN,JUL MON-FRI/2' } }) },
    { name: 'a long timeout with cron', value: probe({ schedule: { cron: '0 4 * * *' }, timeout: '1h' }) },
    { name: 'tls without a CA', value: probe({ targets: [{ ...TARGET, tls: {} }] }) },
    { name: 'an existing bucket', value: probe({ bucket: { mode: 'Existing', name: 'my.canary-1' } }) },
    { name: 'an empty object', value: probe({ objects: [{ size: '0' }] }) },
    { name: 'the largest object', value: probe({ objects: [{ size: '1Gi' }] }) },
    {
      name: 'the maximum number of targets',
      value: probe({ targets: Array.from({ length: 64 }, (_, index) => ({ ...TARGET, name: `a${index}` })) }),
    },
  ])('accepts $name', ({ value }) => {
    expect(faults(value)).toStrictEqual([]);
  });

  it.each([
    'http://my-minio:9000',
    'https://my-minio.storage.svc',
    'https://S3.Example.com:443/',
    'http://my_minio:9000',
    'http://3scale-minio:9000',
    'http://10.0.0.1:9000',
    'http://[::1]:9000',
    'http://my-minio.storage.svc.cluster.local.:9000',
    'https://project.example.com/storage/v1/s3',
    'https://project.example.com./storage/v1/s3/',
    'http://_minio:9000',
    'http://a/.well_known/~b-c...d',
  ])('accepts endpoint %s', (endpoint) => {
    expect(faults(probe({ targets: [{ ...TARGET, endpoint }] }))).toStrictEqual([]);
  });
});

describe('invalid probes', () => {
  it.each([
    ['my-minio:9000', '"my-minio:9000" has no scheme (did you mean http://my-minio:9000?)'],
    ['10.0.0.1:9000', '"10.0.0.1:9000" has no scheme (did you mean http://10.0.0.1:9000?)'],
    ['my minio', '"my minio" has no scheme'],
    ['ftp://my-minio', '"ftp://my-minio" does not start with http:// or https://'],
    ...['http://a/b/../c', 'http://a//b', 'http://a/b%20c', 'http://a/./b', 'http://a/b;c'].map((url) => [
      url,
      `"${url}" has a path with characters or segments that are not accepted`,
    ]),
    ['http://0x7f./s3', '"http://0x7f./s3" has a host that URL parsers read as a number'],
    ['http://1.2.3.4.', '"http://1.2.3.4." is not an endpoint'],
    ['http://my-minio:99999/s3', '"http://my-minio:99999/s3" has an invalid port'],
    ['http://my-minio:9000?token=x', 'the value (not shown) has a query or fragment'],
    ['http://', '"http://" is not an endpoint'],
    ['http://256.0.0.1', '"http://256.0.0.1" is not an endpoint'],
    ['http://[:::1]', '"http://[:::1]" is not an endpoint'],
    ['http://08.0.0.1', '"http://08.0.0.1" is not an endpoint'],
    ['http://0x7f000001:9000', '"http://0x7f000001:9000" has a host that URL parsers read as a number'],
    ['http://my-minio:99999', '"http://my-minio:99999" has an invalid port'],
    ['http://my-minio:0', '"http://my-minio:0" has an invalid port'],
    [
      'http://user:hunter2@my-minio:9000',
      'the value (not shown) contains credentials, which belong in the Secret that credentialsSecretRef names',
    ],
    [
      'user:hunter2@my-minio:9000',
      'the value (not shown) contains credentials, which belong in the Secret that credentialsSecretRef names',
    ],
  ])('rejects endpoint %s', (endpoint, fault) => {
    expect(faults(probe({ targets: [{ ...TARGET, endpoint }] }))).toStrictEqual([
      `spec.targets[0].endpoint: ${fault}`,
    ]);
  });

  it.each([
    ['my-Canary', '"my-Canary" is not a valid bucket name'],
    ['my..canary', '"my..canary" is not a valid bucket name'],
    ['-canary', '"-canary" is not a valid bucket name'],
    ['my', '"my" is shorter than 3 characters'],
    ['10.0.0.1', '"10.0.0.1" looks like an IP address'],
    ['a'.repeat(64), `"${'a'.repeat(60)}…" is longer than 63 characters`],
  ])('rejects bucket name %s', (name, fault) => {
    expect(faults(probe({ bucket: { mode: 'Existing', name } }))).toStrictEqual([
      `spec.bucket.name: ${fault}`,
    ]);
  });

  it.each([
    {
      name: 'an interval below the bounds',
      spec: { schedule: { interval: '999ms' } },
      fault: 'schedule.interval: "999ms" is less than 1s',
    },
    {
      name: 'an interval above the bounds',
      spec: { schedule: { interval: '24h1s' } },
      fault: 'schedule.interval: "24h1s" is more than 24h',
    },
    {
      name: 'cron with seconds',
      spec: { schedule: { cron: '0 * * * * *' } },
      fault: 'schedule.cron: "0 * * * * *" has 6 fields, not 5',
    },
    {
      name: 'a cron macro',
      spec: { schedule: { cron: '@hourly' } },
      fault: 'schedule.cron: "@hourly" has 1 field, not 5',
    },
    {
      name: 'cron with letters and symbols',
      spec: { schedule: { cron: 'a ? # L W' } },
      fault: 'schedule.cron: "a ? # L W" has minute a, which is not within 0-59',
    },
    {
      name: 'an unknown time zone',
      spec: { schedule: { cron: '* * * * *', timeZone: 'Europe/Berln' } },
      fault: 'schedule.timeZone: "Europe/Berln" is not a known time zone (did you mean Europe/Berlin?)',
    },
    {
      name: 'a time zone with an interval',
      spec: { schedule: { interval: '30s', timeZone: 'UTC' } },
      fault: 'schedule.timeZone: "UTC" cannot be used with interval',
    },
    {
      name: 'an empty schedule',
      spec: { schedule: {} },
      fault: 'schedule: must have exactly one of interval and cron',
    },
    {
      name: 'a timeout above the default interval',
      spec: { timeout: '2m' },
      fault: 'timeout: "2m" is not shorter than schedule.interval',
    },
    { name: 'no objects', spec: { objects: [] }, fault: 'objects: has 0 entries' },
    {
      name: 'too many objects',
      spec: { objects: Array.from({ length: 9 }, () => ({ size: '1' })) },
      fault: 'objects: has 9 entries',
    },
    {
      name: 'an object that is too large',
      spec: { objects: [{ size: '1025Mi' }] },
      fault: 'objects[0].size: "1025Mi" is more than 1Gi',
    },
    { name: 'a null in a list', spec: { objects: [null] }, fault: 'objects[0]: is empty' },
    {
      name: 'a size as a number',
      spec: { objects: [{ size: 1024 }] },
      fault: 'objects[0].size: 1024 is a number (did you mean "1024"?)',
    },
    {
      name: 'text instead of a whole number',
      spec: { failureThreshold: '2' },
      fault: 'failureThreshold: "2" is text',
    },
    {
      name: 'a fraction',
      spec: { failureThreshold: 1.5 },
      fault: 'failureThreshold: 1.5 is not a whole number',
    },
    { name: 'a threshold of 0', spec: { failureThreshold: 0 }, fault: 'failureThreshold: 0 is too small' },
    {
      name: 'a threshold of 101',
      spec: { failureThreshold: 101 },
      fault: 'failureThreshold: 101 is too large',
    },
    { name: 'text instead of a boolean', spec: { suspend: 'yes' }, fault: 'suspend: "yes" is text' },
    {
      name: 'a mode in lower case',
      spec: { bucket: { mode: 'ephemeral' } },
      fault: 'bucket.mode: "ephemeral" is not supported (did you mean Ephemeral?)',
    },
    {
      name: 'credentials as text',
      spec: { targets: [{ ...TARGET, credentialsSecretRef: 'minioadmin' }] },
      fault: 'targets[0].credentialsSecretRef: the value (not shown) is text',
    },
    {
      name: 'a Secret name that may be a secret',
      spec: { targets: [{ ...TARGET, credentialsSecretRef: { name: 'wJalr/UtnFEMI' } }] },
      fault: 'targets[0].credentialsSecretRef.name: the value (not shown) is not a valid Secret name',
    },
    { name: 'an unknown field that is null', spec: { pause: null }, fault: 'pause: unknown field' },
    {
      name: 'an unknown field that every JavaScript object has',
      spec: Object.fromEntries([['constructor', null]]),
      fault: 'constructor: unknown field',
    },
    {
      name: 'credentials beside the endpoint',
      spec: { targets: [{ ...TARGET, secretKey: 'hunter2' }] },
      fault: 'targets[0].secretKey: unknown field',
    },
  ])('rejects $name', ({ spec, fault }) => {
    expect(faults(probe(spec))).toStrictEqual([`spec.${fault}`]);
  });

  it.each([
    {
      name: 'no credentials',
      target: { credentialsSecretRef: undefined },
      fault: ': must have exactly one of credentialsSecretRef and webIdentity',
    },
    {
      name: 'two kinds of credentials',
      target: { webIdentity: {} },
      fault: ': must have exactly one of credentialsSecretRef and webIdentity',
    },
    {
      name: 'half a pair of keys',
      target: { credentialsSecretRef: { name: 'a', keys: { accessKey: 'a' } } },
      fault: '.credentialsSecretRef.keys.secretKey: is missing',
    },
    {
      name: 'two CA bundles',
      target: { tls: { caSecretRef: { name: 'a' }, caConfigMapRef: { name: 'b' } } },
      fault: '.tls.caConfigMapRef: cannot be used with caSecretRef',
    },
    {
      name: 'a client certificate without TLS',
      target: { tls: { clientCertificateSecretRef: { name: 'a' } } },
      fault: '.tls: has clientCertificateSecretRef or serverName, but endpoint does not start with https://',
    },
    {
      name: 'an address as the server name',
      target: { endpoint: 'https://a', tls: { serverName: '10.0.0.1' } },
      fault: '.tls.serverName: "10.0.0.1" is not a host name',
    },
    {
      name: 'virtual-hosted addressing of an IPv4 address',
      target: { endpoint: 'http://10.0.0.1:9000', addressing: 'VirtualHost' },
      fault: '.addressing: "VirtualHost" cannot be used with an IP address in endpoint',
    },
    {
      name: 'virtual-hosted addressing of an IPv6 address',
      target: { endpoint: 'http://[::1]/s3', addressing: 'VirtualHost' },
      fault: '.addressing: "VirtualHost" cannot be used with an IP address in endpoint',
    },
    {
      name: 'addressing in lower case',
      target: { addressing: 'virtualhost' },
      fault: '.addressing: "virtualhost" is not supported (did you mean VirtualHost?)',
    },
    {
      name: 'a SOCKS proxy',
      target: { proxy: { url: 'socks5://proxy:1080' } },
      fault: '.proxy.url: "socks5://proxy:1080" does not start with http:// or https://',
    },
    {
      name: 'a proxy with credentials',
      target: { proxy: { url: 'http://me:hunter2@proxy:3128' } },
      fault:
        '.proxy.url: the value (not shown) contains credentials, which belong in the Secret that proxy.credentialsSecretRef names',
    },
    {
      name: 'a proxy with a path',
      target: { proxy: { url: 'http://proxy:3128/pac' } },
      fault: '.proxy.url: "http://proxy:3128/pac" has a path',
    },
    {
      name: 'a KMS key without KMS',
      target: { encryption: { algorithm: 'AES256', kmsKeyId: 'a' } },
      fault: '.encryption.kmsKeyId: "a" cannot be used with algorithm AES256',
    },
    {
      name: 'a role that is not an ARN',
      target: { credentialsSecretRef: undefined, webIdentity: { roleArn: 'probe' } },
      fault: '.webIdentity.roleArn: "probe" is not a role ARN',
    },
  ])('rejects $name', ({ target, fault }) => {
    expect(faults(probe({ targets: [{ ...TARGET, ...target }] }))).toStrictEqual([`spec.targets[0]${fault}`]);
  });

  it('reports a broken rule even if another field is wrong', () => {
    expect(faults(probe({ timeout: '2m', suspend: 'yes', bucket: { mode: 'Existing' } }))).toStrictEqual([
      'spec.bucket.name: is required when mode is Existing',
      'spec.suspend: "yes" is text',
      'spec.timeout: "2m" is not shorter than schedule.interval',
    ]);
  });
});

it('accepts its own defaults', () => {
  const checked = check(StorageProbe, probe({}));
  if ('problems' in checked) throw new Error('the minimal probe was rejected');
  expect(faults(checked.value)).toStrictEqual([]);
});
